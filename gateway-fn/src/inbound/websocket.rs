//! Serves WebSocket clients with Jina's two subprotocols, `json` and `bytes`.

pub(crate) mod close;

mod frame;

mod session;

pub(crate) mod subprotocol;

use std::num::NonZeroUsize;

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::get,
};
use flowgate_auth::layer;
use flowgate_config::GatewayConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{session::Session, subprotocol::Subprotocol};
use super::Services;
use crate::gateway::Gateway;

/// The open WebSockets of a host, which it can ask to close and wait for.
#[derive(Clone, Debug)]
pub struct Sessions {
    stopping: CancellationToken,
    open: TaskTracker,
}

impl Sessions {
    /// Starts without sessions. Once `stopping` is cancelled, each answers the requests that it has read and then closes.
    #[must_use]
    pub fn new(stopping: CancellationToken) -> Self {
        Self {
            stopping,
            open: TaskTracker::new(),
        }
    }

    /// Waits until every session has closed.
    pub async fn wait_until_closed(&self) {
        self.open.close();
        self.open.wait().await;
    }

    /// Returns the number of open sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no session is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Returns the routes for requests that ask for an upgrade: `/` for data and `/dry_run`. Any other path answers 403, as in
/// Jina.
pub fn router(services: &Services, config: &GatewayConfig, sessions: &Sessions) -> Router {
    let handshake = Handshake {
        gateway: services.gateway.clone(),
        sessions: sessions.clone(),
        prefetch: config.prefetch,
        max_message_bytes: config.limits.max_message_bytes,
    };
    let routes = Router::new()
        .route("/", get(data))
        .route("/dry_run", get(dry_run))
        .fallback(async || StatusCode::FORBIDDEN)
        .with_state(handshake);
    layer::protect_websocket(routes, &services.auth)
}

/// The state of the WebSocket routes.
#[derive(Clone, Debug)]
struct Handshake {
    gateway: Gateway,
    sessions: Sessions,
    prefetch: Option<NonZeroUsize>,
    max_message_bytes: usize,
}

async fn data(
    State(handshake): State<Handshake>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    handshake.accept(&headers, upgrade, Session::serve_data)
}

async fn dry_run(
    State(handshake): State<Handshake>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    handshake.accept(&headers, upgrade, Session::serve_dry_run)
}

impl Handshake {
    /// Answers the handshake without naming a subprotocol, as Jina does: its Python client offers `bytes` only as a signal
    /// and expects no choice.
    fn accept<S>(
        &self,
        headers: &HeaderMap,
        upgrade: WebSocketUpgrade,
        serve: impl FnOnce(Session) -> S + Send + 'static,
    ) -> Response
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let subprotocol = Subprotocol::from_header(headers.get(header::SEC_WEBSOCKET_PROTOCOL));
        let Self {
            gateway,
            sessions,
            prefetch,
            max_message_bytes,
        } = self.clone();
        let token = sessions.open.token();
        upgrade
            .max_message_size(max_message_bytes)
            .max_frame_size(max_message_bytes)
            .on_upgrade(async move |socket| {
                let stopping = sessions.stopping.clone();
                serve(Session {
                    socket,
                    subprotocol,
                    gateway,
                    prefetch,
                    stopping,
                })
                .await;
                drop(token);
            })
    }
}
