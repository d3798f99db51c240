//! Accepts the connections of a port and serves each in its own task.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{body::Body, http::Request};
use flowgate_config::Protocol;
use flowgate_server::{
    Connection, Http, Incoming,
    http2::{Exchange, Http2},
    workers::Workers,
};
use hyper::body::Incoming as RequestBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::router::PortRouter;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// One port of the Gateway.
pub(super) struct Listener {
    /// Shares its limit of connections with the other ports.
    pub(super) incoming: Incoming,
    pub(super) address: SocketAddr,
    pub(super) protocols: Vec<Protocol>,
    pub(super) acceptor: Acceptor,
}

/// Sets up the connections of a port. It does not own the listening socket, which closes as soon as the Gateway stops,
/// while open connections finish their work.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) router: Arc<PortRouter>,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Accepts connections until `stopping` is cancelled; each is served on one of the workers, as one of `tasks`.
    pub(super) async fn serve(
        self,
        workers: Arc<Workers>,
        stopping: CancellationToken,
        tasks: TaskTracker,
    ) {
        let Self {
            incoming, acceptor, ..
        } = self;
        let stopping_of_connections = stopping.clone();
        let serve = move |connection| {
            let stopping = stopping_of_connections.clone();
            acceptor.clone().serve(connection, stopping)
        };
        incoming.serve_on(&workers, stopping, tasks, serve).await;
    }
}

impl Acceptor {
    async fn serve(self, connection: Connection, stopping: CancellationToken) {
        let peer = connection.peer();
        let Self { router, tls } = self;
        let Some(tls) = tls else {
            return serve(connection, peer, router, stopping).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(connection));
        match stopping.run_until_cancelled(handshake).await {
            None => {}
            Some(Ok(Ok(stream))) => {
                serve(stream, peer, router, stopping).await;
            }
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }
}

/// Serves HTTP on a connection, plain or decrypted.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    router: Arc<PortRouter>,
    stopping: CancellationToken,
) {
    let http1 = {
        let router = Arc::clone(&router);
        move |request: Request<RequestBody>| {
            let router = Arc::clone(&router);
            async move { router.handle(request.map(Body::new)).await }
        }
    };
    let http2 = move |exchange: Exchange| Arc::clone(&router).exchange(exchange);
    HTTP.serve_any(stream, peer, (http1, (&HTTP2, http2)), stopping)
        .await;
}

/// How long a client may take to send a request's head, and to send its first request. Ordinary clients do both at once;
/// this limits connections that send nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

static HTTP: LazyLock<Http> = LazyLock::new(|| Http {
    header_timeout: HEADER_TIMEOUT,
    first_request_timeout: Some(HEADER_TIMEOUT),
});

static HTTP2: LazyLock<Http2> = LazyLock::new(Http2::default);

impl fmt::Debug for Listener {
    /// Leaves out the TLS acceptor, which contains the private key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("address", &self.address)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
