//! Bounds the calls that tonic serves: over gRPC-Web and Connect, and the methods of gRPC that carry no data. Messages must
//! arrive in time and within the limits, and count in the budget of bytes; answers count until they are sent.
//!
//! ```text
//! track -> (gRPC-Web or Connect) -> authentication -> read_messages -> tonic
//! ```

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use bytes::Bytes;
use flowgate_config::GatewayConfig;
use flowgate_grpc::{Budget, Held, MessageError, Messages, MinRate, Pieces, frame};
use futures_util::{StreamExt as _, TryStreamExt, stream, stream::BoxStream};
use http_body_util::BodyExt as _;
use tonic::Status;

use super::{Services, body_error, min_rate};
use crate::{context::ConnectionLoad, error::GatewayError, gateway::Gateway};

/// The largest message of a method that carries no data: a health check names a service, reflection a symbol or file, and dry
/// runs and `_status` send nothing.
pub(super) const MAX_CONTROL_MESSAGE_BYTES: usize = 4 << 10;

/// Gives each call on these routes an account of the budget of bytes.
pub fn track(routes: Router, services: &Services) -> Router {
    let budget = Arc::clone(&services.budget);
    routes.layer(middleware::from_fn_with_state(budget, track_call))
}

async fn track_call(State(budget): State<Arc<Budget>>, request: Request, next: Next) -> Response {
    let account = Account::new(budget);
    let noting = account.clone();
    let mut request = request.map(|body| {
        Body::new(body.map_err(move |error| {
            noting.note(&error);
            error
        }))
    });
    request.extensions_mut().insert(account.clone());
    let response = next.run(request).await;
    // The call holds its account until the response has ended.
    let count = move |data| account.attach(data);
    response.map(|body| Body::new(body.map_frame(move |frame| frame.map_data(&count))))
}

/// The bytes of a call from the budget. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Account {
    budget: Arc<Budget>,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    /// What the messages hold that have been read.
    messages: VecDeque<Held>,
    /// Whether the client sent its body too slowly.
    is_too_slow: bool,
}

impl Account {
    fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            content: Arc::default(),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a message of this kind holds that is being read, which is nothing yet.
    pub(super) fn open(&self, kind: Kind) -> Held {
        match kind.has_data() {
            true => self.budget.account(),
            // Health checks succeed while requests fill the budget.
            false => self.budget.answer_account(),
        }
    }

    /// Keeps what a message of this kind holds until it is taken, or else until the call ends. Nobody takes the messages of a
    /// reflection stream, which is answered message by message: the last one takes the place of the one before.
    pub(super) fn keep(&self, kind: Kind, held: Held) {
        let mut content = self.content();
        if kind == Kind::Reflection {
            content.messages.clear();
        }
        content.messages.push_back(held);
    }

    /// Takes what the first message holds that has been read and not taken.
    pub(super) fn take_message(&self) -> Option<Held> {
        self.content().messages.pop_front()
    }

    fn attach(&self, bytes: Bytes) -> Bytes {
        self.budget.account().attach(bytes)
    }

    /// Notes why the body ends, because gRPC-Web reports every error of a body as INTERNAL.
    fn note(&self, error: &axum::Error) {
        if body_error::is_timeout(error) {
            self.content().is_too_slow = true;
        }
    }

    /// Returns the status for a body that ends with this error.
    fn status(account: Option<&Self>, error: axum::Error) -> Status {
        let is_too_slow = account.is_some_and(|account| account.content().is_too_slow);
        match is_too_slow || body_error::is_timeout(&error) {
            true => Status::deadline_exceeded(body_error::TIMEOUT_DETAIL),
            false => Status::from_error(error.into()),
        }
    }
}

/// In a request's extensions: its body is a message in a frame that has been read within the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsRead;

#[derive(Clone, Debug)]
struct Reader {
    gateway: Gateway,
    max_message_bytes: usize,
    min_rate: MinRate,
}

/// Reads the messages for these routes of tonic, which gets each when it has arrived, and decompressed.
pub(super) fn read_messages(routes: Router, gateway: &Gateway, config: &GatewayConfig) -> Router {
    let reader = Reader {
        gateway: gateway.clone(),
        max_message_bytes: config.limits.max_message_bytes,
        min_rate: min_rate(config),
    };
    routes.layer(middleware::from_fn_with_state(reader, read_call))
}

/// What a method's messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One data request, which fails if the Gateway is full.
    Single,
    /// A stream of data requests, which wait.
    Call,
    /// One request of a few bytes: of health checks, dry runs and `_status`.
    Control,
    /// A stream of such requests.
    Reflection,
}

