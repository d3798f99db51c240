//! Runs the Gateway as a long-running process: binds a listener for each port of the Flow, serves until it is stopped, then
//! finishes the requests in flight.

mod descriptors;

mod executors;

mod listener;

mod router;

pub(crate) mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use executor_fn::introspect::HealthSwitch;
use flowgate_config::{Config, GatewayConfig, Protocol, WarmUp};
use flowgate_server::{
    Incoming, OpenConnections,
    workers::{self, Workers},
};
use gateway::gateway::{Gateway, Registry};
use gateway::inbound::{
    CorsPolicy, Services, StartError, bounded, connect, grpc, grpc_web,
    http::{self, Scripts},
    websocket,
};
use gateway::outbound::Clients;
use gateway::status::ProcessInfo;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

pub use tls::TlsError;

use self::{
    executors::ExecutorThreads,
    listener::{Acceptor, Listener},
    router::PortRouter,
    tls::{Reloader, Tls},
};

/// A Gateway whose ports are bound, but which does not serve yet.
#[derive(Debug)]
pub struct Container {
    gateway: Gateway,
    workers: Arc<Workers>,
    executor_threads: ExecutorThreads,
    listeners: Vec<Listener>,
    health: HealthSwitch,
    sessions: websocket::Sessions,
    stopping: CancellationToken,
    shutdown_timeout: Duration,
    shutdown_delay: Duration,
    warm_up: WarmUp,
    reloader: Reloader,
}

/// Why a Gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// This process cannot serve the Flow.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A port cannot be bound.
    #[error("cannot listen on {host}:{port}: {source}")]
    Bind {
        /// The bind address.
        host: String,
        /// The port from the Flow.
        port: u16,
        /// The operating system's error.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The threads of the workers or of the Executors cannot be started.
    #[error("cannot start the threads: {0}")]
    Threads(#[source] io::Error),
}

/// How a Gateway stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// All requests and floating work were finished.
    Drained,
    /// `shutdown_timeout` passed first, and the remaining work was aborted.
    CutOff,
}

impl Container {
    /// Binds every port of the Flow. Protocols with the same port share it.
    ///
    /// # Errors
    /// When this process cannot serve the Flow, a port cannot be bound, or the certificate cannot be used.
    pub async fn bind(
        config: &Config,
        registry: &Registry,
        process: ProcessInfo,
    ) -> Result<Self, ContainerError> {
        let mut clients = Clients::new(&config.gateway.invoke);
        let executor_threads = ExecutorThreads::start(config).map_err(ContainerError::Threads)?;
        clients.executor_runtime = executor_threads.handle();
        let services = Services::new(config, registry, &clients, process)?;
        warn_if_auth_without_tls(&config.gateway);
        let stopping = CancellationToken::new();
        let permits = Incoming::limit(descriptors::max_connections(config));
        let reserve = Incoming::limit(descriptors::CONNECTIONS_OVER_LIMIT);
        let open = Arc::new(OpenConnections::default());
        let sessions = websocket::Sessions::new(stopping.clone());
        let (router, health) = router(&services, &config.gateway, &sessions, &stopping);
        let tls = config.gateway.tls.as_ref().map(Tls::load).transpose()?;
        let workers = Workers::start(workers::default_count()).map_err(ContainerError::Threads)?;
        let http = Arc::new(listener::http(&config.gateway));
        let mut listeners = Vec::new();
        for (port, protocols) in protocols_by_port(config) {
            let (socket, address) = bind(&config.gateway.host, port).await?;
            listeners.push(Listener {
                incoming: Incoming::new(socket, Arc::clone(&permits))
                    .with_reserve(Arc::clone(&reserve))
                    .with_eviction(Arc::clone(&open)),
                address,
                acceptor: Acceptor {
                    router: Arc::new(router.for_protocols(&protocols)),
                    tls: tls.as_ref().map(Tls::acceptor),
                    http: Arc::clone(&http),
                },
                protocols,
            });
        }
        Ok(Self {
            gateway: services.gateway,
            workers: Arc::new(workers),
            executor_threads,
            listeners,
            health,
            sessions,
            stopping,
            shutdown_timeout: config.gateway.shutdown_timeout,
            shutdown_delay: config.gateway.shutdown_delay,
            warm_up: config.gateway.invoke.warm_up,
            reloader: Reloader::new(tls),
        })
    }

