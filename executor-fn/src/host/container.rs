//! Serves one Executor on one gRPC listener until a stop signal, then drains the requests in flight.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use flowgate_proto::{DEFAULT_MAX_DOCUMENTS, DecodeLimits};
use flowgate_server::{Incoming, http2::Http2};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::{error::ServeError, shutdown::Shutdown};
use crate::{
    Executor, Identity, Service,
    inbound::grpc::{ADVERTISED_SERVICES, Limits, routes},
    introspect::Introspection,
};

/// How to serve an Executor over gRPC.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address to listen on; port 0 takes a free port.
    pub address: SocketAddr,
    /// The names to serve under. `None` takes the first replica of the Executor's own name.
    pub identity: Option<Identity>,
    /// The largest message accepted, in bytes, as sent and after decompression.
    pub max_message_bytes: usize,
    /// Documents of one message, chunks and matches included; more are answered RESOURCE_EXHAUSTED, as is a message that
    /// would take more than four times `max_message_bytes` when it is decoded.
    pub max_documents: usize,
    /// Concurrent requests on one connection; the client holds back further ones.
    pub max_concurrent_streams: u32,
    /// Concurrent requests on all connections; further ones are answered RESOURCE_EXHAUSTED.
    pub max_concurrent_requests: usize,
    /// Open connections; further ones wait until one closes.
    pub max_connections: usize,
    /// How long requests in flight, and then background work, may take once the stop signal has come.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    /// All interfaces and a free port, as in Jina. 256 MiB are enough for large batches of images, and limit the memory that
    /// a compressed message can take. 1024 requests on a connection leave room for a Gateway's default `prefetch` of 1000.
    /// 10 000 requests and connections are the Gateway's own defaults: enough for several busy Gateways, and as many
    /// small tasks still fit into memory. Kubernetes kills after 30 seconds: 25 leave time to exit.
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::UNSPECIFIED, 0).into(),
            identity: None,
            max_message_bytes: 256 << 20,
            max_documents: DEFAULT_MAX_DOCUMENTS,
            max_concurrent_streams: 1024,
            max_concurrent_requests: 10_000,
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// Listens on `address`.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ServeError::Bind { address, source })
}

/// Serves `executor` on `listener` until the future `stop` resolves. Then health turns to NOT_SERVING, no further
/// connection is accepted, batches no longer wait for more requests, and the requests in flight have
/// `options.drain_timeout` to end. `options.address` is not used.
///
/// # Errors
/// When the server fails.
pub async fn serve_on(
    listener: TcpListener,
    executor: Executor,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) -> Result<Shutdown, ServeError> {
    let name = executor.name().to_owned();
    let service = executor.into_process_service(options.identity.clone());
    if let Ok(address) = listener.local_addr() {
        tracing::info!(executor = name, %address, "listening");
    }
    let introspection = Introspection::new(ADVERTISED_SERVICES);
    let stopping = CancellationToken::new();
    let server = server(listener, &service, &introspection, &options, &stopping);
    let mut server = pin!(server);
    tokio::select! {
        result = &mut server => return result.map(|()| Shutdown::Drained),
        () = stop => {}
    }
    introspection.health().set_not_serving();
    service.flush_batches();
    stopping.cancel();
    let drain = async {
        let result = server.await;
        service.background_done().await;
        result
    };
    match tokio::time::timeout(options.drain_timeout, drain).await {
        Ok(result) => result.map(|()| Shutdown::Drained),
        Err(_) => {
            tracing::warn!(timeout = ?options.drain_timeout, "requests or background work in flight at the end of the drain timeout");
            Ok(Shutdown::TimedOut)
        }
    }
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
        decode_limits: DecodeLimits {
            max_documents: options.max_documents,
            ..DecodeLimits::for_messages(options.max_message_bytes)
        },
        max_concurrent_requests: options.max_concurrent_requests,
    };
    let routes = introspection.add_to(routes(service, limits));
    let http2 = Http2::default();
    Server::builder()
        // Jina's interval, but a longer timeout than its 5 seconds: a Python Gateway may be busy that long with
        // one large request. Jina's clients ping every 10 seconds even when idle, which this server allows.
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(options.max_concurrent_streams)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            Incoming::new(listener, Incoming::limit(options.max_connections)).into_stream(),
            stopping.cancelled(),
        )
        .await
        .map_err(|source| ServeError::Server { source })
}
