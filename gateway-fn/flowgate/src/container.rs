//! The long-running home: listeners for every protocol of the Flow, served until told to stop, then drained.

mod dispatch;

mod listener;

pub(crate) mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use executor_fn::introspect::HealthSwitch;
use flowgate_config::{Config, GatewayConfig, Protocol, WarmUp};
use flowgate_server::Incoming;
use gateway::gateway::{Gateway, Registry};
use gateway::inbound::{
    Services, StartError, connect, grpc, grpc_web,
    http::{self, Scripts},
    websocket,
};
use gateway::outbound::Clients;
use gateway::status::ProcessInfo;
use tokio::net::TcpListener;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

pub use tls::TlsError;

use self::{
    dispatch::Dispatch,
    listener::{Door, Listener},
};

/// A Gateway with its sockets bound, not yet serving.
#[derive(Debug)]
pub struct Container {
    gateway: Gateway,
    listeners: Vec<Listener>,
    health: HealthSwitch,
    sessions: websocket::Sessions,
    stopping: CancellationToken,
    shutdown_timeout: Duration,
    warm_up: WarmUp,
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
    pub async fn bind(
        config: &Config,
        registry: &Registry,
        process: ProcessInfo,
    ) -> Result<Self, ContainerError> {
        let clients = Clients::new(&config.gateway.invoke);
        let services = Services::new(config, registry, &clients, process)?;
        warn_of_plain_text(&config.gateway);
        let stopping = CancellationToken::new();
        let connections = Incoming::limit(config.gateway.limits.max_connections);
        let sessions = websocket::Sessions::new(stopping.clone(), Arc::clone(&connections));
        let (routes, health) = routes(&services, &config.gateway, &sessions, &stopping);
        let tls = config.gateway.tls.as_ref().map(tls::acceptor).transpose()?;
        let mut listeners = Vec::new();
        for (port, protocols) in by_port(config) {
            let (socket, address) = bind(&config.gateway.host, port).await?;
            listeners.push(Listener {
                incoming: Incoming::new(socket, Arc::clone(&connections)),
                address,
                door: Door {
                    dispatch: Arc::new(routes.only(&protocols)),
                    tls: tls.clone(),
                },
                protocols,
            });
        }
        Ok(Self {
            gateway: services.gateway,
            listeners,
            health,
            sessions,
            stopping,
            shutdown_timeout: config.gateway.shutdown_timeout,
            warm_up: config.gateway.invoke.warm_up,
        })
    }

    /// Each protocol with the address it is served at, in the order of the ports.
    pub fn endpoints(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> {
        self.listeners.iter().flat_map(|listener| {
            let protocols = listener.protocols.iter();
            protocols.map(|protocol| (*protocol, listener.address))
        })
    }

    /// Serves until `stop` comes true. Then health checks are told, no connection is taken any more, and requests
    /// and floating work under way are finished within the Flow's `shutdown_timeout`.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Ended {
        let Self {
            gateway,
            listeners,
            health,
            sessions,
            stopping,
            shutdown_timeout,
            warm_up,
        } = self;
        let connections = TaskTracker::new();
        for listener in listeners {
            connections.spawn(listener.serve(stopping.clone(), connections.clone()));
        }
        // Beside the first requests, which need not wait for it here.
        let warming = gateway.clone();
        let warming = tokio::spawn(async move { warming.warm_up(warm_up).await });
        let _warming = AbortOnDropHandle::new(warming);
        stop.await;
        tracing::info!(?shutdown_timeout, "stopping: finishing what is under way");
        health.turn_off();
        stopping.cancel();
        gateway.flush_batches();
        connections.close();
        let drained = async {
            connections.wait().await;
            sessions.closed().await;
            gateway.shutdown().await;
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

/// Keys and tokens go to whoever listens in between.
fn warn_of_plain_text(config: &GatewayConfig) {
    let name = config.host.trim_matches(['[', ']']);
    let loopback = name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if config.auth.is_enabled() && config.tls.is_none() && !loopback {
        tracing::warn!(
            host = config.host,
            "auth without TLS: keys and tokens come in plain text; set ssl_certfile and ssl_keyfile, or end TLS in \
             front of this Gateway"
        );
    }
}

/// The routes of every protocol, whether or not a port speaks it: they cost nothing until they are called.
fn routes(
    services: &Services,
    config: &GatewayConfig,
    sessions: &websocket::Sessions,
    stopping: &CancellationToken,
) -> (Dispatch, HealthSwitch) {
    let (grpc::Routers { grpc, over_http }, health) = grpc::routers(services, config, stopping);
    let http = http::router(services, &config.http, &config.limits, Scripts::EMBEDDED);
    let cors = grpc_web::Cors::from(config.http.cors);
    let limit = config.limits.max_message_bytes;
    let routes = Dispatch {
        grpc_web: Some(grpc_web::router(over_http.clone(), cors)),
        connect: Some(connect::router(over_http, limit, cors)),
        grpc: Some(grpc),
        http: Some(http),
        websocket: Some(websocket::router(services, config, sessions)),
        debug: Some(http::debug_router(services, Scripts::EMBEDDED)),
        tls: config.tls.is_some(),
    };
    (routes, health)
}

async fn bind(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), ContainerError> {
    let failed = |source| ContainerError::Bind {
        host: host.to_owned(),
        port,
        source,
    };
    let socket = TcpListener::bind((host, port)).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
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
