//! Serves `jina.JinaRPC/Call`: a stream of requests and a stream of answers, in order of completion or of the requests.

use std::pin::Pin;

use flowgate_proto::{DataRequest, jina::jina_rpc_server::JinaRpc};
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::Either, stream};
use http::HeaderMap;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{Request, Response, Status, Streaming};

use super::{
    answers::{Answers, Counted, Order, Outcome, Pause},
    context,
};
use crate::{
    context::{ConnectionLoad, Context},
    error::ErrorCode,
    gateway::Gateway,
    inbound::bounded::Account,
};

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

    /// Returns the answers to a stream of requests with these headers. All requests of the connection together hold no more
    /// than its share of the Gateway's places; one of each stream may always be in flight.
    pub(super) fn answers(
        &self,
        requests: (
            impl Stream<Item = Result<Counted, Status>> + Send + 'static,
            Pause,
        ),
        headers: &HeaderMap,
        context: Context,
        load: ConnectionLoad,
    ) -> Answers {
        let order = match wants_results_in_order(headers) {
            true => Order::Requests,
            false => Order::Completion,
        };
        let (gateway, max_in_flight) = (self.gateway.clone(), self.max_in_flight);
        let connection = load.clone();
        let may_begin = move |in_flight| {
            in_flight == 0 || in_flight < max_in_flight && connection.get() < gateway.fair_share()
        };
        let gateway = self.gateway.clone();
        let begin = move |request| match request {
            Ok(request) => process(&gateway, request, context.clone(), &load).left_future(),
            Err(status) => Either::Right(std::future::ready(Outcome::Failed(status))),
        };
        Answers::new(requests, order, self.stopping.clone(), may_begin, begin)
    }
}

/// Starts to process a request. It takes a place and counts for its connection before the future is polled.
fn process(
    gateway: &Gateway,
    request: Counted,
    context: Context,
    load: &ConnectionLoad,
) -> impl Future<Output = Outcome> + Send + use<> {
    let Counted { request, mut held } = request;
    let counting = load.enter();
    let request_id = request.header.request_id.clone();
    let answered = gateway.handle_in_turn(request, context);
    async move {
        let _counting = counting;
        match answered.await {
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

/// For hosts that poll the answers only while the client takes them.
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
            let held = account.as_ref().and_then(Account::take_message);
            request.map(|request| Counted { request, held })
        });
        let load = context.load.clone().unwrap_or_default();
        let requests = (requests, Pause::default());
        let answers = self.answers(requests, metadata.as_ref(), context, load);
        Ok(Response::new(Box::pin(in_own_task(answers))))
    }
}

/// Drives a stream in a task of its own, so that the requests of a client that reads no answers do not hold their places. The
/// task ends with the answers, or when they are dropped.
fn in_own_task(mut answers: Answers) -> impl Stream<Item = Result<DataRequest, Status>> + Send {
    let (sender, receiver) = mpsc::channel(1);
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(answer) = answers.next().await {
            let Ok(place) = answers.drive_until(sender.reserve()).await else {
                return;
            };
            place.send(answer.map(|answer| answer.request));
        }
    }));
    stream::unfold(Some((receiver, task)), |driven| async move {
        let (mut receiver, task) = driven?;
        if let Some(answer) = receiver.recv().await {
            return Some((answer, Some((receiver, task))));
        }
        let panicked = task.await.is_err();
        panicked.then(|| (Err(Status::internal("internal error of the Gateway")), None))
    })
}

fn wants_results_in_order(headers: &HeaderMap) -> bool {
    headers
        .get(RESULTS_IN_ORDER)
        .is_some_and(|value| value == "true")
}
