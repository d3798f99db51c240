//! `jina.JinaRPC/Call`: a stream of requests -> a stream of answers, in order of completion or of the requests.

use std::{num::NonZeroUsize, pin::Pin};

use flowgate_proto::{
    DataRequest,
    jina::{HeaderProto, jina_rpc_server::JinaRpc},
};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::gateway::Gateway;

/// The request metadata by which a client asks for answers in the order of its requests; the value counts only as
/// exactly `true` (facts of Jina 3.13).
const RESULTS_IN_ORDER: &str = "__results_in_order__";

/// The streaming service of one Gateway.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    gateway: Gateway,
    in_flight: usize,
}

impl Calls {
    /// `prefetch` bounds the requests of one stream that are under way; without it the Gateway's own limit does.
    pub(super) fn new(gateway: Gateway, prefetch: Option<NonZeroUsize>) -> Self {
        Self {
            gateway,
            in_flight: prefetch.map_or(usize::MAX, NonZeroUsize::get),
        }
    }

    async fn outcome(self, request: Result<DataRequest, Status>) -> Outcome {
        let request = match request {
            Ok(request) => request,
            Err(status) => return Outcome::Broken(status),
        };
        let request_id = request.header.request_id.clone();
        match self.gateway.handle(request).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => Outcome::Failed {
                request_id,
                status: error.grpc_status(),
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
    Failed {
        request_id: String,
        status: Status,
    },
    /// The request could not even be read.
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
        let calls = self.clone();
        let outcomes = request
            .into_inner()
            .map(move |request| calls.clone().outcome(request));
        let answers: Self::CallStream = if in_order {
            Box::pin(outcomes.buffered(self.in_flight).flat_map(messages))
        } else {
            Box::pin(outcomes.buffer_unordered(self.in_flight).flat_map(messages))
        };
        Ok(Response::new(answers))
    }
}

/// A failed request ends the stream, after a message that says by its id which one it was (facts of Jina 3.13).
fn messages(outcome: Outcome) -> impl Stream<Item = Result<DataRequest, Status>> {
    let (first, second) = match outcome {
        Outcome::Answer(answer) => (Ok(answer), None),
        Outcome::Broken(status) => (Err(status), None),
        Outcome::Failed { request_id, status } => {
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
