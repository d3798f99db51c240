//! The end of serving: the signal that asks for it, and how it went.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use super::error::ServeError;

/// How serving ended after the request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// All requests were answered.
    Drained,
    /// The drain timeout passed first. The remaining requests run until the Tokio runtime ends.
    TimedOut,
}

/// Installs handlers for SIGTERM and SIGINT, and returns a future that resolves at the first of these signals.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let failed = |source| ServeError::Signals { source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
