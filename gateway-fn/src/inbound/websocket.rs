//! WebSocket clients: frames of Jina's two subprotocols, `json` and `bytes`, over one Gateway.

pub(crate) mod close;

mod frame;

mod session;

pub(crate) mod subprotocol;

use std::{num::NonZeroUsize, sync::Arc};

use axum::{
    Router,
    extract::{State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use flowgate_auth::layer;
use flowgate_config::GatewayConfig;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{session::Session, subprotocol::Subprotocol};
use super::Services;
use crate::gateway::Gateway;

/// The open WebSockets of a host: how it asks them to end, and waits until they have.
#[derive(Clone, Debug)]
pub struct Sessions {
    stopping: CancellationToken,
    open: TaskTracker,
    /// One permit for each that may still be opened.
    places: Arc<Semaphore>,
}

impl Sessions {
    /// No session yet; each will take one of `places`. When `stopping` comes true, each answers what it has taken
    /// and then closes.
    #[must_use]
    pub fn new(stopping: CancellationToken, places: Arc<Semaphore>) -> Self {
        Self {
            stopping,
            open: TaskTracker::new(),
            places,
        }
    }

    /// Waits until every session has closed.
    pub async fn closed(&self) {
        self.open.close();
        self.open.wait().await;
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// The routes for requests that ask for an upgrade: `/` for data, `/dry_run`; any other path is refused with 403, as
/// Jina does.
pub fn router(services: &Services, config: &GatewayConfig, sessions: &Sessions) -> Router {
    let inbound = Inbound {
        gateway: services.gateway.clone(),
        sessions: sessions.clone(),
        prefetch: config.prefetch,
        max_message_bytes: config.limits.max_message_bytes,
    };
    let routes = Router::new()
        .route("/", get(data))
        .route("/dry_run", get(dry_run))
        .fallback(async || StatusCode::FORBIDDEN)
        .with_state(inbound);
    layer::protect_websocket(routes, &services.auth)
}

#[derive(Clone, Debug)]
struct Inbound {
    gateway: Gateway,
    sessions: Sessions,
    prefetch: Option<NonZeroUsize>,
    max_message_bytes: usize,
}

async fn data(
    State(inbound): State<Inbound>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    inbound.open(&headers, upgrade, Session::data)
}

async fn dry_run(
    State(inbound): State<Inbound>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    inbound.open(&headers, upgrade, Session::dry_run)
}

impl Inbound {
    /// Answers the handshake. The answer names no subprotocol, because Jina's never does and a Python client offers
    /// `bytes` only to tell.
    fn open<S>(
        &self,
        headers: &HeaderMap,
        upgrade: WebSocketUpgrade,
        serve: impl FnOnce(Session) -> S + Send + 'static,
    ) -> Response
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let subprotocol = Subprotocol::offered(headers.get(header::SEC_WEBSOCKET_PROTOCOL));
        let Self {
            gateway,
            sessions,
            prefetch,
            max_message_bytes,
        } = self.clone();
        let Ok(place) = Arc::clone(&sessions.places).try_acquire_owned() else {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        };
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
                drop((token, place));
            })
    }
}
