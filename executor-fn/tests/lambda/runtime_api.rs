//! Emulates the part of Lambda's Runtime API and Extensions API that a function uses.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot, watch},
};

/// Far longer than any step of a test takes on a machine that is not overloaded.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How a function answered an invocation.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(String),
    Error(String),
}

/// The API of one function.
pub(crate) struct RuntimeApi {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    queue: mpsc::Sender<Invocation>,
}

struct Invocation {
    payload: String,
    timeout: Duration,
    outcome: oneshot::Sender<Outcome>,
}

struct Shared {
    waiting: AsyncMutex<mpsc::Receiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    polls: AtomicUsize,
    open_polls: AtomicUsize,
    max_open_polls: AtomicUsize,
    registered_extensions: AtomicUsize,
    extension: InvokeExtension,
    /// The types in the header, and the bodies, of reported initialization errors.
    init_errors: Mutex<Vec<(String, String)>>,
    /// Notified at each call for the next invocation.
    poll_started: Notify,
    next_request_id: AtomicUsize,
}

/// The extension that gets an event for each invocation, if there is one.
#[derive(Default)]
struct InvokeExtension {
    /// How often it has asked for an event, and how often it got one.
    asked: watch::Sender<usize>,
    given: AtomicUsize,
    /// Whether its next request for an event fails.
    failing: AtomicBool,
    events: Mutex<Option<mpsc::Sender<String>>>,
    queue: AsyncMutex<Option<mpsc::Receiver<String>>>,
}

/// The identifier of an extension that gets events.
const INVOKE_EXTENSION: &str = "invoke";

impl InvokeExtension {
    async fn register(&self) {
        let (events, queue) = mpsc::channel(1);
        *self.events.lock().expect("no panic") = Some(events);
        *self.queue.lock().await = Some(queue);
    }

    /// As Lambda, waits until the extension asks for an event, and gives it one for the invocation.
    async fn notify(&self, request_id: &str, deadline_ms: &str) {
        let events = self.events.lock().expect("no panic").clone();
        let Some(events) = events else { return };
        let given = self.given.fetch_add(1, Ordering::SeqCst);
        let mut asked = self.asked.subscribe();
        asked
            .wait_for(|asked| *asked > given)
            .await
            .expect("it lives");
        let event = format!(
            r#"{{"eventType":"INVOKE","deadlineMs":{deadline_ms},"requestId":"{request_id}","tracing":{{}}}}"#
        );
        events.send(event).await.expect("it waits");
    }
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let (queue, waiting) = mpsc::channel(16);
        let shared = Arc::new(Shared {
            waiting: AsyncMutex::new(waiting),
            running: Mutex::default(),
            polls: AtomicUsize::new(0),
            open_polls: AtomicUsize::new(0),
            max_open_polls: AtomicUsize::new(0),
            registered_extensions: AtomicUsize::new(0),
            extension: InvokeExtension::default(),
            init_errors: Mutex::default(),
            poll_started: Notify::new(),
            next_request_id: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/init/error", post(post_init_error))
            .route(
                "/2018-06-01/runtime/invocation/{id}/{kind}",
                post(post_outcome),
            )
            .route("/2020-01-01/extension/register", post(register))
            .route("/2020-01-01/extension/event/next", get(next_event))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self {
            address,
            shared,
            queue,
        }
    }

    /// Invokes the function with a timeout of a minute.
    pub(crate) async fn invoke(&self, payload: &str) -> Outcome {
        self.invoke_for(payload, TEST_TIMEOUT).await
    }

    /// Invokes the function with this timeout.
    pub(crate) async fn invoke_for(&self, payload: &str, timeout: Duration) -> Outcome {
        let (sender, outcome) = oneshot::channel();
        let invocation = Invocation {
            payload: payload.to_owned(),
            timeout,
            outcome: sender,
        };
        self.queue.send(invocation).await.expect("the API is there");
        let outcome = tokio::time::timeout(TEST_TIMEOUT, outcome).await;
        outcome.expect("in time").expect("an outcome")
    }

    /// The largest number of concurrent calls for the next invocation.
    pub(crate) fn max_open_polls(&self) -> usize {
        self.shared.max_open_polls.load(Ordering::SeqCst)
    }

    /// The initialization errors reported so far: the type in the header, and the body.
    pub(crate) fn init_errors(&self) -> Vec<(String, String)> {
        self.shared.init_errors.lock().expect("no panic").clone()
    }

    /// Lets the next request for an event fail.
    pub(crate) fn fail_next_event_poll(&self) {
        self.shared.extension.failing.store(true, Ordering::SeqCst);
    }

    /// How often the extension with events has asked for one.
    pub(crate) fn event_polls(&self) -> usize {
        *self.shared.extension.asked.borrow()
    }

    /// Waits until the extension has asked so often for an event.
    pub(crate) async fn wait_for_event_polls(&self, count: usize) {
        let mut asked = self.shared.extension.asked.subscribe();
        let wait = asked.wait_for(|asked| *asked == count);
        let wait = tokio::time::timeout(TEST_TIMEOUT, wait).await;
        wait.expect("in time").expect("the API is there");
    }

    /// The number of calls for the next invocation so far.
    pub(crate) fn polls(&self) -> usize {
        self.shared.polls.load(Ordering::SeqCst)
    }

    pub(crate) fn has_extension(&self) -> bool {
        self.shared.registered_extensions.load(Ordering::SeqCst) > 0
    }

    /// Waits until `condition` is true, checked after every call for the next invocation.
    pub(crate) async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                self.shared.poll_started.notified().await;
            }
        };
        tokio::time::timeout(TEST_TIMEOUT, wait)
            .await
            .expect("in time");
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    shared.polls.fetch_add(1, Ordering::SeqCst);
    let polls = shared.open_polls.fetch_add(1, Ordering::SeqCst) + 1;
    shared.max_open_polls.fetch_max(polls, Ordering::SeqCst);
    shared.poll_started.notify_one();
    let invocation = shared.waiting.lock().await.recv().await;
    shared.open_polls.fetch_sub(1, Ordering::SeqCst);
    let Some(invocation) = invocation else {
        return StatusCode::GONE.into_response();
    };
    let id = shared
        .next_request_id
        .fetch_add(1, Ordering::SeqCst)
        .to_string();
    {
        let mut running = shared.running.lock().expect("no panic");
        running.insert(id.clone(), invocation.outcome);
    }
    let end = SystemTime::now() + invocation.timeout;
    let end = end.duration_since(SystemTime::UNIX_EPOCH).expect("1970");
    let end = end.as_millis().to_string();
    shared.extension.notify(&id, &end).await;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", end),
        ("lambda-runtime-aws-tenant-id", "blue".to_owned()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:1:function:f".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1".to_owned(),
        ),
    ];
    (headers, invocation.payload).into_response()
}

