//! Drives the requests of a `Call` stream, a limited number at once and without a task for each, and keeps their answers until
//! they are taken.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use flowgate_grpc::Held;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use futures_util::{
    Stream, StreamExt as _,
    stream::{FuturesOrdered, FuturesUnordered},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

/// A request or an answer of a stream, and its bytes from the budget.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) request: DataRequest,
    pub(super) held: Option<Held>,
}

impl From<DataRequest> for Counted {
    /// Counts nothing, for hosts that bound the bytes in another way.
    fn from(request: DataRequest) -> Self {
        let held = None;
        Self { request, held }
    }
}

/// Stops a stream of requests for now: it then only counts what arrives, and returns at most the request that it was
/// reading. The default is for streams that need not be polled meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Pause(Option<Arc<AtomicBool>>);

impl Pause {
    pub(super) fn counting() -> Self {
        Self(Some(Arc::default()))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|set| set.load(Ordering::Relaxed))
    }

    /// Returns whether the stream must be polled.
    fn set(&self, is_set: bool) -> bool {
        match &self.0 {
            Some(pause) => {
                pause.store(is_set, Ordering::Relaxed);
                true
            }
            None => !is_set,
        }
    }
}

/// The outcome of one request of the stream.
#[expect(
    clippy::large_enum_variant,
    reason = "most requests succeed, and a box would cost each of them an allocation"
)]
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Counted),
    /// An Executor was unreachable or too slow.
    Unreachable {
        request_id: String,
        status: Status,
    },
    /// Any other failure, or an unreadable request.
    Failed(Status),
}

/// The order of the answers of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Completion,
    Requests,
}

/// The answers of a stream; an error is the last one. Dropping this cancels the requests in flight.
pub(super) struct Answers(Box<dyn Drive + Send>);

impl fmt::Debug for Answers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Answers {
    /// Answers `requests` until they end or `stopping` is cancelled. `begin` starts to process a request. `may_begin` gets
    /// the number of requests in flight, and returns whether another one may start.
    pub(super) fn new<R, M, B, W>(
        (requests, pause): (R, Pause),
        order: Order,
        stopping: CancellationToken,
        may_begin: M,
        begin: B,
    ) -> Self
    where
        R: Stream<Item = Result<Counted, Status>> + Send + 'static,
        M: Fn(usize) -> bool + Send + 'static,
        B: Fn(Result<Counted, Status>) -> W + Send + 'static,
        W: Future<Output = Outcome> + Send + 'static,
    {
        let running = match order {
            Order::Completion => Running::ByCompletion(FuturesUnordered::new()),
            Order::Requests => Running::ByRequests(FuturesOrdered::new()),
        };
        Self(Box::new(Call {
            requests: Box::pin(requests),
            pause,
            read_ahead: VecDeque::new(),
            input: Input::Open,
            stopping: Box::pin(stopping.cancelled_owned()),
            may_begin,
            begin,
            running,
            finished: VecDeque::new(),
            status: None,
        }))
    }

    /// Returns the next answer; `None` after the last one or an error.
    pub(super) async fn next(&mut self) -> Option<Result<Counted, Status>> {
        poll_fn(|context| self.0.poll_next(context)).await
    }

    /// Waits for `waiting`, for example until the client has taken an answer. Meanwhile drives the requests in flight,
    /// because they hold places that others need, but starts no further ones.
    pub(super) async fn drive_until<F: Future>(&mut self, waiting: F) -> F::Output {
        let mut waiting = pin!(waiting);
        poll_fn(|context| {
            let waited = waiting.as_mut().poll(context);
            if waited.is_pending() {
                self.0.poll_running(context);
            }
            waited
        })
        .await
    }
}

trait Drive {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Counted, Status>>>;

    /// Drives the requests in flight until all of them wait or have finished.
    fn poll_running(&mut self, context: &mut Context<'_>);
}

struct Call<R, M, B, W: Future> {
    requests: Pin<Box<R>>,
    pause: Pause,
    /// Requests that have arrived and may not start yet.
    read_ahead: VecDeque<Result<Counted, Status>>,
    input: Input,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    may_begin: M,
    begin: B,
    running: Running<W>,
    /// Outcomes of requests that finished while the client took an answer.
    finished: VecDeque<Outcome>,
    /// The status that ends the stream after the last answer.
    status: Option<Status>,
}

/// The requests in flight.
enum Running<W: Future> {
    ByCompletion(FuturesUnordered<W>),
    ByRequests(FuturesOrdered<W>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    /// The client has sent all of its requests.
    Complete,
    /// The Gateway stopped reading before that.
    CutOff,
    /// The last answer, or an error instead, has been taken.
    Answered,
}

impl<W: Future> Running<W> {
    fn len(&self) -> usize {
        match self {
            Self::ByCompletion(running) => running.len(),
            Self::ByRequests(running) => running.len(),
        }
    }

