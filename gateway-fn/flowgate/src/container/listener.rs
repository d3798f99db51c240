//! Accepts the connections of a port and serves each in its own task.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use axum::{body::Body, http::Request};
use flowgate_config::{GatewayConfig, Protocol};
use flowgate_server::{
    Connection, Http, Incoming, Usage,
    http1::RequestBody,
    http2::{Exchange, Http2},
    workers::Workers,
};
use gateway::context::ConnectionLoad;
use gateway::inbound::min_rate;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::router::{PortRouter, RequestRules};

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TLS handshake may still take when the Gateway stops: the client may have sent its request with it.
const HANDSHAKE_TIMEOUT_AT_STOP: Duration = Duration::from_secs(2);

/// How long a connection over the limit may stay open, for a handshake and one request.
const OVER_LIMIT_TIMEOUT: Duration = Duration::from_secs(5);

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
    pub(super) http: Arc<Http>,
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
    /// Serves a connection. One over the limit ends after its first request, or after `OVER_LIMIT_TIMEOUT`.
    async fn serve(self, connection: Connection, stopping: CancellationToken) {
        let peer = connection.peer();
        let rules = RequestRules {
            min_rate: self.http.min_rate,
            over_limit: None,
            load: ConnectionLoad::default(),
        };
        if !connection.is_over_limit() {
            return self.serve_until_evicted(connection, rules, stopping).await;
        }
        let closing = stopping.child_token();
        let rules = RequestRules {
            over_limit: Some(closing.clone()),
            ..rules
        };
        let serving = self.handshake(connection, rules, closing);
        if tokio::time::timeout(OVER_LIMIT_TIMEOUT, serving)
            .await
            .is_err()
        {
            tracing::debug!(%peer, "connection over `max_connections` closed");
        }
    }

    /// Serves a connection that may have to end for another client: at once as long as it has sent no whole request.
    async fn serve_until_evicted(
        self,
        connection: Connection,
        rules: RequestRules,
        stopping: CancellationToken,
    ) {
        let (peer, usage) = (connection.peer(), connection.usage());
        // Boxed, because a pinned future would exist twice in this one.
        let mut serving = Box::pin(self.handshake(connection, rules, stopping));
        tokio::select! {
            () = &mut serving => return,
            () = usage.evicted() => {}
        }
        if usage.has_begun() {
            // The protocol ends it between two requests.
            return serving.await;
        }
        tracing::debug!(%peer, "connection without a request closed for another client");
    }

    async fn handshake(
        self,
        connection: Connection,
        rules: RequestRules,
        stopping: CancellationToken,
    ) {
        let peer = connection.peer();
        let ends = (connection.usage(), stopping.clone());
        let Some(tls) = self.tls.clone() else {
            return self.serve_http(connection, peer, rules, ends).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(connection));
        let at_stop = async {
            stopping.cancelled().await;
            tokio::time::sleep(HANDSHAKE_TIMEOUT_AT_STOP).await;
        };
        let stream = tokio::select! {
            stream = handshake => stream,
            () = at_stop => return,
        };
        match stream {
            Ok(Ok(stream)) => self.serve_http(stream, peer, rules, ends).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake timed out"),
        }
    }

    /// Serves HTTP on a connection, plain or decrypted.
    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
        rules: RequestRules,
        ends: (Usage, CancellationToken),
    ) {
        let Self { router, http, .. } = self;
        let http1 = {
            let (router, rules) = (Arc::clone(&router), rules.clone());
            move |request: Request<RequestBody>| {
                let (router, rules) = (Arc::clone(&router), rules.clone());
                async move { router.handle_by(&rules, request.map(Body::new)).await }
            }
        };
        let http2 = move |exchange: Exchange| Arc::clone(&router).exchange(rules.clone(), exchange);
        let services = (http1, (&*HTTP2, http2));
        http.serve_any(stream, peer, services, ends).await;
    }
}

/// How long a client may take to send a request's head, and to send its first request. Ordinary clients do both at once;
/// this limits connections that send nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns how connections are served, by the settings of the Flow.
pub(super) fn http(config: &GatewayConfig) -> Http {
    Http {
        header_timeout: HEADER_TIMEOUT,
        first_request_timeout: Some(HEADER_TIMEOUT),
        idle_timeout: config.keep_alive_timeout,
        min_rate: min_rate(config),
    }
}

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
