//! `jina.JinaRPC/Call`: a stream of requests -> a stream of answers, in order of completion or of the requests.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use flowgate_proto::{
    DataRequest,
    jina::{HeaderProto, jina_rpc_server::JinaRpc},
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::context;
use crate::{context::Context, error::ErrorCode, gateway::Gateway};

/// The request metadata by which a client asks for answers in the order of its requests; the value counts only as
/// exactly `true` (facts of Jina 3.13).
const RESULTS_IN_ORDER: &str = "__results_in_order__";

/// The streaming service of one Gateway.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    gateway: Gateway,
    in_flight: usize,
    stopping: CancellationToken,
}

impl Calls {
    /// `in_flight` bounds the requests of one stream that are under way.
    pub(super) const fn new(
        gateway: Gateway,
        in_flight: usize,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            gateway,
            in_flight,
            stopping,
        }
    }

    async fn outcome(self, request: Result<DataRequest, Status>, context: Context) -> Outcome {
        let request = match request {
            Ok(request) => request,
            Err(status) => return Outcome::Broken(status),
        };
        let request_id = request.header.request_id.clone();
        match self.gateway.handle_in_turn(request, context).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => match error.code() {
                ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => Outcome::Lost {
                    request_id,
                    status: error.grpc_status(),
                },
                _ => Outcome::Broken(error.grpc_status()),
            },
        }
    }
}

/// What became of one request of the stream.
#[expect(
    clippy::large_enum_variant,
    reason = "an answer is the rule, and boxing it would cost every request"
)]
enum Outcome {
    Answer(DataRequest),
    /// No Executor could be had for the request.
    Lost {
        request_id: String,
        status: Status,
    },
    /// The request could not be read, or does not fit.
    Broken(Status),
}

#[tonic::async_trait]
impl JinaRpc for Calls {
    type CallStream = Pin<Box<dyn Stream<Item = Result<DataRequest, Status>> + Send>>;

    async fn call(
        &self,
        request: Request<Streaming<DataRequest>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let in_order = wants_order(request.metadata());
        let (calls, context) = (self.clone(), context(&request));
        let whole = Arc::new(AtomicBool::new(false));
        let outcomes = request
            .into_inner()
            .chain(at_the_end(Arc::clone(&whole)))
            .take_until(self.stopping.clone().cancelled_owned())
            .map(move |request| calls.clone().outcome(request, context.clone()));
        let outcomes: Pin<Box<dyn Stream<Item = Outcome> + Send>> = if in_order {
            Box::pin(outcomes.buffered(self.in_flight))
        } else {
            Box::pin(outcomes.buffer_unordered(self.in_flight))
        };
        let answers: Self::CallStream =
            Box::pin(outcomes.flat_map(messages).chain(cut_short(whole)));
        Ok(Response::new(answers))
    }
}

/// Nothing, but noted: the client has ended its requests.
fn at_the_end(whole: Arc<AtomicBool>) -> impl Stream<Item = Result<DataRequest, Status>> {
    stream::poll_fn(move |_| {
        whole.store(true, Ordering::Relaxed);
        Poll::Ready(None)
    })
}

/// What a client is told whose requests were not all read because the Gateway stops: a stream that ends well would
/// say that all were answered.
fn cut_short(whole: Arc<AtomicBool>) -> impl Stream<Item = Result<DataRequest, Status>> {
    let told = async move {
        let cut = !whole.load(Ordering::Relaxed);
        cut.then(|| Err(Status::unavailable("the Gateway is shutting down")))
    };
    stream::once(told).filter_map(std::future::ready)
}

/// A failed request ends the stream; where the network is at fault, after a message that says by its id which one it
/// was (facts of Jina 3.13).
fn messages(outcome: Outcome) -> impl Stream<Item = Result<DataRequest, Status>> {
    let (first, second) = match outcome {
        Outcome::Answer(answer) => (Ok(answer), None),
        Outcome::Broken(status) => (Err(status), None),
        Outcome::Lost { request_id, status } => {
            let header = HeaderProto {
                request_id,
                ..Default::default()
            };
            (
                Ok(DataRequest {
                    header,
                    ..Default::default()
                }),
                Some(Err(status)),
            )
        }
    };
    stream::iter([Some(first), second]).filter_map(std::future::ready)
}

fn wants_order(metadata: &MetadataMap) -> bool {
    metadata
        .get(RESULTS_IN_ORDER)
        .is_some_and(|value| value == "true")
}