    fn push(&mut self, work: W) {
        match self {
            Self::ByCompletion(running) => running.push(work),
            Self::ByRequests(running) => running.push_back(work),
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<W::Output>> {
        match self {
            Self::ByCompletion(running) => running.poll_next_unpin(context),
            Self::ByRequests(running) => running.poll_next_unpin(context),
        }
    }
}

impl<R, M, B, W> Call<R, M, B, W>
where
    R: Stream<Item = Result<Counted, Status>>,
    M: Fn(usize) -> bool,
    B: Fn(Result<Counted, Status>) -> W,
    W: Future<Output = Outcome>,
{
    /// Starts as many requests as have arrived and may start. Answers that the client has not taken yet count as requests
    /// in flight.
    fn begin_requests(&mut self, context: &mut Context<'_>) {
        while (self.may_begin)(self.running.len() + self.finished.len()) {
            let is_open = self.input == Input::Open;
            if is_open && self.stopping.as_mut().poll(context).is_ready() {
                self.input = Input::CutOff;
                self.read_ahead.clear();
                return;
            }
            if self.read_ahead.is_empty() && !self.read_request(false, context) {
                return;
            }
            if let Some(request) = self.read_ahead.pop_front() {
                self.running.push((self.begin)(request));
            }
        }
        while self.read_request(true, context) {}
    }

    /// Reads a request, or lets the stream only count what arrives. Returns whether the stream may have more.
    fn read_request(&mut self, is_paused: bool, context: &mut Context<'_>) -> bool {
        if self.input != Input::Open || !self.pause.set(is_paused) {
            return false;
        }
        match self.requests.as_mut().poll_next(context) {
            Poll::Ready(Some(request)) => self.read_ahead.push_back(request),
            Poll::Ready(None) => self.input = Input::Complete,
            Poll::Pending => return false,
        }
        true
    }

    /// Returns what to send for an outcome. A failed request ends the stream; if an Executor was unreachable, an empty
    /// message with the request's id comes first (Jina 3.13).
    fn message(&mut self, outcome: Outcome) -> Result<Counted, Status> {
        match outcome {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Failed(status) => {
                self.input = Input::Answered;
                Err(status)
            }
            Outcome::Unreachable { request_id, status } => {
                self.status = Some(status);
                let header = HeaderProto {
                    request_id,
                    ..Default::default()
                };
                let empty = DataRequest {
                    header,
                    ..Default::default()
                };
                Ok(empty.into())
            }
        }
    }

    /// Returns how the stream ends when all requests are answered: with UNAVAILABLE if the Gateway stopped reading before the
    /// client had ended its requests, because a status of OK would mean that all of them were answered.
    fn end(&mut self) -> Option<Result<Counted, Status>> {
        let is_cut_off = self.input == Input::CutOff;
        self.input = Input::Answered;
        is_cut_off.then(|| Err(Status::unavailable("the Gateway is shutting down")))
    }
}

impl<R, M, B, W> Drive for Call<R, M, B, W>
where
    R: Stream<Item = Result<Counted, Status>>,
    M: Fn(usize) -> bool,
    B: Fn(Result<Counted, Status>) -> W,
    W: Future<Output = Outcome>,
{
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Counted, Status>>> {
        if let Some(status) = self.status.take() {
            self.input = Input::Answered;
            return Poll::Ready(Some(Err(status)));
        }
        if self.input == Input::Answered {
            return Poll::Ready(None);
        }
        self.begin_requests(context);
        let outcome = match self.finished.pop_front() {
            Some(outcome) => Some(outcome),
            None => std::task::ready!(self.running.poll_next(context)),
        };
        match outcome {
            Some(outcome) => Poll::Ready(Some(self.message(outcome))),
            None if self.input == Input::Open => Poll::Pending,
            None => Poll::Ready(self.end()),
        }
    }

    fn poll_running(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(outcome)) = self.running.poll_next(context) {
            self.finished.push_back(outcome);
        }
        while self.read_request(true, context) {}
    }
}

#[cfg(test)]
mod tests;
