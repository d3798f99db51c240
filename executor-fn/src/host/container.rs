//! A long-running process: one Executor on one gRPC listener until it is told to stop.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use flowgate_server::Incoming;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{
    Executor, Identity, Service,
    executor::Environment,
    host::{command::CommandError, lambda, program::OptionError},
    inbound::grpc::{ADVERTISED, Limits, routes},
    introspect::Introspection,
};

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// Under which names; the Executor's own name and its first replica unless set.
    pub identity: Option<Identity>,
    /// Largest message taken, also when it comes compressed and is larger only afterwards.
    pub max_message_bytes: usize,
    /// Requests at once on one connection; more wait at the client.
    pub max_concurrent_streams: u32,
    /// Requests at once on all connections; one more is answered RESOURCE_EXHAUSTED.
    pub max_concurrent_requests: usize,
    /// Connections at once; more wait until one closes.
    pub max_connections: usize,
    /// How long requests under way may take once the Executor is told to stop.
    pub drain: Duration,
}

impl Default for ServeOptions {
    /// All interfaces and a free port, as Jina. 256 MiB hold large batches of images and bound what a
    /// compressed message can do. A Gateway's default `prefetch` of 1000 fits into 1024 requests of a
    /// connection. 10 000 requests and connections are the Gateway's own bounds: what several of them
    /// send at their busiest, and small tasks still fit into memory.
    /// Kubernetes kills after 30 seconds: 25 leave time to exit.
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::UNSPECIFIED, 0).into(),
            identity: None,
            max_message_bytes: 256 << 20,
            max_concurrent_streams: 1024,
            max_concurrent_requests: 10_000,
            max_connections: 10_000,
            drain: Duration::from_secs(25),
        }
    }
}

/// Why an Executor cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The program was started with options that do not hold.
    #[error("cannot read the options")]
    Options(#[from] OptionError),
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address of the options.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The loop of Lambda's runtime ended.
    #[error("the Lambda runtime failed")]
    Lambda {
        /// Its reason.
        source: lambda_runtime::Error,
    },
    /// The command that the function wraps does not run.
    #[error("the command cannot be run")]
    Command(#[from] CommandError),
    /// No handler for SIGTERM or SIGINT.
    #[error("cannot wait for signals")]
    Signals {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the gRPC server failed")]
    Server {
        /// Its reason.
        source: tonic::transport::Error,
    },
}

/// How serving ended after it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything under way was finished.
    Drained,
    /// The time to drain was over first. What is still under way goes on until the runtime ends.
    CutOff,
}

/// Serves `executor` until SIGTERM or SIGINT: over gRPC, or, where `AWS_LAMBDA_RUNTIME_API` says that this is
/// a Lambda function, by answering invocations (`proto/INVOKE.md`). There the address and the bounds of
/// connections mean nothing, and the settings are the environment's (`host/lambda/settings.rs`).
///
/// # Errors
/// When the address cannot be had, the server fails, or Lambda's environment does not hold.
pub async fn serve(executor: Executor, options: ServeOptions) -> Result<Ended, ServeError> {
    let env = |key: &str| std::env::var(key).ok();
    if lambda::is_here(&env) {
        return lambda::serve(executor, options.identity, &env).await;
    }
    let listener = bind(options.address).await?;
    let stop = stop_signal()?;
    serve_on(listener, executor, options, stop).await
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Bind { address, source })
}

/// Serves `executor` on a listener until `stop` is done. Health turns off first; then nothing new is
/// accepted, batches no longer wait for more requests, and what is under way has the time of
/// `options.drain`.
///
/// # Errors
/// When the server fails.
pub async fn serve_on(
    listener: TcpListener,
    executor: Executor,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> Result<Ended, ServeError> {
    let name = executor.name().to_owned();
    let service = service(executor, options.identity.clone());
    if let Ok(address) = listener.local_addr() {
        tracing::info!(executor = name, %address, "listening");
    }
    let introspection = Introspection::new(ADVERTISED);
    let stopping = CancellationToken::new();
    let server = server(listener, &service, &introspection, &options, &stopping);
    let mut server = pin!(server);
    tokio::select! {
        ended = &mut server => return ended.map(|()| Ended::Drained),
        () = stop => {}
    }
    introspection.health().turn_off();
    service.close();
    stopping.cancel();
    match tokio::time::timeout(options.drain, server).await {
        Ok(ended) => ended.map(|()| Ended::Drained),
        Err(_) => {
            tracing::warn!("requests were still under way after {:?}", options.drain);
            Ok(Ended::CutOff)
        }
    }
}

/// The Executor with the process's environment, if it has no other, under its own name unless told another.
pub(super) fn service(mut executor: Executor, identity: Option<Identity>) -> Service {
    let environment = || -> Environment { Arc::new(|key| std::env::var(key).ok()) };
    executor.environment.get_or_insert_with(environment);
    let identity = identity.unwrap_or_else(|| Identity::of(executor.name()));
    executor.into_service(identity)
}

/// Done at the first SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn stop_signal() -> Result<impl Future<Output = ()>, ServeError> {
    let signals = |source| ServeError::Signals { source };
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn server(
    listener: TcpListener,
    service: &Service,
    introspection: &Introspection,
    options: &ServeOptions,
    stopping: &CancellationToken,
) -> Result<(), ServeError> {
    let limits = Limits {
        max_message_bytes: options.max_message_bytes,
        max_concurrent_requests: options.max_concurrent_requests,
    };
    let routes = introspection.add_to(routes(service, limits));
    Server::builder()
        // Jina's own interval, with more patience than its 5 seconds: a Python Gateway may be that
        // busy with one large request. Its peers ping every 10 seconds even when idle, which this
        // server takes without complaint.
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(options.max_concurrent_streams)
        // The windows of 64 KiB that HTTP/2 starts with would make large documents wait for the
        // peer several times per megabyte.
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            Incoming::new(listener, Incoming::limit(options.max_connections)).into_stream(),
            stopping.cancelled(),
        )
        .await
        .map_err(|source| ServeError::Server { source })
}
