//! Runs Executors and Gateways in the test's process, on ports that the system chooses.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use executor_fn::{Executor, Identity, ServeOptions};
use flowgate::container::{Container, ContainerError, Shutdown};
use flowgate_config::{Config, Protocol};
use gateway::gateway::Registry;
use gateway::status::ProcessInfo;
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// An Executor served over gRPC.
#[derive(Debug)]
pub struct ServedExecutor {
    /// The address on which it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ServedExecutor {
    /// Serves an Executor under a deployment's name.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(executor: Executor, deployment: &str) -> Self {
        let socket = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        Self::start_on(socket, executor, deployment)
    }

    /// Serves an Executor on a socket that is already bound.
    ///
    /// # Panics
    /// When the socket has no address.
    #[must_use]
    pub fn start_on(socket: TcpListener, executor: Executor, deployment: &str) -> Self {
        let address = socket.local_addr().expect("a bound socket");
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = serve(
            socket,
            executor,
            Identity::first_replica(deployment),
            stopped,
        );
        let task = tokio::spawn(serving);
        Self {
            address,
            stop,
            task,
        }
    }

    /// Returns its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops it and waits for its end.
    ///
    /// # Panics
    /// When the Executor panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the executor stops cleanly");
    }
}

async fn serve(
    socket: TcpListener,
    executor: Executor,
    identity: Identity,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let options = ServeOptions {
        identity: Some(identity),
        ..ServeOptions::default()
    };
    executor_fn::serve_on(socket, executor, options, stop)
        .await
        .expect("the executor serves");
}

/// An Executor that can be killed like a process: its requests are dropped and its sockets closed.
#[derive(Debug)]
pub struct KillableExecutor {
    /// Its port.
    pub port: u16,
    /// Runs all of its tasks and sockets, separate from the test's tasks and sockets.
    runtime: Runtime,
}

impl KillableExecutor {
    /// Serves an Executor under a deployment's name.
    ///
    /// # Panics
    /// When no port is free or no thread can be started.
    #[must_use]
    pub fn start(executor: Executor, deployment: &str) -> Self {
        let socket = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port");
        socket
            .set_nonblocking(true)
            .expect("a socket that can be waited for");
        let port = socket.local_addr().expect("a bound socket").port();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread");
        let identity = Identity::first_replica(deployment);
        runtime.spawn(async move {
            let socket = TcpListener::from_std(socket).expect("a bound socket");
            serve(socket, executor, identity, std::future::pending()).await;
        });
        Self { port, runtime }
    }

    /// Drops its requests and closes its sockets immediately.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A port of `localhost` that is reserved until it is dropped, and refuses connections.
#[derive(Debug)]
pub struct ClosedPort(TcpSocket);

impl ClosedPort {
    /// Reserves a port.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        Self(socket)
    }

    /// Returns the port.
    ///
    /// # Panics
    /// Never: it is bound.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("a bound socket").port()
    }

    /// Starts to listen on the port.
    ///
    /// # Panics
    /// When the system refuses it.
    #[must_use]
    pub fn listen(self) -> TcpListener {
        self.0.listen(1024).expect("a listening socket")
    }
}

/// A running Gateway with all of its listeners.
#[derive(Debug)]
pub struct ServedGateway {
    endpoints: Vec<(Protocol, SocketAddr)>,
    stop: CancellationToken,
    task: JoinHandle<Shutdown>,
}

impl ServedGateway {
    /// Serves a Flow given as YAML. Port 0 lets the system choose.
    ///
    /// # Panics
    /// When the Flow is invalid or cannot be served.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &Registry::default()).await
    }

    /// Serves a Flow whose `inproc://` Executors are in the test's registry.
    ///
    /// # Panics
    /// When the Flow is invalid or cannot be served.
    pub async fn start_with(yaml: &str, registry: &Registry) -> Self {
        Self::start_with_env(yaml, registry, &|_| None).await
    }

    /// Serves a Flow with the test's registry and environment variables.
    ///
    /// # Panics
    /// When the Flow is invalid or cannot be served.
    pub async fn start_with_env(
        yaml: &str,
        registry: &Registry,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self::serve(
            bind(yaml, registry, env)
                .await
                .expect("the Flow can be served"),
        )
    }

    /// Serves a Flow that names one port for all protocols, which the system therefore cannot choose.
    ///
    /// # Panics
    /// When the Flow is invalid or none of several ports can be used.
    pub async fn start_on_one_port(yaml: impl Fn(u16) -> String) -> Self {
        for _ in 0..50 {
            // The port is free now, but another process may take it before the Gateway does.
            let port = ClosedPort::reserve().port();
            match bind(&yaml(port), &Registry::default(), &|_| None).await {
                Ok(container) => return Self::serve(container),
                Err(ContainerError::Bind { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("the Flow cannot be served: {error}"),
            }
        }
        panic!("no port is free")
    }

    fn serve(container: Container) -> Self {
        let endpoints = container.endpoints().collect();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(container.serve(stopped));
        Self {
            endpoints,
            stop,
            task,
        }
    }

    /// Returns `localhost:PORT` of a protocol.
    ///
    /// # Panics
    /// When the Flow does not serve the protocol.
    #[must_use]
    pub fn authority(&self, protocol: Protocol) -> String {
        let (_, address) = self
            .endpoints
            .iter()
            .find(|(served, _)| *served == protocol)
            .unwrap_or_else(|| panic!("the Flow does not serve {protocol:?}"));
        format!("localhost:{}", address.port())
    }

    /// Begins the shutdown without waiting for its end.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it and returns how the shutdown ended.
    ///
    /// # Panics
    /// When the Gateway panicked or does not stop within a minute.
    pub async fn stop(self) -> Shutdown {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await;
        ended
            .expect("the gateway stops in time")
            .expect("the gateway stops cleanly")
    }
}

async fn bind(
    yaml: &str,
    registry: &Registry,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Container, ContainerError> {
    let loaded = Config::from_yaml(yaml, "test.yml", env).expect("a valid Flow");
    Container::bind(&loaded.config, registry, ProcessInfo::default()).await
}

/// Waits until a condition is true.
///
/// # Panics
/// When it is not true within ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within ten seconds: {what}"
        );
        tokio::task::yield_now().await;
    }
}
