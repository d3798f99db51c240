//! A bound port -> connections, each served by a task of its own.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{body::Body, http::Request};
use flowgate_config::Protocol;
use flowgate_server::{Connection, Http, Http2, Incoming, Versions};
use hyper::body::Incoming as RequestBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::dispatch::Dispatch;

/// A TLS handshake that takes longer is a client that has gone or means harm.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// One port of the Gateway.
pub(super) struct Listener {
    /// Shares its limit of connections with the other ports.
    pub(super) incoming: Incoming,
    pub(super) address: SocketAddr,
    pub(super) protocols: Vec<Protocol>,
    pub(super) door: Door,
}

/// What every connection of a port goes through. It does not hold the socket, which closes when no more connections
/// are taken, however long those that were taken go on.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Accepts connections until `stopping` is cancelled; each runs on as one of `tasks`.
    pub(super) async fn serve(self, stopping: CancellationToken, tasks: TaskTracker) {
        let Self { incoming, door, .. } = self;
        let serve = |connection| door.clone().open(connection, stopping.clone());
        incoming.serve(stopping.clone(), tasks, serve).await;
    }
}

impl Door {
    async fn open(self, connection: Connection, stopping: CancellationToken) {
        let peer = connection.peer();
        let Self { dispatch, tls } = self;
        let Some(tls) = tls else {
            return serve(connection, peer, Versions::Any, dispatch, stopping).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(connection));
        match stopping.run_until_cancelled(handshake).await {
            None => {}
            Some(Ok(Ok(stream))) => {
                let versions = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => Versions::Http2,
                    _ => Versions::Http1,
                };
                serve(stream, peer, versions, dispatch, stopping).await;
            }
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }
}

/// Serves HTTP on a connection, plain or decrypted.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    versions: Versions,
    dispatch: Arc<Dispatch>,
    stopping: CancellationToken,
) {
    let service = move |request: Request<RequestBody>| {
        let dispatch = Arc::clone(&dispatch);
        async move { dispatch.respond(request.map(Body::new)).await }
    };
    HTTP.serve(stream, peer, versions, service, stopping).await;
}

/// An honest client sends the head of a request in one go, and the first one soon after it connected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

static HTTP: LazyLock<Http> = LazyLock::new(|| Http {
    header_timeout: HEADER_TIMEOUT,
    first_request_timeout: Some(HEADER_TIMEOUT),
    http2: Http2::default(),
});

impl fmt::Debug for Listener {
    /// Without the TLS acceptor, which holds the private key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("address", &self.address)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
