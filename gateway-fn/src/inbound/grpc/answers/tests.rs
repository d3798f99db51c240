//! Tests of the answers of a `Call` stream: their order, how many requests are in flight, and how the stream ends.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt as _, future::BoxFuture, stream};
use tokio::sync::{Semaphore, oneshot};
use tonic::Code;

use super::*;

/// Requests that are processed until the test ends them.
#[derive(Clone, Default)]
struct Held {
    begun: Arc<Mutex<Vec<Option<oneshot::Sender<Outcome>>>>>,
    cancelled: Arc<AtomicUsize>,
}

/// Counts a request that is dropped before it is processed.
struct Unfinished(Arc<AtomicUsize>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Held {
    fn begin(&self, request: Result<Counted, Status>) -> BoxFuture<'static, Outcome> {
        if let Err(status) = request {
            return std::future::ready(Outcome::Failed(status)).boxed();
        }
        let (sender, receiver) = oneshot::channel();
        self.begun.lock().expect("no panic").push(Some(sender));
        let unfinished = Unfinished(Arc::clone(&self.cancelled));
        async move {
            let outcome = receiver.await.expect("a test ends its requests");
            std::mem::forget(unfinished);
            outcome
        }
        .boxed()
    }

    fn begun(&self) -> usize {
        self.begun.lock().expect("no panic").len()
    }

    fn end(&self, position: usize, outcome: Outcome) {
        let sender = self.begun.lock().expect("no panic")[position].take();
        let sent = sender.expect("in flight").send(outcome);
        assert!(sent.is_ok(), "in flight");
    }

    fn answer(&self, position: usize) {
        self.end(position, Outcome::Answer(request(position).into()));
    }

    /// Answers this many requests, of which `limit` may be in flight.
    fn answers(&self, requests: usize, limit: usize, order: Order) -> Answers {
        let requests = stream::iter((0..requests).map(|id| Ok(Counted::from(request(id)))));
        self.answers_to(requests, limit, order, &CancellationToken::new())
    }

    fn answers_to(
        &self,
        requests: impl Stream<Item = Result<Counted, Status>> + Send + 'static,
        limit: usize,
        order: Order,
        stopping: &CancellationToken,
    ) -> Answers {
        let held = self.clone();
        let begin = move |request| held.begin(request);
        let may_begin = move |in_flight| in_flight < limit;
        let requests = (requests, Pause::default());
        Answers::new(requests, order, stopping.clone(), may_begin, begin)
    }
}

fn request(id: usize) -> DataRequest {
    let header = HeaderProto {
        request_id: id.to_string(),
        ..Default::default()
    };
    DataRequest {
        header,
        ..Default::default()
    }
}

/// The id of the next answer, or the code of the status, if there is one now.
fn next(answers: &mut Answers) -> Option<Option<Result<String, Code>>> {
    let next = answers.next().now_or_never()?;
    Some(next.map(|answer| match answer {
        Ok(answer) => Ok(answer.request.header.request_id),
        Err(status) => Err(status.code()),
    }))
}

fn id(id: &str) -> Option<Option<Result<String, Code>>> {
    Some(Some(Ok(id.to_owned())))
}

#[test]
fn answers_come_in_the_order_that_is_asked_for() {
    for (order, expected) in [
        (Order::Completion, ["2", "0", "1"]),
        (Order::Requests, ["0", "1", "2"]),
    ] {
        let held = Held::default();
        let mut answers = held.answers(3, 5, order);
        assert_eq!(next(&mut answers), None);
        for position in [2, 0, 1] {
            held.answer(position);
        }
        for expected in expected {
            assert_eq!(next(&mut answers), id(expected), "{order:?}");
        }
        assert_eq!(next(&mut answers), Some(None));
        assert_eq!(next(&mut answers), Some(None), "the end stays");
    }
}

