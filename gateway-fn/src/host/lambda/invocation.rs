//! One invocation from the event to the answer: its deadline, its trace, and what is told of it before the freeze.

use std::time::{Duration, SystemTime};

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request, StatusCode};
use tokio::time::Instant;

use super::{Shared, answer, deadline::Deadline, event::Sender};
use crate::{
    context::{Context, Record, Trace},
    telemetry::{emf::Measured, xray::Segment},
};

/// One invocation under way.
#[derive(Debug)]
pub(super) struct Invocation {
    sender: Sender,
    lambda: lambda_runtime::Context,
    started: Instant,
    deadline: Deadline,
    record: Record,
    /// How long INIT took, for the first invocation after it.
    cold: Option<Duration>,
    /// Bytes to and from Executors until now.
    traffic: [u64; 2],
}

impl Invocation {
    pub(super) fn begin(
        shared: &Shared,
        sender: Sender,
        lambda: lambda_runtime::Context,
        arrived: Option<SystemTime>,
    ) -> Self {
        let settings = &shared.config.gateway.function;
        let facts = shared.gateway.facts();
        let keeps = shared.metrics.is_some() || shared.xray.is_some();
        Self {
            sender,
            started: Instant::now(),
            deadline: Deadline::of(sender, settings, lambda.deadline, arrived),
            lambda,
            record: if keeps {
                Record::on()
            } else {
                Record::default()
            },
            cold: facts.init().filter(|_| facts.note_invocation()),
            traffic: traffic(shared),
        }
    }

    /// What goes along with a request that has these headers. X-Ray's own header is Lambda's, which names the segment
    /// of this invocation.
    pub(super) fn context(&self, headers: &HeaderMap) -> Context {
        let pair = |name: &'static str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        };
        let w3c = ["traceparent", "tracestate"].into_iter().filter_map(pair);
        let xray = self.lambda.xray_trace_id.clone().map(|id| (XRAY, id));
        let xray = xray.or_else(|| pair(XRAY));
        Context {
            deadline: Some(self.deadline.answer),
            trace: Trace::from_pairs(w3c.chain(xray)),
            record: self.record.clone(),
        }
    }

    /// Sends a request through the routes. What does not keep to the deadline is given up before the front door does.
    pub(super) async fn answer(&self, shared: &Shared, mut request: Request<Body>) -> Response {
        let context = self.context(request.headers());
        request.extensions_mut().insert(context);
        let answer = shared.routes.answer(self.sender, request);
        let in_time = tokio::time::timeout_at(self.deadline.last, answer).await;
        in_time.unwrap_or_else(|_| {
            let detail = "the time that the request may take is over";
            answer::error(StatusCode::GATEWAY_TIMEOUT, detail)
        })
    }

    /// Waits for floating work, which the freeze would leave hanging, and tells what the invocation did. `bytes` are
    /// those of the answer, before and after its compression.
    pub(super) async fn finish(&self, shared: &Shared, bytes: (usize, usize)) {
        let duration = self.started.elapsed();
        if shared.freezes {
            let settled = tokio::time::timeout_at(self.deadline.answer, shared.gateway.settled());
            if settled.await.is_err() {
                tracing::warn!(
                    "floating work is not done in time, and waits for the next invocation"
                );
            }
        }
        let kept = self.record.kept();
        let segment = self.lambda.xray_trace_id.as_deref();
        if let (Some(xray), Some(segment)) = (&shared.xray, segment.and_then(Segment::sampled)) {
            xray.send(&segment, &kept.visits);
        }
        if let Some(metrics) = &shared.metrics {
            metrics.write(&Measured {
                cold: self.cold,
                duration,
                kept,
                bytes: self.bytes(shared, bytes),
                request_id: self.lambda.request_id.clone(),
            });
        }
    }

    /// The Gateway's totals are of all invocations: where several run at once, each is told what came in between too.
    fn bytes(&self, shared: &Shared, answer: (usize, usize)) -> Vec<(&'static str, u64)> {
        let [sent, received] = traffic(shared);
        let [sent_before, received_before] = self.traffic;
        vec![
            ("AnswerBytes", answer.0 as u64),
            ("AnswerBytesCompressed", answer.1 as u64),
            ("NodeBytesSent", sent.saturating_sub(sent_before)),
            (
                "NodeBytesReceived",
                received.saturating_sub(received_before),
            ),
        ]
    }
}

const XRAY: &str = "x-amzn-trace-id";

fn traffic(shared: &Shared) -> [u64; 2] {
    ["JINA_GRPC_SEND_BYTES", "JINA_GRPC_RECV_BYTES"].map(|name| {
        let total = shared.gateway.traffic().variable(name);
        total.and_then(|total| total.parse().ok()).unwrap_or(0)
    })
}
