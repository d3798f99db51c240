//! One invocation from its event to its response: the deadlines, the trace, the work to wait for before Lambda freezes
//! the process, and the metrics.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use executor_fn::{InvocationHold, LambdaContext};
use http::{HeaderMap, Request, StatusCode, response::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;

use super::{
    Shared,
    deadline::Deadline,
    response::{self, BodyBytes, ResponseFormat},
};
use crate::{
    context::{Context, InvocationRecord, Trace},
    error::ErrorCode,
    telemetry::{emf::Measurements, xray::Segment},
};

/// One invocation under way: all that is known of it, which does not change while it is answered.
#[derive(Debug)]
pub(super) struct Invocation {
    /// The source, the client's protocol and the format of the response.
    pub(super) format: ResponseFormat,
    pub(super) lambda: lambda_http::Context,
    start: Instant,
    pub(super) deadline: Deadline,
    record: InvocationRecord,
    /// Keeps the process running for floating work after the answer; taken when the answer is ready.
    pub(super) hold: Option<InvocationHold>,
    /// The duration of INIT, if this invocation is a cold start.
    init: Option<Duration>,
    /// The counters of [`TRAFFIC_METRICS`] when the invocation began.
    traffic: [u64; 4],
}

impl Invocation {
    /// `received` is when the function received the event, and `arrived` when the front door received the request, according
    /// to the event.
    pub(super) fn start(
        shared: &Shared,
        format: ResponseFormat,
        lambda: lambda_http::Context,
        received: Instant,
        arrived: Option<SystemTime>,
    ) -> Self {
        let settings = &shared.config.gateway.function;
        let process = shared.services.status.process();
        let is_cold = process.note_invocation();
        let is_recorded = shared.metrics.is_some() || shared.xray.is_some();
        Self {
            start: received,
            deadline: Deadline::new(format.source, settings, &lambda, arrived),
            format,
            lambda,
            record: if is_recorded {
                InvocationRecord::enabled()
            } else {
                InvocationRecord::default()
            },
            hold: None,
            init: process.init().filter(|_| is_cold),
            traffic: traffic(shared),
        }
    }

    /// Returns the context of a request with these headers. The X-Ray header is Lambda's, which names the segment of
    /// this invocation.
    pub(super) fn context(&self, headers: &HeaderMap) -> Context {
        let xray = self.lambda.xray_trace_id.clone();
        let lambda_trace = Trace::from_pairs(xray.map(|id| (Trace::XRAY, id)));
        Context {
            deadline: Some(self.deadline.flow),
            end: Some(self.deadline.floating),
            trace: Trace::from_headers(headers).overridden_by(lambda_trace),
            record: self.record.clone(),
            lambda: Some(LambdaContext::from_runtime(&self.lambda)),
            load: None,
        }
    }

    /// Notes that an error replaced a response that was too large.
    pub(super) fn note_too_large(&self) {
        self.record.note_failure(ErrorCode::TooLarge, None);
    }

    /// Sends a request through the routes. A route that ignores its deadline is cut off before the front door stops
    /// waiting.
    pub(super) async fn respond(&self, shared: &Shared, mut request: Request<Body>) -> Response {
        let context = self.context(request.headers());
        request.extensions_mut().insert(context);
        let response = shared.routes.respond(&self.format, request);
        let response = tokio::time::timeout_at(self.deadline.response, response).await;
        response.unwrap_or_else(|_| self.deadline_exceeded())
    }

    /// Collects a response, whose body may be produced only while it is read. Each message of a stream is bounded; the limit of
    /// the front door bounds all of them together.
    pub(super) async fn collect(&self, shared: &Shared, response: Response) -> (Parts, Bytes) {
        let max_bytes = shared.config.gateway.limits.max_message_bytes;
        let max_bytes = self.format.max_body_bytes(max_bytes);
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_bytes).collect();
        let error = match tokio::time::timeout_at(self.deadline.response, body).await {
            Ok(Ok(body)) => return (head, body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.note_too_large();
                let found = format_args!("more than {max_bytes}");
                self.format.too_large(found, max_bytes)
            }
            Ok(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Err(_) => self.deadline_exceeded(),
        };
        response::complete(error).await
    }

    fn deadline_exceeded(&self) -> Response {
        let executors = self.record.pending_executors().join(", ");
        let request_id = &self.lambda.request_id;
        tracing::warn!(request_id, executors, "deadline exceeded");
        self.record.note_failure(ErrorCode::DeadlineExceeded, None);
        let mut detail = format!("the deadline of request {request_id} has passed");
        if !executors.is_empty() {
            detail = format!("{detail} while waiting for executor {executors}");
        }
        response::error_response(self.format.protocol, ErrorCode::DeadlineExceeded, &detail)
    }

    /// Reports the invocation after its floating work, which its duration excludes. Returns at once where that work may go
    /// on after the answer, and waits for it elsewhere.
    pub(super) async fn finish(mut self, shared: &Arc<Shared>, body_bytes: Option<BodyBytes>) {
        let duration = self.elapsed();
        let hold = self.hold.take();
        match hold.filter(|_| shared.after_answer.is_enabled()) {
            None => {
                self.settle(shared).await;
                self.report(shared, duration, body_bytes);
            }
            Some(hold) => {
                let shared = Arc::clone(shared);
                hold.release_after(async move {
                    self.settle(&shared).await;
                    self.report(&shared, duration, body_bytes);
                });
            }
        }
    }

    /// Returns the time since the function received the event.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Waits for work that would hang while Lambda freezes the process: floating requests, and for a short time the
    /// fetch of an issuer's new keys, which would have timed out when the process runs again.
    pub(super) async fn settle(&self, shared: &Shared) {
        if !shared.is_frozen_when_idle {
            return;
        }
        let now = Instant::now();
        let deadline = match shared.after_answer.is_enabled() {
            // No client waits any longer.
            true => self.deadline.floating,
            false => self.deadline.flow,
        };
        let keys = shared.services.auth.wait_for_key_refresh();
        let keys = tokio::time::timeout_at(deadline.min(now + MAX_WAIT_FOR_KEYS), keys);
        let setting = shared.config.gateway.function.wait_for_floating;
        let limit = setting.and_then(|limit| now.checked_add(limit));
        let deadline = limit.map_or(deadline, |limit| limit.min(deadline));
        let floating = tokio::time::timeout_at(deadline, shared.services.gateway.floating_done());
        let (_, floating) = tokio::join!(keys, floating);
        if floating.is_err() {
            tracing::warn!("floating work is unfinished and continues in the next invocation");
        }
    }

    /// Writes metrics and trace of the invocation, which took `duration` until its answer.
    pub(super) fn report(
        &self,
        shared: &Shared,
        duration: Duration,
        body_bytes: Option<BodyBytes>,
    ) {
        let record = self.record.snapshot();
        let segment = self.lambda.xray_trace_id.as_deref();
        if let (Some(xray), Some(segment)) = (&shared.xray, segment.and_then(Segment::from_sampled))
        {
            xray.send(&segment, &record.visits);
        }
        if let Some(metrics) = &shared.metrics {
            metrics.write(&Measurements {
                init: self.init,
                duration,
                record,
                bytes: self.byte_metrics(shared, body_bytes),
                request_id: self.lambda.request_id.clone(),
            });
        }
    }

    /// Returns the names and values of the metrics in bytes. The Gateway counts all invocations together: where
    /// several run at once, each reports the traffic of the others too.
    fn byte_metrics(
        &self,
        shared: &Shared,
        body_bytes: Option<BodyBytes>,
    ) -> Vec<(&'static str, u64)> {
        let body = body_bytes.into_iter().flat_map(|bytes| {
            [
                ("AnswerBytes", bytes.uncompressed as u64),
                ("AnswerBytesCompressed", bytes.sent as u64),
            ]
        });
        let before = self.traffic.into_iter();
        let since = before
            .zip(traffic(shared))
            .map(|(before, now)| now.saturating_sub(before));
        body.chain(TRAFFIC_METRICS.into_iter().zip(since)).collect()
    }
}

/// An issuer that is up answers within some hundred milliseconds. Without an answer the old keys stay in use.
const MAX_WAIT_FOR_KEYS: Duration = Duration::from_secs(1);

/// Messages to and from Executors before compression, and the payloads of those that are functions, after it.
const TRAFFIC_METRICS: [&str; 4] = [
    "NodeBytesSent",
    "NodeBytesReceived",
    "PayloadBytesSent",
    "PayloadBytesReceived",
];

/// Returns the values of [`TRAFFIC_METRICS`].
fn traffic(shared: &Shared) -> [u64; 4] {
    let traffic = shared.services.status.traffic();
    let (sent, received) = traffic.grpc_totals();
    let invoked = traffic.invocation_totals();
    [
        sent + invoked.raw_sent,
        received + invoked.raw_received,
        invoked.wire_sent,
        invoked.wire_received,
    ]
}
