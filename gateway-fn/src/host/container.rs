//! The long-running home: listeners for every protocol of the Flow, served until told to stop, then drained.

mod connection;

mod dispatch;

mod listener;

mod tls;

use std::{io, net::SocketAddr, time::Duration};

use executor_fn::introspect::HealthSwitch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use tls::TlsError;

use self::{dispatch::Dispatch, listener::Listener};
use crate::{
    config::{Config, Protocol},
    gateway::{Gateway, Registry, StartError},
    inbound::{grpc, http, websocket},
};

/// A Gateway with its sockets bound, not yet serving.
#[derive(Debug)]
pub struct Container {
    gateway: Gateway,
    listeners: Vec<Listener>,
    health: HealthSwitch,
    sessions: websocket::Sessions,
    shutdown_timeout: Duration,
}

/// Why a Gateway does not come up.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The Flow cannot be served by this process.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A port cannot be had.
    #[error("port {port} of {host} cannot be had: {source}")]
    Bind {
        /// The bind address.
        host: String,
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How a Gateway came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything under way was finished.
    Drained,
    /// The deadline passed with work still under way, which was cut off.
    CutOff,
}

impl Container {
    /// Binds every port of the Flow. Protocols that are given one port share it.
    ///
    /// # Errors
    /// When the Flow cannot be served, a port cannot be had, or the certificate cannot be used.
    pub async fn bind(config: &Config, registry: &Registry) -> Result<Self, ContainerError> {
        let gateway = Gateway::new(config, registry)?;
        let sessions = websocket::Sessions::default();
        let (grpc, health) = grpc::router(&gateway, &config.gateway);
        let routes = Dispatch {
            grpc: Some(grpc),
            http: Some(http::router(
                gateway.clone(),
                &config.gateway.http,
                &config.gateway.limits,
            )),
            websocket: Some(websocket::router(&gateway, &config.gateway, &sessions)),
            debug: Some(http::debug_router(gateway.clone())),
        };
        let tls = config.gateway.tls.as_ref().map(tls::acceptor).transpose()?;
        let mut listeners = Vec::new();
        for (port, protocols) in by_port(config) {
            let host = &config.gateway.host;
            listeners.push(
                Listener::bind(
                    host,
                    port,
                    routes.only(&protocols),
                    protocols,
                    tls.clone(),
                    &config.gateway.limits,
                )
                .await
                .map_err(|source| ContainerError::Bind {
                    host: host.clone(),
                    port,
                    source,
                })?,
            );
        }
        Ok(Self {
            gateway,
            listeners,
            health,
            sessions,
            shutdown_timeout: config.gateway.shutdown_timeout,
        })
    }

    /// Each protocol with the address it is served at, in the order of the ports.
    pub fn endpoints(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> {
        self.listeners.iter().flat_map(|listener| {
            listener
                .protocols()
                .iter()
                .map(|protocol| (*protocol, listener.address()))
        })
    }

    /// The Gateway behind the sockets.
    #[must_use]
    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until `stop` comes true. Then health checks are told, no connection is taken any more, and requests
    /// and floating work under way are finished within the Flow's `shutdown_timeout`.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Ended {
        let Self {
            gateway,
            listeners,
            health,
            sessions,
            shutdown_timeout,
        } = self;
        let stopping = CancellationToken::new();
        let connections = TaskTracker::new();
        for listener in listeners {
            connections.spawn(listener.serve(stopping.clone(), connections.clone()));
        }
        stop.await;
        tracing::info!(?shutdown_timeout, "stopping: finishing what is under way");
        health.turn_off();
        stopping.cancel();
        sessions.stop();
        connections.close();
        let drained = async {
            connections.wait().await;
            sessions.closed().await;
            gateway.finish().await;
        };
        if tokio::time::timeout(shutdown_timeout, drained)
            .await
            .is_ok()
        {
            return Ended::Drained;
        }
        tracing::warn!(
            connections = connections.len(),
            websockets = sessions.len(),
            background = gateway.background_tasks(),
            "the deadline for stopping has passed: cutting off what is still under way"
        );
        Ended::CutOff
    }
}

/// Every port once, in the order of the Flow, with what is to be spoken on it. Port 0 is a port of its own each time
/// it is named.
fn by_port(config: &Config) -> Vec<(u16, Vec<Protocol>)> {
    let mut ports: Vec<(u16, Vec<Protocol>)> = Vec::new();
    for listener in &config.gateway.listeners {
        let shared = ports
            .iter_mut()
            .find(|(port, _)| *port == listener.port && *port != 0);
        match shared {
            Some((_, protocols)) => protocols.push(listener.protocol),
            None => ports.push((listener.port, vec![listener.protocol])),
        }
    }
    ports
}