#[test]
fn requests_in_flight_are_limited_and_answers_that_wait_count() {
    for order in [Order::Completion, Order::Requests] {
        let held = Held::default();
        let mut answers = held.answers(10, 3, order);
        assert_eq!(next(&mut answers), None);
        assert_eq!(held.begun(), 3);
        // The answers are complete while the client takes none: no further request begins.
        (0..3).for_each(|position| held.answer(position));
        let waited = answers.drive_until(std::future::pending::<()>());
        assert_eq!(waited.now_or_never(), None);
        assert_eq!(held.begun(), 3, "{order:?}");
        assert_eq!(next(&mut answers), id("0"));
        assert_eq!(next(&mut answers), id("1"));
        assert_eq!(held.begun(), 4, "{order:?}");
    }
}

#[test]
fn requests_are_driven_while_no_answer_is_taken() {
    for order in [Order::Completion, Order::Requests] {
        let places = Arc::new(Semaphore::new(0));
        let freed = Arc::clone(&places);
        let begin = move |_: Result<Counted, Status>| {
            let freed = Arc::clone(&freed);
            async move {
                tokio::task::yield_now().await;
                freed.add_permits(1);
                Outcome::Answer(DataRequest::default().into())
            }
        };
        let requests = stream::iter((0..3).map(|id| Ok(Counted::from(request(id)))));
        let stopping = CancellationToken::new();
        let requests = (requests, Pause::default());
        let mut answers = Answers::new(requests, order, stopping, |_| true, begin);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            assert!(answers.next().await.is_some());
            // Only the stream drives the other two.
            let taken = answers.drive_until(places.acquire_many(3)).await;
            assert!(taken.is_ok(), "{order:?}");
        });
    }
}

#[test]
fn a_stream_that_is_dropped_cancels_its_requests() {
    let held = Held::default();
    let mut answers = held.answers(3, 5, Order::Completion);
    assert_eq!(next(&mut answers), None);
    held.answer(1);
    assert_eq!(next(&mut answers), id("1"));
    drop(answers);
    assert_eq!(held.cancelled.load(Ordering::Relaxed), 2);
}

#[test]
fn an_error_is_the_last_answer() {
    let held = Held::default();
    let mut answers = held.answers(2, 5, Order::Completion);
    assert_eq!(next(&mut answers), None);
    held.end(
        0,
        Outcome::Unreachable {
            request_id: "lost".to_owned(),
            status: Status::unavailable("down"),
        },
    );
    assert_eq!(next(&mut answers), id("lost"));
    held.answer(1);
    assert_eq!(next(&mut answers), Some(Some(Err(Code::Unavailable))));
    assert_eq!(next(&mut answers), Some(None));

    let requests = [
        Ok(request(0).into()),
        Err(Status::resource_exhausted("large")),
    ];
    let stopping = CancellationToken::new();
    let held = Held::default();
    let mut answers = held.answers_to(stream::iter(requests), 5, Order::Requests, &stopping);
    assert_eq!(next(&mut answers), None);
    held.answer(0);
    assert_eq!(next(&mut answers), id("0"));
    assert_eq!(next(&mut answers), Some(Some(Err(Code::ResourceExhausted))));
    assert_eq!(next(&mut answers), Some(None));
}

#[test]
fn a_stream_that_is_cut_off_by_a_stop_ends_with_unavailable() {
    let held = Held::default();
    let stopping = CancellationToken::new();
    let requests = stream::iter([Ok(request(0).into())]).chain(stream::pending());
    let mut answers = held.answers_to(requests, 5, Order::Completion, &stopping);
    assert_eq!(next(&mut answers), None);
    stopping.cancel();
    assert_eq!(next(&mut answers), None, "the request is still answered");
    held.answer(0);
    assert_eq!(next(&mut answers), id("0"));
    assert_eq!(next(&mut answers), Some(Some(Err(Code::Unavailable))));
    assert_eq!(next(&mut answers), Some(None));
}