async fn post_outcome(
    State(shared): State<Arc<Shared>>,
    Path((id, kind)): Path<(String, String)>,
    text: String,
) -> StatusCode {
    let running = shared.running.lock().expect("no panic").remove(&id);
    let outcome = match kind.as_str() {
        "response" => Outcome::Answer(text),
        _ => Outcome::Error(text),
    };
    running.map_or(StatusCode::NOT_FOUND, |running| {
        running.send(outcome).expect("the test waits");
        StatusCode::ACCEPTED
    })
}

/// As Lambda, accepts the report only before the first request for an invocation.
async fn post_init_error(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    text: String,
) -> StatusCode {
    if shared.max_open_polls.load(Ordering::SeqCst) > 0 {
        return StatusCode::FORBIDDEN;
    }
    let error_type = headers.get("lambda-runtime-function-error-type");
    let error_type = error_type.and_then(|value| value.to_str().ok());
    let error_type = error_type.unwrap_or_default().to_owned();
    let mut errors = shared.init_errors.lock().expect("no panic");
    errors.push((error_type, text));
    StatusCode::ACCEPTED
}

async fn register(State(shared): State<Arc<Shared>>, body: String) -> Response {
    shared.registered_extensions.fetch_add(1, Ordering::SeqCst);
    let identifier = match body.contains("INVOKE") {
        true => {
            shared.extension.register().await;
            INVOKE_EXTENSION
        }
        false => "no-events",
    };
    ([("lambda-extension-identifier", identifier)], "{}").into_response()
}

async fn next_event(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if headers["lambda-extension-identifier"] != INVOKE_EXTENSION {
        return std::future::pending().await;
    }
    if shared.extension.failing.swap(false, Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    shared.extension.asked.send_modify(|asked| *asked += 1);
    let mut queue = shared.extension.queue.lock().await;
    let event = queue.as_mut().expect("registered").recv().await;
    event.expect("the API is there").into_response()
}