impl Kind {
    /// Returns the kind of the method with this path.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/jina.JinaSingleDataRequestRPC/process_single_data" => Self::Single,
            "/jina.JinaRPC/Call" => Self::Call,
            _ if path.ends_with("/ServerReflectionInfo") => Self::Reflection,
            _ => Self::Control,
        }
    }

    const fn has_data(self) -> bool {
        matches!(self, Self::Single | Self::Call)
    }

    /// Returns the limit of a message in bytes; `max_message_bytes` is that of messages with data.
    pub(super) fn limit(self, max_message_bytes: usize) -> usize {
        match self.has_data() {
            true => max_message_bytes,
            false => max_message_bytes.min(MAX_CONTROL_MESSAGE_BYTES),
        }
    }

    const fn is_stream(self) -> bool {
        matches!(self, Self::Call | Self::Reflection)
    }
}

async fn read_call(State(reader): State<Reader>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let kind = Kind::of(head.uri.path());
    let frames = match head.extensions.get::<IsRead>() {
        Some(_) => {
            let body = body.into_data_stream();
            TryStreamExt::map_err(body, |error| Account::status(None, error)).boxed()
        }
        None => reader.frames(kind, &head, body),
    };
    let bounded = Bounded {
        aborted: Box::pin(reader.gateway.aborted()),
        gateway: reader.gateway,
        load: head.extensions.get::<ConnectionLoad>().cloned(),
        is_unbegun: kind == Kind::Single,
        frames,
    };
    let body = Body::from_stream(stream::try_unfold(bounded, Bounded::next));
    next.run(Request::from_parts(head, body)).await
}

impl Reader {
    fn frames(
        &self,
        kind: Kind,
        head: &http::request::Parts,
        body: Body,
    ) -> BoxStream<'static, Result<Bytes, Status>> {
        let limit = kind.limit(self.max_message_bytes);
        let account = head.extensions.get::<Account>().cloned();
        let pieces = BodyPieces {
            data: body.into_data_stream(),
            account: account.clone(),
        };
        let mut messages = Messages::new(pieces, &head.headers, limit).with_min_rate(self.min_rate);
        if !kind.is_stream() {
            messages = messages.without_pauses();
        }
        if let Some(account) = &account {
            messages = messages.with_account(account.open(kind));
        }
        let reading = Reading {
            messages,
            account,
            may_have_more: true,
            kind,
        };
        let frames = stream::try_unfold(reading, Reading::next);
        frames
            .map_ok(|frame| stream::iter(frame).map(Ok))
            .try_flatten()
            .boxed()
    }
}

/// The messages of a request while they are read.
struct Reading {
    messages: Messages<BodyPieces>,
    account: Option<Account>,
    kind: Kind,
    may_have_more: bool,
}

impl Reading {
    /// Reads a message and puts it into a frame, uncompressed.
    async fn next(mut self) -> Result<Option<(flowgate_proto::Chunks, Self)>, Status> {
        let Some(message) = self.messages.next().await? else {
            return Ok(None);
        };
        if !self.may_have_more {
            return Err(Status::internal(
                "a call of this method has one request message, and the client sent another",
            ));
        }
        self.may_have_more = self.kind.is_stream();
        if let (Some(account), Some(held)) = (&self.account, self.messages.take_held()) {
            account.keep(self.kind, held);
        }
        Ok(Some((frame(message, None), self)))
    }
}

/// The body of a request, as the pieces of its messages.
struct BodyPieces {
    data: BodyDataStream,
    account: Option<Account>,
}

impl Pieces for BodyPieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, MessageError>>> {
        let piece = ready!(self.data.poll_next_unpin(cx));
        Poll::Ready(piece.map(|piece| {
            piece.map_err(|error| {
                let status = Account::status(self.account.as_ref(), error);
                MessageError::Body(Box::new(status))
            })
        }))
    }

    /// The body does so when it is polled.
    fn release(&mut self, _: usize) -> Result<(), MessageError> {
        Ok(())
    }
}

/// A body that fails before its first byte if there is no room for its request, and when the Gateway ends all requests.
struct Bounded {
    frames: BoxStream<'static, Result<Bytes, Status>>,
    gateway: Gateway,
    load: Option<ConnectionLoad>,
    is_unbegun: bool,
    aborted: Pin<Box<dyn Future<Output = GatewayError> + Send>>,
}

impl Bounded {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Status> {
        if std::mem::take(&mut self.is_unbegun) {
            let has_room = self.gateway.check_room(self.load.as_ref());
            has_room.map_err(|error| error.grpc_status())?;
        }
        let piece = tokio::select! {
            biased;
            piece = self.frames.try_next() => piece?,
            error = &mut self.aborted => return Err(error.grpc_status()),
        };
        Ok(piece.map(|piece| (piece, self)))
    }
}