    /// Returns each protocol and its address, in the order of the ports.
    pub fn endpoints(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> {
        self.listeners.iter().flat_map(|listener| {
            let protocols = listener.protocols.iter();
            protocols.map(|protocol| (*protocol, listener.address))
        })
    }

    /// Serves until `stop` completes. Then it fails health checks, accepts connections for the Flow's `shutdown_delay` more,
    /// closes the listeners, and finishes requests and floating work within the Flow's `shutdown_timeout`.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Shutdown {
        let Self {
            gateway,
            workers,
            executor_threads: _until_return,
            listeners,
            health,
            sessions,
            stopping,
            shutdown_timeout,
            shutdown_delay,
            warm_up,
            reloader,
        } = self;
        let connections = TaskTracker::new();
        for listener in listeners {
            let workers = Arc::clone(&workers);
            connections.spawn(listener.serve(workers, stopping.clone(), connections.clone()));
        }
        // In the background, so that the first requests need not wait for it.
        let warm_up_gateway = gateway.clone();
        let warm_up_task = tokio::spawn(async move { warm_up_gateway.warm_up(warm_up).await });
        let _abort_on_return =
            [warm_up_task, tokio::spawn(reloader.run())].map(AbortOnDropHandle::new);
        stop.await;
        tracing::info!(
            ?shutdown_timeout,
            ?shutdown_delay,
            "stopping: finishing requests in flight"
        );
        health.set_not_serving();
        gateway.set_unready();
        let deadline = Instant::now() + shutdown_timeout;
        tokio::time::sleep(shutdown_delay.min(shutdown_timeout)).await;
        stopping.cancel();
        gateway.flush_batches();
        connections.close();
        let drained = async {
            connections.wait().await;
            sessions.wait_until_closed().await;
            gateway.shutdown().await;
        };
        let mut drained = pin!(drained);
        if tokio::time::timeout_at(deadline, &mut drained)
            .await
            .is_ok()
        {
            return Shutdown::Drained;
        }
        // Requests in flight end with an error now. Waits so that the clients receive it.
        gateway.abort();
        let _ = tokio::time::timeout(ABORT_TIMEOUT, drained).await;
        tracing::warn!(
            connections = connections.len(),
            websockets = sessions.len(),
            background = gateway.background_tasks(),
            "shutdown timeout: aborting the remaining work"
        );
        Shutdown::CutOff
    }
}

/// How long the errors of aborted requests may take to reach the clients.
const ABORT_TIMEOUT: Duration = Duration::from_millis(500);

/// Warns if API keys and tokens travel unencrypted over a network.
fn warn_if_auth_without_tls(config: &GatewayConfig) {
    let host = config.host.trim_matches(['[', ']']);
    let is_loopback = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if config.auth.is_enabled() && config.tls.is_none() && !is_loopback {
        tracing::warn!(
            host = config.host,
            "auth without TLS: clients send API keys and tokens in plain text; set ssl_certfile and ssl_keyfile, or \
             terminate TLS in front of this Gateway"
        );
    }
}

/// Builds the routes of every protocol, even of those without a port: unused routes cost nothing.
fn router(
    services: &Services,
    config: &GatewayConfig,
    sessions: &websocket::Sessions,
    stopping: &CancellationToken,
) -> (PortRouter, HealthSwitch) {
    let (
        grpc::Routers {
            data_methods,
            grpc,
            over_http,
        },
        health,
    ) = grpc::routers(services, config, stopping);
    let http = http::router(services, &config.http, &config.limits, Scripts::EMBEDDED);
    let cors = CorsPolicy::from(config.http.cors);
    let max_body_bytes = config.limits.max_message_bytes;
    let router = PortRouter {
        grpc_web: Some(bounded::track(
            grpc_web::router(over_http.clone(), cors),
            services,
        )),
        connect: Some(bounded::track(
            connect::router(over_http, max_body_bytes, cors),
            services,
        )),
        data_methods: Some(data_methods),
        grpc: Some(bounded::track(grpc, services)),
        http: Some(http),
        websocket: Some(websocket::router(services, config, sessions)),
        websocket_port_http: Some(http::websocket_port_router(services, Scripts::EMBEDDED)),
        is_tls: config.tls.is_some(),
    };
    (router, health)
}

async fn bind(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), ContainerError> {
    let bind_error = |source| ContainerError::Bind {
        host: host.to_owned(),
        port,
        source,
    };
    let socket = TcpListener::bind((host, port)).await.map_err(bind_error)?;
    let address = socket.local_addr().map_err(bind_error)?;
    Ok((socket, address))
}

/// Groups the Flow's protocols by port, in the order of the Flow. Each port 0 becomes a different free port.
fn protocols_by_port(config: &Config) -> Vec<(u16, Vec<Protocol>)> {
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
