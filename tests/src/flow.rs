//! Executors and a Gateway in this process, on ports that the system picks, joined at the end.

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

/// An Executor behind gRPC.
#[derive(Debug)]
pub struct ServedExecutor {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ServedExecutor {
    /// Serves an Executor under a deployment's name.
    ///
    /// # Panics
    /// When no port can be had.
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
        let serving = serve(socket, executor, Identity::of(deployment), stopped);
        let task = tokio::spawn(serving);
        Self {
            address,
            stop,
            task,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops it and waits until it has.
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

/// An Executor that can be killed as a process is killed: in the middle of its requests, its sockets gone.
#[derive(Debug)]
pub struct MortalExecutor {
    /// Its port.
    pub port: u16,
    /// Holds all its tasks and sockets, apart from the test's own.
    runtime: Runtime,
}

impl MortalExecutor {
    /// Serves an Executor under a deployment's name.
    ///
    /// # Panics
    /// When no port or no thread can be had.
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
        let identity = Identity::of(deployment);
        runtime.spawn(async move {
            let socket = TcpListener::from_std(socket).expect("a bound socket");
            serve(socket, executor, identity, std::future::pending()).await;
        });
        Self { port, runtime }
    }

    /// Drops its requests and closes its sockets, whatever they are doing.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// A port of `localhost` at which nobody listens, and nobody else can: it is held until it is dropped.
#[derive(Debug)]
pub struct ClosedPort(TcpSocket);

impl ClosedPort {
    /// Takes a port.
    ///
    /// # Panics
    /// When none can be had.
    #[must_use]
    pub fn hold() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a free port");
        Self(socket)
    }

    /// Its number.
    ///
    /// # Panics
    /// Never: it is bound.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.0.local_addr().expect("a bound socket").port()
    }

    /// Listens there from now on.
    ///
    /// # Panics
    /// When the system does not let it.
    #[must_use]
    pub fn open(self) -> TcpListener {
        self.0.listen(1024).expect("a listening socket")
    }
}

/// A Gateway with all its listeners.
#[derive(Debug)]
pub struct ServedGateway {
    endpoints: Vec<(Protocol, SocketAddr)>,
    stop: CancellationToken,
    task: JoinHandle<Shutdown>,
}

impl ServedGateway {
    /// Serves a Flow given as YAML; ports may be 0.
    ///
    /// # Panics
    /// When the Flow does not hold or cannot be served.
    pub async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, &Registry::default()).await
    }

    /// As [`ServedGateway::start`], with Executors of the test's own for `inproc://`.
    ///
    /// # Panics
    /// When the Flow does not hold or cannot be served.
    pub async fn start_with(yaml: &str, registry: &Registry) -> Self {
        Self::start_in(yaml, registry, &|_| None).await
    }

    /// As [`ServedGateway::start_with`], in an environment of the test's own.
    ///
    /// # Panics
    /// When the Flow does not hold or cannot be served.
    pub async fn start_in(
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

    /// Serves a Flow that has to name one port for all its protocols, so that the system cannot pick it.
    ///
    /// # Panics
    /// When the Flow does not hold or cannot be served on any of several ports.
    pub async fn start_on_one_port(yaml: impl Fn(u16) -> String) -> Self {
        for _ in 0..50 {
            // Free at this moment; somebody else may be faster.
            let port = ClosedPort::hold().number();
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

    /// `localhost:PORT` of a protocol.
    ///
    /// # Panics
    /// When the Flow does not speak it.
    #[must_use]
    pub fn authority(&self, protocol: Protocol) -> String {
        let (_, address) = self
            .endpoints
            .iter()
            .find(|(spoken, _)| *spoken == protocol)
            .unwrap_or_else(|| panic!("the Flow speaks no {protocol:?}"));
        format!("localhost:{}", address.port())
    }

    /// Tells it to stop, without waiting.
    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it and says how that went.
    ///
    /// # Panics
    /// When the Gateway panicked or does not come to an end.
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
    let loaded = Config::from_yaml(yaml, "test.yml", env).expect("the Flow holds");
    Container::bind(&loaded.config, registry, ProcessInfo::default()).await
}

/// Waits until something is so.
///
/// # Panics
/// When it is not so within ten seconds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(
            tokio::time::Instant::now() < deadline,
            "never came true: {what}"
        );
        tokio::task::yield_now().await;
    }
}
