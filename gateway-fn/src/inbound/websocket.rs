//! Serves WebSocket clients with Jina's two subprotocols, `json` and `bytes`.

mod call;

pub(crate) mod close;

mod frame;

mod pace;

mod session;

pub(crate) mod subprotocol;

mod work;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::Response,
    routing::any,
};
use flowgate_auth::layer;
use flowgate_config::GatewayConfig;
use flowgate_grpc::{Budget, MinRate};
use flowgate_websocket::Upgraded;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{session::Session, subprotocol::Subprotocol, work::WorkLimits};
use super::{Services, min_rate};
use crate::gateway::Gateway;

/// The open WebSockets of a host, which it can ask to close and wait for.
#[derive(Clone, Debug)]
pub struct Sessions {
    stopping: CancellationToken,
    open: TaskTracker,
}

impl Sessions {
    /// Starts without sessions. Once `stopping` is cancelled, each answers the requests that the client has sent before it could
    /// know of that, and then closes.
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
        limits: WorkLimits {
            prefetch: config.prefetch,
            max_unread_bytes: config.limits.max_unread_bytes,
        },
        min_rate: min_rate(config),
        max_message_bytes: config.limits.max_message_bytes,
        budget: Arc::clone(&services.budget),
    };
    let routes = Router::new()
        .route("/", any(data))
        .route("/dry_run", any(dry_run))
        .fallback(async || StatusCode::FORBIDDEN)
        .with_state(handshake);
    layer::protect_websocket(routes, &services.auth)
}

/// The state of the WebSocket routes.
#[derive(Clone, Debug)]
struct Handshake {
    gateway: Gateway,
    sessions: Sessions,
    limits: WorkLimits,
    min_rate: MinRate,
    max_message_bytes: usize,
    budget: Arc<Budget>,
}

async fn data(State(handshake): State<Handshake>, request: Request) -> Response {
    handshake.accept(request, Session::serve_data)
}

async fn dry_run(State(handshake): State<Handshake>, request: Request) -> Response {
    handshake.accept(request, Session::serve_dry_run)
}

impl Handshake {
    /// Answers the handshake without naming a subprotocol, as Jina does: its Python client offers `bytes` only as a signal
    /// and expects no choice.
    fn accept<S>(
        self,
        mut request: Request,
        serve: impl FnOnce(Session<Upgraded>) -> S + Send + 'static,
    ) -> Response
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let (response, upgrade) = match flowgate_websocket::accept(&mut request) {
            Ok(accepted) => accepted,
            Err(error) => return error.response().map(Body::from),
        };
        let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        let subprotocol = Subprotocol::from_header(offered);
        let token = self.sessions.open.token();
        tokio::spawn(async move {
            if let Some(socket) = upgrade.into_socket(self.max_message_bytes).await {
                let session = Session {
                    socket: socket.with_budget(&self.budget),
                    subprotocol,
                    gateway: self.gateway,
                    limits: self.limits,
                    min_rate: self.min_rate,
                    stopping: self.sessions.stopping,
                };
                serve(session).await;
            }
            drop(token);
        });
        response.map(|()| Body::empty())
    }
}
