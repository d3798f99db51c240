//! A WebSocket API in front of the function: handshakes out as `$connect`, messages as the route that they select, ends
//! as `$disconnect` (API Gateway, working with routes for WebSocket APIs), and what the function answers back.

mod event;

mod handshake;

mod session;

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    event::Events,
    handshake::{Handshake, Refused},
    session::Session,
};
use super::{
    Local, Options, RouteResponses, RouteSelection, Times,
    answer::{self, Answer},
    connections::{Connection, Connections},
    function::{Front, Outcome},
    http_api::{status, text},
    moment::{self, Moment},
};

/// A WebSocket API.
#[derive(Clone, Debug)]
pub(super) struct WebSocketApi {
    api: Arc<Api>,
}

/// What is the same for every connection.
#[derive(Debug)]
struct Api {
    front: Front,
    connections: Connections,
    events: Events,
    prefix: String,
    routes: Vec<String>,
    selection: RouteSelection,
    responses: RouteResponses,
    times: Times,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// How an integration did not answer, in the texts that API Gateway sends to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TimedOut,
    Failed,
}

impl WebSocketApi {
    pub(super) fn new(
        front: Front,
        connections: Connections,
        options: &Options,
        local: &Local,
    ) -> Self {
        let api = Api {
            front,
            connections,
            events: Events::new(&options.stage, local.addresses.websocket),
            prefix: options.prefix(),
            routes: options.routes.clone(),
            selection: options.route_selection.clone(),
            responses: options.route_responses,
            times: options.times,
            stopping: local.stopping.clone(),
            tasks: local.tasks.clone(),
        };
        Self { api: Arc::new(api) }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let path = self.path(request.uri().path());
        if let Some("" | "/") = path.as_deref() {
            return self.connect(request, peer).await;
        }
        match path
            .as_deref()
            .and_then(|path| path.strip_prefix("/@connections/"))
        {
            Some(id) => self.api.connections.answer(id, request).await,
            None => refused(
                StatusCode::FORBIDDEN,
                "Forbidden",
                &moment::id(),
                &moment::id(),
            ),
        }
    }

    /// The path behind the stage, the `@` decoded. The stage `$default` may be there too, because a function that
    /// makes the URL of `@connections` of an event's domain and stage puts it there.
    fn path(&self, path: &str) -> Option<String> {
        let path = path.replace("%40", "@").replace("%24", "$");
        let path = match path.strip_prefix("/$default") {
            Some(rest) if self.api.prefix.is_empty() => rest,
            _ => path.strip_prefix(&self.api.prefix)?,
        };
        (path.is_empty() || path.starts_with('/')).then(|| path.to_owned())
    }

    async fn connect(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Answer {
        let (connection_id, request_id) = (moment::id(), moment::id());
        let handshake = match Handshake::read(&request) {
            Ok(handshake) => handshake,
            Err(Refused(status, said)) => {
                return refused(status, said, &connection_id, &request_id);
            }
        };
        if self.api.connections.is_full() {
            let said = "Too Many Requests";
            return refused(
                StatusCode::TOO_MANY_REQUESTS,
                said,
                &connection_id,
                &request_id,
            );
        }
        let agent = request.headers().get(header::USER_AGENT);
        let agent = agent.map(|agent| text(agent).into_owned());
        let (connection, orders) =
            Connection::new(connection_id.clone(), Moment::now(), peer.ip(), agent);
        let event = self.api.events.connect(&connection, &request_id, &request);
        let (status, said, protocol) = match self.api.ask(&event).await {
            Ok(answer) => admission(&answer),
            Err(Fault::TimedOut) => (StatusCode::GATEWAY_TIMEOUT, Fault::TimedOut.text(), None),
            Err(Fault::Failed) => (StatusCode::BAD_GATEWAY, Fault::Failed.text(), None),
        };
        if !status.is_success() {
            return refused(status, said, &connection_id, &request_id);
        }
        let host = request.headers().get(header::HOST);
        let host = host.map(|host| text(host).into_owned()).unwrap_or_default();
        let upgrade = hyper::upgrade::on(&mut request);
        let connection = Arc::new(connection);
        // From here on it may be posted to: what comes before the client is through waits in its outbox.
        self.api.connections.insert(&connection);
        let session = Session::new(Arc::clone(&self.api), connection, orders, host);
        self.api.tasks.spawn(session.run(upgrade));
        handshake.accepted(protocol)
    }
}

impl Api {
    /// Invokes the function; its answer is of the proxy form, with a `statusCode`.
    async fn ask(&self, event: &Value) -> Result<Value, Fault> {
        let trace = Moment::now().trace();
        let asked = self.front.invoke(event, &trace);
        let outcome = tokio::time::timeout(self.times.websocket, asked).await;
        let payload = match outcome.map_err(|_| Fault::TimedOut)? {
            Ok(Outcome::Answered(payload)) => payload,
            Ok(Outcome::Failed(_)) => return Err(Fault::Failed),
            Err(error) => {
                tracing::warn!("{error}");
                return Err(Fault::Failed);
            }
        };
        let answer: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if let Err(fault) = status(&answer["statusCode"]) {
            tracing::warn!("the function's answer is none of a proxy integration: {fault}");
            return Err(Fault::Failed);
        }
        Ok(answer)
    }
}

impl Fault {
    const fn text(self) -> &'static str {
        match self {
            Self::TimedOut => "Endpoint request timed out",
            Self::Failed => "Internal server error",
        }
    }

    /// The message that the client gets instead of an answer.
    fn message(self, connection_id: &str, request_id: &str) -> String {
        said(self.text(), connection_id, request_id)
    }
}

fn said(text: &str, connection_id: &str, request_id: &str) -> String {
    format!(
        "{{\"message\": \"{text}\", \"connectionId\":\"{connection_id}\", \"requestId\":\"{request_id}\"}}"
    )
}

/// What the answer to `$connect` means: the status, its text, and the subprotocol, which the function must answer
/// itself (API Gateway, setting up a $connect route that requires a WebSocket subprotocol).
fn admission(answer: &Value) -> (StatusCode, &'static str, Option<HeaderValue>) {
    let status = status(&answer["statusCode"]).unwrap_or(StatusCode::BAD_GATEWAY);
    let headers = answer["headers"].as_object().into_iter().flatten();
    let mut protocols = headers
        .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        .filter_map(|(_, value)| HeaderValue::try_from(value.as_str()?).ok());
    let said = status.canonical_reason().unwrap_or("Error");
    (status, said, protocols.next())
}

/// A handshake that is refused. The body's form is that of API Gateway's other refusals.
fn refused(status: StatusCode, text: &str, connection_id: &str, request_id: &str) -> Answer {
    let body = said(text, connection_id, request_id);
    let mut answer = answer::bytes(status, body.into());
    let headers = answer.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(HeaderName::from_static("apigw-requestid"), id);
    }
    answer
}
