//! Serves `jina.JinaRPC/Call`: a stream of requests and a stream of answers, in order of completion or of the requests.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use flowgate_grpc::Held;
use flowgate_proto::{
    DataRequest,
    jina::{HeaderProto, jina_rpc_server::JinaRpc},
};
use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::context;
use crate::{context::Context, error::ErrorCode, gateway::Gateway, inbound::bounded::Account};

/// The metadata key with which a client asks for answers in the order of its requests. Only the exact value `true` has
/// this effect (Jina 3.13).
const RESULTS_IN_ORDER: &str = "__results_in_order__";

/// The streaming service.
#[derive(Clone, Debug)]
pub(super) struct StreamingService {
    gateway: Gateway,
    max_in_flight: usize,
    stopping: CancellationToken,
}

impl StreamingService {
    /// Processes up to `max_in_flight` requests of a stream at once, and reads no more once `stopping` is cancelled.
    pub(super) const fn new(
        gateway: Gateway,
        max_in_flight: usize,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            max_in_flight,
            stopping,
        }
    }

    async fn process(self, request: Result<Counted, Status>, context: Context) -> Outcome {
        let Counted { request, mut held } = match request {
            Ok(request) => request,
            Err(status) => return Outcome::Failed(status),
        };
        let request_id = request.header.request_id.clone();
        match self.gateway.handle_in_turn(request, context).await {
            Ok(request) => {
                if let Some(held) = &mut held {
                    held.set(request.encoded_len());
                }
                Outcome::Answer(Counted { request, held })
            }
            Err(error) => match error.code() {
                ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Outcome::Unreachable {
                    request_id,
                    status: error.grpc_status(),
                },
                _ => Outcome::Failed(error.grpc_status()),
            },
        }
    }
}

/// The outcome of one request of the stream.
#[expect(
    clippy::large_enum_variant,
    reason = "most requests succeed, and a box would cost each of them an allocation"
)]
enum Outcome {
    Answer(Counted),
    /// An Executor was unreachable or too slow.
    Unreachable {
        request_id: String,
        status: Status,
    },
    /// Any other failure, or an unreadable request.
    Failed(Status),
}

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

/// The answers of a stream; an error is the last one.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<Counted, Status>> + Send>>;

impl StreamingService {
    /// Returns the answers to a stream of requests with these headers.
    pub(super) fn answers(
        &self,
        requests: impl Stream<Item = Result<Counted, Status>> + Send + 'static,
        headers: &HeaderMap,
        context: Context,
    ) -> Answers {
        let service = self.clone();
        let is_complete = Arc::new(AtomicBool::new(false));
        let outcomes = requests
            .chain(note_end(Arc::clone(&is_complete)))
            .take_until(self.stopping.clone().cancelled_owned())
            .map(move |request| service.clone().process(request, context.clone()));
        let outcomes: Pin<Box<dyn Stream<Item = Outcome> + Send>> =
            if wants_results_in_order(headers) {
                Box::pin(outcomes.buffered(self.max_in_flight))
            } else {
                Box::pin(outcomes.buffer_unordered(self.max_in_flight))
            };
        Box::pin(
            outcomes
                .flat_map(to_messages)
                .chain(shutdown_status(is_complete)),
        )
    }
}

#[tonic::async_trait]
impl JinaRpc for StreamingService {
    type CallStream = Pin<Box<dyn Stream<Item = Result<DataRequest, Status>> + Send>>;

    async fn call(
        &self,
        request: Request<Streaming<DataRequest>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let context = context(&request);
        let (metadata, extensions, requests) = request.into_parts();
        let account = extensions.get::<Account>().cloned();
        let requests = requests.map(move |request| {
            request.map(|request| {
                let account = account.as_ref();
                let held = account.map(|account| account.split(request.encoded_len()));
                Counted { request, held }
            })
        });
        let answers = self.answers(requests, metadata.as_ref(), context);
        let answers = answers.map(|answer| answer.map(|answer| answer.request));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// An empty stream that notes that the client has ended its requests.
fn note_end(is_complete: Arc<AtomicBool>) -> impl Stream<Item = Result<Counted, Status>> {
    stream::poll_fn(move |_| {
        is_complete.store(true, Ordering::Relaxed);
        Poll::Ready(None)
    })
}

/// Ends the answers with UNAVAILABLE if the Gateway stopped reading before the client had ended its requests: a status of
/// OK would mean that all of them were answered.
fn shutdown_status(is_complete: Arc<AtomicBool>) -> impl Stream<Item = Result<Counted, Status>> {
    let status = async move {
        let is_cut_off = !is_complete.load(Ordering::Relaxed);
        is_cut_off.then(|| Err(Status::unavailable("the Gateway is shutting down")))
    };
    stream::once(status).filter_map(std::future::ready)
}

/// Returns what to send for an outcome. A failed request ends the stream; if an Executor was unreachable, an empty message
/// with the request's id comes first (Jina 3.13).
fn to_messages(outcome: Outcome) -> impl Stream<Item = Result<Counted, Status>> {
    let (first, second) = match outcome {
        Outcome::Answer(answer) => (Ok(answer), None),
        Outcome::Failed(status) => (Err(status), None),
        Outcome::Unreachable { request_id, status } => {
            let header = HeaderProto {
                request_id,
                ..Default::default()
            };
            let empty = DataRequest {
                header,
                ..Default::default()
            };
            (Ok(empty.into()), Some(Err(status)))
        }
    };
    stream::iter([Some(first), second]).filter_map(std::future::ready)
}

fn wants_results_in_order(headers: &HeaderMap) -> bool {
    headers
        .get(RESULTS_IN_ORDER)
        .is_some_and(|value| value == "true")
}
