//! Bounds the memory of Jina's methods where tonic serves them: over gRPC-Web and Connect, and over gRPC with an uncommon
//! content type. Requests count in the budget of bytes until they are answered, and answers until they are sent.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    BoxError, Router,
    body::{Body, BodyDataStream, HttpBody as _},
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use flowgate_grpc::{Budget, Held, OverBudget, RETRY_AFTER_SECONDS, with_retry_after};
use futures_util::{StreamExt as _, stream};
use http_body_util::BodyExt as _;
use tonic::Status;

use super::{Services, body_error};
use crate::{error::GatewayError, gateway::Gateway};

type Aborted = Pin<Box<dyn Future<Output = GatewayError> + Send>>;

/// Bounds the methods of Jina's services among these routes.
pub fn bound(routes: Router, services: &Services) -> Router {
    let bounds = Bounds {
        gateway: services.gateway.clone(),
        budget: Arc::clone(&services.budget),
    };
    routes.layer(middleware::from_fn_with_state(bounds, apply))
}

#[derive(Clone, Debug)]
struct Bounds {
    gateway: Gateway,
    budget: Arc<Budget>,
}

/// How the paths of Jina's methods begin. Health checks and reflection have messages of a few bytes.
const JINA_METHODS: &str = "/jina.";

/// The method with one request, which fails if the Gateway is full. A stream of requests waits.
const SINGLE_METHOD: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

async fn apply(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if !path.starts_with(JINA_METHODS) {
        return next.run(request).await;
    }
    let is_single = path == SINGLE_METHOD;
    let account = Account::new(&bounds.budget);
    let gateway = bounds.gateway;
    let body_account = account.clone();
    let mut request = request.map(|body| {
        let mut body = RequestBody {
            announced_bytes: usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX),
            data: body.into_data_stream(),
            account: body_account,
            aborted: Box::pin(gateway.aborted()),
            unbegun: Some(gateway).filter(|_| is_single),
        };
        Body::from_stream(stream::poll_fn(move |cx| body.poll_next(cx)))
    });
    request.extensions_mut().insert(account.clone());
    let mut response = next.run(request).await;
    // gRPC-Web reports every error of a body as INTERNAL.
    if let Some(failure) = account.take_failure()
        && response.headers().contains_key("grpc-status")
    {
        // Fails only if metadata is not a valid header.
        let _ = failure.add_header(response.headers_mut());
    }
    // The call holds its account until the response has ended.
    let count = move |data| account.attach(data);
    response.map(|body| Body::new(body.map_frame(move |frame| frame.map_data(&count))))
}

/// The bytes of a call from the budget. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Account(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    held: Held,
    /// Why the body could not be read.
    failure: Option<Status>,
}

impl Account {
    fn new(budget: &Arc<Budget>) -> Self {
        Self(Arc::new(Mutex::new(Content {
            held: budget.account(),
            failure: None,
        })))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, bytes: usize) -> Result<(), OverBudget> {
        self.content().held.add(bytes)
    }

    /// Moves the bytes of a message that has been decoded to an account of its own.
    pub(super) fn split(&self, bytes: usize) -> Held {
        let mut held = self.content().held.split(bytes);
        // A compressed message has become larger.
        held.set(bytes);
        held
    }

    fn attach(&self, bytes: Bytes) -> Bytes {
        let held = self.content().held.budget().account();
        held.attach(bytes)
    }

    fn fail(&self, status: Status) -> BoxError {
        self.content().failure = Some(status.clone());
        status.into()
    }

    /// Returns why the body could not be read, once.
    pub(super) fn take_failure(&self) -> Option<Status> {
        self.content().failure.take()
    }
}

/// The body of a request. It fails before its first byte if there is no room for it.
struct RequestBody {
    announced_bytes: usize,
    data: BodyDataStream,
    account: Account,
    aborted: Aborted,
    /// The Gateway, which must have room for a single request; `None` once the body has begun, and for streams.
    unbegun: Option<Gateway>,
}

impl RequestBody {
    fn begin(&mut self) -> Result<(), Status> {
        let Some(gateway) = self.unbegun.take() else {
            return Ok(());
        };
        let has_room = gateway.check_room(None);
        has_room.map_err(|error| error.grpc_status())?;
        let budget = Arc::clone(self.account.content().held.budget());
        budget.check(self.announced_bytes).map_err(over_budget)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let failure = match self.begin() {
            Err(status) => status,
            Ok(()) => match self.data.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(data))) => match self.account.add(data.len()) {
                    Ok(()) => return Poll::Ready(Some(Ok(data))),
                    Err(error) => over_budget(error),
                },
                Poll::Ready(Some(Err(error))) if body_error::is_timeout(&error) => {
                    Status::deadline_exceeded(body_error::TIMEOUT_DETAIL)
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => ready!(self.aborted.as_mut().poll(cx)).grpc_status(),
            },
        };
        Poll::Ready(Some(Err(self.account.fail(failure))))
    }
}

fn over_budget(error: OverBudget) -> Status {
    let status = Status::resource_exhausted(error.to_string());
    with_retry_after(status, RETRY_AFTER_SECONDS)
}
