//! Lambda's Invoke API over HTTP, with Executors of this process behind it: takes payloads, keeps what it is sent, fails
//! as it is told. (AWS Lambda API reference, Invoke.)

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Request, State},
    response::Response,
    routing::post,
};
use bytes::Bytes;
use executor_fn::{Executor, Identity, Service};
use flowgate_proto::{
    Compression,
    invoke::{Call, FunctionErrorKind, Invocation, InvocationResponse, Payload},
    jina::EndpointsProto,
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use prost::Message as _;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The API on a port of its own.
#[derive(Debug)]
pub struct LambdaApi {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// One invocation as it came.
#[derive(Clone, Debug)]
pub struct Invoked {
    /// The function's name.
    pub function: String,
    /// The query, with the qualifier.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The payload.
    pub payload: Bytes,
}

/// An answer that no function gave.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// HTTP's.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Functions>>);

#[derive(Debug, Default)]
struct Functions {
    services: HashMap<String, Service>,
    scripts: HashMap<String, VecDeque<Scripted>>,
    invoked: Vec<Invoked>,
}

impl LambdaApi {
    /// Listens.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let shared = Shared::default();
        let router = Router::new()
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(socket, router) => served.expect("it serves"),
                () = stopped => {}
            }
        });
        Self {
            address,
            shared,
            stop,
            task,
        }
    }

    /// The key `invoke` of a Flow that invokes here.
    #[must_use]
    pub fn setting(&self, more: &str) -> String {
        let url = self.address;
        format!("invoke: {{endpoint_url: 'http://{url}', sign: false{more}}}")
    }

    /// Puts an Executor behind a function of the name.
    pub fn serve(&self, function: &str, executor: Executor) {
        let service = executor.into_service(Identity::of(function));
        self.shared
            .lock()
            .services
            .insert(function.to_owned(), service);
    }

    /// Answers the next invocation of a function so.
    pub fn script(&self, function: &str, answer: Scripted) {
        let scripts = &mut self.shared.lock().scripts;
        scripts
            .entry(function.to_owned())
            .or_default()
            .push_back(answer);
    }

    /// The invocations that carried requests so far.
    #[must_use]
    pub fn processed(&self) -> Vec<Invoked> {
        let is_process = |invoked: &Invoked| invoked.is(Call::Process);
        self.invoked().into_iter().filter(is_process).collect()
    }

    /// All invocations so far.
    #[must_use]
    pub fn invoked(&self) -> Vec<Invoked> {
        self.shared.lock().invoked.clone()
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("it stops cleanly");
    }
}

impl Invoked {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The payload as it was written.
    ///
    /// # Panics
    /// When it is a person's.
    #[must_use]
    pub fn invocation(&self) -> Invocation<'_> {
        let text = std::str::from_utf8(&self.payload).expect("UTF-8");
        match Payload::parse(text).expect("a payload") {
            Payload::Invocation(invocation) => invocation,
            Payload::Json(text) => panic!("{text} is plain JSON"),
        }
    }

    /// Whether this is asked.
    #[must_use]
    pub fn is(&self, call: Call) -> bool {
        self.invocation().call == call
    }
}

impl Scripted {
    /// An error of Lambda's API.
    #[must_use]
    pub fn refusal(status: u16, code: &str) -> Self {
        let body = json!({"Message": format!("{code} at {ARN}"), "Type": "User"});
        Self {
            status,
            // Without an error of its own it is not Lambda that answers.
            headers: Vec::from_iter(
                (!code.is_empty()).then(|| ("x-amzn-errortype", code.to_owned())),
            ),
            body: body.to_string(),
        }
    }

    /// A function that ran and failed.
    #[must_use]
    pub fn fault(error_type: &str, message: &str) -> Self {
        let body = json!({"errorType": error_type, "errorMessage": message});
        Self {
            headers: vec![("x-amz-function-error", "Unhandled".to_owned())],
            ..Self::answer(&body.to_string())
        }
    }

    /// An answer of a function.
    #[must_use]
    pub fn answer(body: &str) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// What Lambda's own texts name, and clients are not to see.
pub const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:secret";

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Functions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn invoke(
    State(shared): State<Shared>,
    Path(function): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let payload = body.collect().await.expect("a body").to_bytes();
    let is_dry = parts.headers.get("x-amz-invocation-type");
    let is_dry = is_dry.is_some_and(|kind| kind == "DryRun");
    let (script, service) = {
        let mut functions = shared.lock();
        functions.invoked.push(Invoked {
            function: function.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            payload: payload.clone(),
        });
        let script = functions
            .scripts
            .get_mut(&function)
            .and_then(VecDeque::pop_front);
        (script, functions.services.get(&function).cloned())
    };
    let answer = match (script, service) {
        (Some(script), _) => script,
        _ if payload.len() > MAX_INVOKE_PAYLOAD_BYTES => {
            Scripted::refusal(413, "RequestTooLargeException")
        }
        (None, None) => Scripted::refusal(404, "ResourceNotFoundException"),
        (None, Some(_)) if is_dry => Scripted {
            status: 204,
            ..Scripted::answer("")
        },
        (None, Some(service)) => run(&service, &payload).await,
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
    for (name, value) in answer.headers {
        let value = value.parse().expect("a header's value");
        response.headers_mut().insert(name, value);
    }
    response
}

/// What an Executor's function does with a payload.
async fn run(service: &Service, payload: &[u8]) -> Scripted {
    let text = std::str::from_utf8(payload).expect("UTF-8");
    let Ok(Payload::Invocation(invocation)) = Payload::parse(text) else {
        return Scripted::fault(FunctionErrorKind::BadPayload.name(), "no payload");
    };
    let answer = match invocation.call {
        Call::Process => {
            let requests = invocation.decode_requests(1 << 30).expect("requests");
            let answer = service.process(requests).await;
            let message = answer.request.encode_to_vec();
            InvocationResponse::new(&message, invocation.encoding(), answer.is_error)
        }
        Call::Endpoints => {
            let endpoints = service.endpoints();
            let message = EndpointsProto { endpoints }.encode_to_vec();
            InvocationResponse::new(&message, Compression::None, false)
        }
        Call::Status => {
            InvocationResponse::new(&service.info().encode_to_vec(), Compression::None, false)
        }
    };
    let answer = answer
        .and_then(|answer| Ok(answer.to_json()?))
        .expect("an answer");
    if answer.len() > MAX_INVOKE_PAYLOAD_BYTES {
        return Scripted::fault(FunctionErrorKind::AnswerTooLarge.name(), "too large");
    }
    Scripted::answer(&answer)
}
