//! What a host prepares once at start and shares with the routers of every protocol.

use std::sync::Arc;

use flowgate_auth::{Auth, AuthSetupError};
use flowgate_config::Config;

use crate::{
    gateway::{DeploymentError, Gateway, Registry},
    outbound::Clients,
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
        Ok(Self {
            gateway: Gateway::new(config, registry, clients)?,
            auth: Auth::new(&config.gateway.auth)?,
            status: GatewayStatus::new(config, Arc::clone(&clients.traffic), process),
        })
    }
}
