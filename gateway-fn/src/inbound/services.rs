//! What a host prepares once at start and shares with the routers of every protocol.

use std::sync::Arc;

use flowgate_auth::{Auth, AuthSetupError};
use flowgate_config::{Config, GatewayConfig, Limits};
use flowgate_grpc::{Budget, MinRate, available_memory};

use crate::{
    gateway::{DeploymentError, Gateway, Registry},
    outbound::{Clients, trusted_roots},
    status::{GatewayStatus, ProcessInfo},
};

/// The Gateway of a Flow, the authentication of its callers, and its status. Clones share them.
#[derive(Clone, Debug)]
pub struct Services {
    /// Handles requests. It does not check callers: each router does so before it.
    pub gateway: Gateway,
    /// Checks callers.
    pub auth: Auth,
    /// Answers `/status`.
    pub status: GatewayStatus,
    /// Bounds the bytes that are held at once.
    pub budget: Arc<Budget>,
}

/// Why this process cannot serve a valid Flow.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A deployment cannot be called from this process.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A key file or a key set in `auth` cannot be used.
    #[error("cannot set up `auth`")]
    Auth {
        /// Which file or key set, and why.
        #[from]
        source: AuthSetupError,
    },
}

impl Services {
    /// Prepares what serves this Flow. Opens no connection; key files of `auth` are read.
    ///
    /// # Errors
    /// When a deployment cannot be called from this process, or a file in `auth` cannot be used.
    pub fn new(
        config: &Config,
        registry: &Registry,
        clients: &Clients,
        process: ProcessInfo,
    ) -> Result<Self, StartError> {
        let roots = trusted_roots(&config.gateway);
        flowgate_aws::set_roots(roots.clone());
        let budget = budget(&config.gateway.limits);
        let clients = Clients {
            budget: Some(Arc::clone(&budget)),
            ..clients.clone()
        };
        Ok(Self {
            gateway: Gateway::new(config, registry, &clients)?,
            auth: Auth::new(&config.gateway.auth, &roots)?,
            status: GatewayStatus::new(config, Arc::clone(&clients.traffic), process),
            budget,
        })
    }
}

/// Returns the least that clients must send and read, by the settings of the Flow.
#[must_use]
pub const fn min_rate(config: &GatewayConfig) -> MinRate {
    MinRate {
        bytes_per_second: config.limits.min_bytes_per_second as u64,
        period: config.slow_client_timeout,
    }
}

/// Percent of the memory for bodies.
const MEMORY_PERCENT: usize = 40;

/// For a system that does not say how much memory it has.
const DEFAULT_MEMORY: usize = 2 << 30;

fn budget(limits: &Limits) -> Arc<Budget> {
    Budget::new(limits.max_bytes_in_flight.unwrap_or_else(|| {
        let memory = available_memory().unwrap_or(DEFAULT_MEMORY);
        memory / 100 * MEMORY_PERCENT
    }))
}
