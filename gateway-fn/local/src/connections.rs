//! The open WebSockets, and `@connections`, by which a function posts to one, asks about one and closes one (API
//! Gateway, use `@connections` commands in your backend service; API Gateway Management API reference).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use flowgate_proto::limits::MAX_WEBSOCKET_MESSAGE_BYTES;
use http::{Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{
    Options, Signatures,
    answer::{self, Answer},
    http_api::{Plus, decoded},
    moment::Moment,
    server,
};

/// A client that takes nothing for so long is one for which AWS answers `LimitExceededException`.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages to one client that wait to be written; more wait with their posts.
const OUTBOX: usize = 16;

/// The open WebSockets.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<HashMap<String, Arc<Connection>>>>,
    most: usize,
    signatures: Signatures,
}

/// One of them, as everybody but its own task sees it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) connected_at: Moment,
    pub(super) source: IpAddr,
    pub(super) user_agent: Option<String>,
    last_active: AtomicU64,
    orders: mpsc::Sender<Order>,
}

/// What a function asks for.
#[derive(Debug)]
pub(super) enum Order {
    /// Send this, and say when it is written.
    Send(String, oneshot::Sender<()>),
    Close,
}

impl Connections {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            open: Arc::default(),
            most: options.max_connections,
            signatures: options.signatures,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.open().len() >= self.most
    }

    pub(super) fn insert(&self, connection: &Arc<Connection>) {
        self.open()
            .insert(connection.id.clone(), Arc::clone(connection));
    }

    pub(super) fn remove(&self, id: &str) {
        self.open().remove(id);
    }

    /// Answers a request for `@connections/{id}`; the id is still percent-encoded.
    pub(super) async fn answer(&self, id: &str, request: Request<Incoming>) -> Answer {
        if self.signatures == Signatures::Demanded && !is_signed(&request) {
            return forbidden();
        }
        let id = decoded(id, Plus::IsPlus);
        if !is_id(&id) {
            return bad_request(&format!("Invalid connectionId: {id}"));
        }
        // The guard must not be held while the body is read.
        let connection = self.open().get(&id).cloned();
        let Some(connection) = connection else {
            return gone();
        };
        match *request.method() {
            Method::POST => connection.post(request).await,
            Method::GET => connection.describe(),
            Method::DELETE => connection.close().await,
            _ => forbidden(),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// A connection, and the orders that it gets.
    pub(super) fn new(
        id: String,
        connected_at: Moment,
        source: IpAddr,
        user_agent: Option<String>,
    ) -> (Self, mpsc::Receiver<Order>) {
        let (orders, received) = mpsc::channel(OUTBOX);
        let connection = Self {
            id,
            connected_at,
            source,
            user_agent,
            last_active: AtomicU64::new(connected_at.millis()),
            orders,
        };
        (connection, received)
    }

    pub(super) fn note_active(&self) {
        self.last_active
            .store(Moment::now().millis(), Ordering::Relaxed);
    }

    async fn post(&self, request: Request<Incoming>) -> Answer {
        let body = match server::body(request.into_body(), MAX_WEBSOCKET_MESSAGE_BYTES).await {
            Ok(body) => body,
            Err(StatusCode::PAYLOAD_TOO_LARGE) => return too_large(),
            Err(_) => return bad_request("the data did not come"),
        };
        let Some(text) = text_of(&body) else {
            return bad_request("the data is no UTF-8, and a WebSocket API sends text only");
        };
        let (done, written) = oneshot::channel();
        let sent = async {
            self.orders.send(Order::Send(text, done)).await.ok()?;
            written.await.ok()
        };
        match tokio::time::timeout(POST_TIMEOUT, sent).await {
            Ok(Some(())) => answer::empty(StatusCode::OK),
            Ok(None) => gone(),
            Err(_) => limit_exceeded(),
        }
    }

    fn describe(&self) -> Answer {
        let active = Duration::from_millis(self.last_active.load(Ordering::Relaxed));
        let body = json!({
            "connectedAt": self.connected_at.iso(),
            "identity": { "sourceIp": self.source.to_string(), "userAgent": self.user_agent },
            "lastActiveAt": Moment::at(active).iso(),
        });
        answer::json(StatusCode::OK, &body)
    }

    async fn close(&self) -> Answer {
        match self.orders.send(Order::Close).await {
            Ok(()) => answer::empty(StatusCode::NO_CONTENT),
            Err(_) => gone(),
        }
    }
}

fn text_of(body: &Bytes) -> Option<String> {
    std::str::from_utf8(body).ok().map(str::to_owned)
}

/// Signed at all, by header or by query: whose signature it is nobody knows here.
fn is_signed(request: &Request<Incoming>) -> bool {
    let header = request.headers().get(header::AUTHORIZATION);
    let query = request.uri().query().unwrap_or_default();
    header.is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
        || query.contains("X-Amz-Signature=")
}

/// In the form of an id: base64.
fn is_id(id: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/_-=".contains(&byte);
    !id.is_empty() && id.len() <= 128 && id.bytes().all(is_part)
}

/// As AWS says it to whoever does not sign.
fn forbidden() -> Answer {
    let body = json!({ "message": "Missing Authentication Token" });
    let name = "MissingAuthenticationTokenException";
    answer::refusal(StatusCode::FORBIDDEN, name, &body)
}

fn gone() -> Answer {
    answer::refusal(StatusCode::GONE, "GoneException", &json!({}))
}

fn bad_request(said: &str) -> Answer {
    let body = json!({ "message": said });
    answer::refusal(StatusCode::BAD_REQUEST, "BadRequestException", &body)
}

fn too_large() -> Answer {
    let body = json!({ "message": "Request entity too large" });
    let name = "PayloadTooLargeException";
    answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, name, &body)
}

fn limit_exceeded() -> Answer {
    let name = "LimitExceededException";
    answer::refusal(StatusCode::TOO_MANY_REQUESTS, name, &json!({}))
}
