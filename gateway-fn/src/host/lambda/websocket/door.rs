//! A sign that nobody is asked who they are, though the Flow says so -> a warning.

use std::sync::atomic::{AtomicBool, Ordering};

use flowgate_config::{GatewayConfig, Protocol};

/// Whether callers of this process are asked who they are: only `$connect` brings what tells it.
#[derive(Debug)]
pub(super) struct Door {
    /// There is something to be asked, and no sign yet that it is.
    unasked: AtomicBool,
}

impl Door {
    pub(super) fn of(config: &GatewayConfig) -> Self {
        let asks = config.auth.is_enabled() && config.auth.protocols.contains(&Protocol::WebSocket);
        Self {
            unasked: AtomicBool::new(asks),
        }
    }

    pub(super) fn asked(&self) {
        self.unasked.store(false, Ordering::Relaxed);
    }

    /// A message came, whoever asked its sender. Said once, and only where this process has not been asked itself.
    pub(super) fn passed(&self) {
        if self.unasked.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "auth is on and this process has seen no $connect: unless the API's $connect route has this function \
                 as its integration, anybody can send messages"
            );
        }
    }
}
