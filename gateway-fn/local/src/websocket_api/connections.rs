//! The open WebSockets, and `@connections`, through which a function sends a message to one, reads its state and closes
//! it (API Gateway, use `@connections` commands in your backend service; API Gateway Management API reference).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flowgate_proto::limits::MAX_WEBSOCKET_MESSAGE_BYTES;
use flowgate_server::http1::RequestBody;
use http::{Method, Request, StatusCode, header};
use serde_json::json;
use time::UtcDateTime;
use tokio::sync::{mpsc, oneshot};

use crate::{
    aws::iso_8601_time,
    decode::decode_path,
    options::Signatures,
    response::{self, Response},
    server,
};

/// How long a message may wait until it is written to the client; then the response is AWS's `LimitExceededException`.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of commands to one connection that wait to be carried out.
const MAX_QUEUED_COMMANDS: usize = 16;

/// The open WebSockets by connection id.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<HashMap<String, Arc<Connection>>>>,
    max_open: usize,
    signatures: Signatures,
}

/// An open WebSocket, as events and `@connections` see it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) connected_at: UtcDateTime,
    pub(super) source_ip: IpAddr,
    pub(super) user_agent: Option<String>,
    last_active_at: Mutex<UtcDateTime>,
    commands: mpsc::Sender<Command>,
}

/// A command of the function to a connection's session.
#[derive(Debug)]
pub(super) enum Command {
    /// Send a text message; the sender reports that it is written.
    Send(String, oneshot::Sender<()>),
    Close,
}

impl Connections {
    pub(super) fn new(max_open: usize, signatures: Signatures) -> Self {
        Self {
            open: Arc::default(),
            max_open,
            signatures,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.open().len() >= self.max_open
    }

    pub(super) fn insert(&self, connection: &Arc<Connection>) {
        self.open()
            .insert(connection.id.clone(), Arc::clone(connection));
    }

    pub(super) fn remove(&self, id: &str) {
        self.open().remove(id);
    }

    /// Handles a request to `@connections/{id}`, whose id is still percent-encoded.
    pub(super) async fn handle(&self, id: &str, request: Request<RequestBody>) -> Response {
        if self.signatures == Signatures::Required && !is_signed(&request) {
            return missing_token();
        }
        let id = decode_path(id);
        if !is_connection_id(&id) {
            return bad_request(&format!("Invalid connectionId: {id}"));
        }
        // The lock is released at the end of this statement, before the request is handled.
        let connection = self.open().get(&id).cloned();
        let Some(connection) = connection else {
            return gone();
        };
        match *request.method() {
            Method::POST => connection.post(request).await,
            Method::GET => connection.describe(),
            Method::DELETE => connection.close().await,
            _ => missing_token(),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Returns a connection that opens now, and the receiver of its commands.
    pub(super) fn new(
        id: &str,
        source_ip: IpAddr,
        user_agent: Option<String>,
    ) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(MAX_QUEUED_COMMANDS);
        let connected_at = UtcDateTime::now();
        let connection = Self {
            id: id.to_owned(),
            connected_at,
            source_ip,
            user_agent,
            last_active_at: Mutex::new(connected_at),
            commands,
        };
        (connection, receiver)
    }

    pub(super) fn mark_active(&self) {
        *self.last_active_at() = UtcDateTime::now();
    }

    async fn post(&self, request: Request<RequestBody>) -> Response {
        let body = server::read_body(request.into_body(), MAX_WEBSOCKET_MESSAGE_BYTES).await;
        let text = match body.map(|body| String::from_utf8(body.into())) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return bad_request("the message is not UTF-8: only text is supported"),
            Err(StatusCode::PAYLOAD_TOO_LARGE) => return too_large(),
            Err(_) => return bad_request("cannot read the message"),
        };
        let (sender, written) = oneshot::channel();
        let send = async {
            let command = Command::Send(text, sender);
            self.commands.send(command).await.ok()?;
            written.await.ok()
        };
        match tokio::time::timeout(POST_TIMEOUT, send).await {
            Ok(Some(())) => response::empty(StatusCode::OK),
            Ok(None) => gone(),
            Err(_) => limit_exceeded(),
        }
    }

    fn describe(&self) -> Response {
        let body = json!({
            "connectedAt": iso_8601_time(self.connected_at),
            "identity": { "sourceIp": self.source_ip.to_string(), "userAgent": self.user_agent },
            "lastActiveAt": iso_8601_time(*self.last_active_at()),
        });
        response::json(StatusCode::OK, &body)
    }

    async fn close(&self) -> Response {
        match self.commands.send(Command::Close).await {
            Ok(()) => response::empty(StatusCode::NO_CONTENT),
            Err(_) => gone(),
        }
    }

    fn last_active_at(&self) -> MutexGuard<'_, UtcDateTime> {
        let last_active_at = self.last_active_at.lock();
        last_active_at.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the request has a Signature Version 4, in a header or in the query. The signature is not verified.
fn is_signed(request: &Request<RequestBody>) -> bool {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let query = request.uri().query().unwrap_or_default();
    authorization.is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
        || query.contains("X-Amz-Signature=")
}

/// Whether the text has the format of a connection id: base64.
fn is_connection_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/_-=".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Returns AWS's response to unsigned requests and to unsupported methods.
fn missing_token() -> Response {
    let body = json!({ "message": "Missing Authentication Token" });
    let name = "MissingAuthenticationTokenException";
    response::aws_error(StatusCode::FORBIDDEN, name, &body)
}

fn gone() -> Response {
    response::aws_error(StatusCode::GONE, "GoneException", &json!({}))
}

fn bad_request(message: &str) -> Response {
    let body = json!({ "message": message });
    response::aws_error(StatusCode::BAD_REQUEST, "BadRequestException", &body)
}

fn too_large() -> Response {
    let body = json!({ "message": "Request entity too large" });
    let name = "PayloadTooLargeException";
    response::aws_error(StatusCode::PAYLOAD_TOO_LARGE, name, &body)
}

fn limit_exceeded() -> Response {
    let name = "LimitExceededException";
    response::aws_error(StatusCode::TOO_MANY_REQUESTS, name, &json!({}))
}
