//! A fake of Lambda's Invoke API over HTTP: runs Executors in this process, records invocations, and returns scripted
//! failures. (AWS Lambda API reference, Invoke.)

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Request, State},
    response::Response,
    routing::post,
};
use bytes::Bytes;
use executor_fn::{
    Executor, Service,
    invoke::{InvokeLimits, InvokeServer},
};
use flowgate_proto::{
    invoke::{Call, Invocation, Payload},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A running fake of Lambda's API.
#[derive(Debug)]
pub struct LambdaApi {
    /// The address on which it listens.
    pub address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// One received invocation.
#[derive(Clone, Debug)]
pub struct RecordedInvocation {
    /// The name of the invoked function.
    pub function: String,
    /// The query string, which has the qualifier.
    pub query: String,
    /// The headers of the HTTP request.
    pub headers: HeaderMap,
    /// The payload, as the function would receive it.
    pub payload: Bytes,
}

/// A response that is sent in place of the function's response.
#[derive(Clone, Debug)]
pub struct ScriptedResponse {
    /// The HTTP status of Lambda's response.
    pub status: u16,
    /// The headers in addition to HTTP's own.
    pub headers: Vec<(&'static str, String)>,
    /// The function's response, or the JSON of an error.
    pub body: String,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Functions>>);

#[derive(Debug, Default)]
struct Functions {
    services: HashMap<String, Function>,
    scripts: HashMap<String, VecDeque<ScriptedResponse>>,
    invocations: Vec<RecordedInvocation>,
}

#[derive(Clone, Debug)]
struct Function {
    service: Service,
    /// Whether it knows the key `listEndpoints`.
    lists_endpoints: bool,
}

impl LambdaApi {
    /// Starts the API.
    ///
    /// # Panics
    /// When no port is free.
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
                served = axum::serve(socket, router) => served.expect("the API serves"),
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

    /// Returns the key `invoke` of a Flow that invokes this API, with `more` keys in it.
    #[must_use]
    pub fn invoke_setting(&self, more: &str) -> String {
        let url = self.address;
        format!("invoke: {{endpoint_url: 'http://{url}', sign: false{more}}}")
    }

    /// Serves an Executor as the function with this name. As on Lambda, it has no name of its own.
    pub fn serve(&self, function: &str, executor: Executor) {
        self.insert(function, executor, true);
    }

    /// Serves an Executor as a function that does not know the key `listEndpoints`.
    pub fn serve_without_list(&self, function: &str, executor: Executor) {
        self.insert(function, executor, false);
    }

    fn insert(&self, name: &str, executor: Executor, lists_endpoints: bool) {
        let function = Function {
            service: executor.into_process_service(None),
            lists_endpoints,
        };
        let services = &mut self.shared.lock().services;
        services.insert(name.to_owned(), function);
    }

    /// Queues a response for the next invocation of a function that has no other queued.
    pub fn script(&self, function: &str, response: ScriptedResponse) {
        let scripts = &mut self.shared.lock().scripts;
        scripts
            .entry(function.to_owned())
            .or_default()
            .push_back(response);
    }

    /// Returns the invocations of the call `process` so far.
    #[must_use]
    pub fn process_invocations(&self) -> Vec<RecordedInvocation> {
        let is_process = |invocation: &RecordedInvocation| invocation.has_call(Call::Process);
        self.invocations().into_iter().filter(is_process).collect()
    }

    /// Returns all invocations so far.
    #[must_use]
    pub fn invocations(&self) -> Vec<RecordedInvocation> {
        self.shared.lock().invocations.clone()
    }

    /// Stops the API.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the API stops cleanly");
    }
}

impl RecordedInvocation {
    /// Returns the text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Parses the payload.
    ///
    /// # Panics
    /// When it is plain JSON.
    #[must_use]
    pub fn invocation(&self) -> Invocation<'_> {
        let text = std::str::from_utf8(&self.payload).expect("UTF-8");
        match Payload::parse(text).expect("a payload") {
            Payload::Invocation(invocation) => invocation,
            Payload::Json(text) => panic!("{text} is plain JSON"),
        }
    }

    /// Whether the payload has this call.
    #[must_use]
    pub fn has_call(&self, call: Call) -> bool {
        self.invocation().call == call
    }
}

impl ScriptedResponse {
    /// Creates an error of Lambda's API.
    #[must_use]
    pub fn api_error(status: u16, code: &str) -> Self {
        let body = json!({"Message": format!("{code} at {ARN}"), "Type": "User"});
        Self {
            status,
            // A response without an error code is not Lambda's: it comes from a proxy.
            headers: Vec::from_iter(
                (!code.is_empty()).then(|| ("x-amzn-errortype", code.to_owned())),
            ),
            body: body.to_string(),
        }
    }

    /// Creates the response of a function that ran and failed.
    #[must_use]
    pub fn function_error(error_type: &str, message: &str) -> Self {
        let body = json!({"errorType": error_type, "errorMessage": message});
        Self {
            headers: vec![("x-amz-function-error", "Unhandled".to_owned())],
            ..Self::success(&body.to_string())
        }
    }

    /// Creates the response of a function that succeeded.
    #[must_use]
    pub fn success(body: &str) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// An ARN in Lambda's error texts, which clients must not see.
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
    let invocation_type = parts.headers.get("x-amz-invocation-type");
    let is_dry_run = invocation_type.is_some_and(|kind| kind == "DryRun");
    let (script, service) = {
        let mut functions = shared.lock();
        functions.invocations.push(RecordedInvocation {
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
    let scripted = match (script, service) {
        (Some(script), _) => script,
        _ if payload.len() > MAX_INVOKE_PAYLOAD_BYTES => {
            ScriptedResponse::api_error(413, "RequestTooLargeException")
        }
        (None, None) => ScriptedResponse::api_error(404, "ResourceNotFoundException"),
        (None, Some(_)) if is_dry_run => ScriptedResponse {
            status: 204,
            ..ScriptedResponse::success("")
        },
        (None, Some(service)) => run(&service, payload).await,
    };
    let mut response = Response::new(Body::from(scripted.body));
    *response.status_mut() = StatusCode::from_u16(scripted.status).expect("a status");
    for (name, value) in scripted.headers {
        let value = value.parse().expect("a header's value");
        response.headers_mut().insert(name, value);
    }
    response
}

/// Answers a payload as an Executor's function does.
async fn run(function: &Function, payload: Bytes) -> ScriptedResponse {
    let limits = InvokeLimits {
        max_request_bytes: 1 << 30,
        margin: Duration::ZERO,
    };
    let payload = match function.lists_endpoints {
        true => payload,
        false => without_list(&payload),
    };
    let server = InvokeServer::new(function.service.clone(), limits);
    match server.answer(payload, None).await {
        Ok(response) => ScriptedResponse::success(&response),
        Err(error) => ScriptedResponse::function_error(&error.error_type, &error.error_message),
    }
}

fn without_list(payload: &[u8]) -> Bytes {
    let mut payload: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
    payload["listEndpoints"] = serde_json::Value::Null;
    payload.to_string().into()
}
