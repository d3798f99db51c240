//! Executors and a Gateway in this process, on ports that the system picks, joined at the end.

use std::{net::SocketAddr, time::Duration};

use executor_fn::{Executor, Identity, ServeOptions};
use gateway::{
    config::{Config, Protocol},
    gateway::Registry,
    host::container::{Container, Ended},
};
use tokio::{net::TcpListener, task::JoinHandle};
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
        let options = ServeOptions {
            identity: Some(Identity::of(deployment)),
            ..ServeOptions::default()
        };
        let task = tokio::spawn(async move {
            executor_fn::serve_on(socket, executor, options, stopped)
                .await
                .expect("the executor serves");
        });
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

/// A Gateway with all its listeners.
#[derive(Debug)]
pub struct ServedGateway {
    endpoints: Vec<(Protocol, SocketAddr)>,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
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
        let loaded = Config::from_yaml(yaml, "test.yml", env).expect("the Flow holds");
        let container = Container::bind(&loaded.config, registry)
            .await
            .expect("the Flow can be served");
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
    pub async fn stop(self) -> Ended {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), self.task).await;
        ended
            .expect("the gateway stops in time")
            .expect("the gateway stops cleanly")
    }
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
