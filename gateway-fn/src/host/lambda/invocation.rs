//! One invocation from the event to the answer: its deadline, its trace, and what is told of it before the freeze.

use std::time::{Duration, SystemTime};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;

use super::{
    Shared,
    answer::{self, Form},
    deadline::Deadline,
    event::Sender,
};
use crate::{
    context::{Context, InvocationRecord, Trace},
    error::ErrorCode,
    inbound::Dialect,
    telemetry::{emf::Measured, xray::Segment},
};

/// One invocation under way.
#[derive(Debug)]
pub(super) struct Invocation {
    sender: Sender,
    pub(super) lambda: lambda_runtime::Context,
    started: Instant,
    pub(super) deadline: Deadline,
    record: InvocationRecord,
    /// How long INIT took, for the first invocation after it.
    cold: Option<Duration>,
    /// Bytes to and from Executors until now.
    traffic: [u64; 4],
}

impl Invocation {
    pub(super) fn begin(
        shared: &Shared,
        sender: Sender,
        lambda: lambda_runtime::Context,
        arrived: Option<SystemTime>,
    ) -> Self {
        let settings = &shared.config.gateway.function;
        let process = shared.services.status.process();
        let is_cold = process.note_invocation();
        let keeps = shared.metrics.is_some() || shared.xray.is_some();
        Self {
            sender,
            started: Instant::now(),
            deadline: Deadline::of(sender, settings, &lambda, arrived),
            lambda,
            record: if keeps {
                InvocationRecord::enabled()
            } else {
                InvocationRecord::default()
            },
            cold: process.init().filter(|_| is_cold),
            traffic: traffic(shared),
        }
    }

    /// What goes along with a request that has these headers. X-Ray's own header is Lambda's, which names the segment
    /// of this invocation.
    pub(super) fn context(&self, headers: &HeaderMap) -> Context {
        let xray = self.lambda.xray_trace_id.clone();
        let lambdas = Trace::from_pairs(xray.map(|id| (Trace::XRAY, id)));
        Context {
            deadline: Some(self.deadline.answer),
            end: Some(self.deadline.end),
            trace: Trace::from_headers(headers).overlaid(lambdas),
            record: self.record.clone(),
        }
    }

    /// Nobody waits longer than until `end` either.
    pub(super) fn at_most(&mut self, end: Option<Instant>, shared: &Shared) {
        if let Some(end) = end {
            let settings = &shared.config.gateway.function;
            self.deadline.at_most(end, settings);
        }
    }

    /// Notes that an error went in place of an answer that was too large.
    pub(super) fn note_too_large(&self) {
        self.record.note_failure(ErrorCode::TooLarge, None);
    }

    /// Sends a request through the routes. What does not keep to the deadline is given up before the front door does.
    pub(super) async fn answer(&self, shared: &Shared, mut request: Request<Body>) -> Response {
        let dialect = Dialect::of(&request);
        let context = self.context(request.headers());
        request.extensions_mut().insert(context);
        let answer = shared.routes.answer(self.sender, request);
        let in_time = tokio::time::timeout_at(self.deadline.last, answer).await;
        in_time.unwrap_or_else(|_| self.late(dialect))
    }

    /// The answer with all of its body, of which the rest may only be made while it is read: each message of a stream is
    /// bounded, and this bounds their sum.
    pub(super) async fn whole(&self, answer: Response, form: Form, most: usize) -> Response {
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, most).collect();
        match tokio::time::timeout_at(self.deadline.last, body).await {
            Ok(Ok(body)) => Response::from_parts(head, Body::from(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.note_too_large();
                form.too_large(format_args!("more than {most}"), most)
            }
            Ok(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            Err(_) => self.late(form.dialect),
        }
    }

    fn late(&self, dialect: Dialect) -> Response {
        let at = match self.record.pending_executors() {
            names if names.is_empty() => String::new(),
            names => format!(" at executor {}", names.join(", ")),
        };
        let detail = format!(
            "the time that request {} may take is over{at}",
            self.lambda.request_id
        );
        tracing::warn!("{detail}");
        self.record.note_failure(ErrorCode::DeadlineExceeded, None);
        answer::failed(dialect, ErrorCode::DeadlineExceeded, &detail)
    }

    /// Waits for floating work, and tells what the invocation did. `bytes` are those of the answer, before and after its
    /// compression, if they are known.
    pub(super) async fn finish(&self, shared: &Shared, bytes: Option<(usize, usize)>) {
        let duration = self.started.elapsed();
        self.settle(shared).await;
        self.tell_after(shared, duration, bytes);
    }

    /// Waits for what the freeze would leave hanging: floating work, and for a moment an issuer's new keys, which would
    /// have timed out at the thaw.
    pub(super) async fn settle(&self, shared: &Shared) {
        if !shared.freezes {
            return;
        }
        let (now, until) = (Instant::now(), self.deadline.answer);
        let keys = shared.services.auth.wait_for_key_refresh();
        let keys = tokio::time::timeout_at(until.min(now + FOR_KEYS), keys);
        let most = shared.config.gateway.function.wait_for_floating;
        let most = most.and_then(|most| now.checked_add(most));
        let until = most.map_or(until, |most| most.min(until));
        let floating = tokio::time::timeout_at(until, shared.services.gateway.floating_done());
        let (_, floating) = tokio::join!(keys, floating);
        if floating.is_err() {
            tracing::warn!("floating work is not done in time, and waits for the next invocation");
        }
    }

    /// Tells what the invocation did until now.
    pub(super) fn tell(&self, shared: &Shared, bytes: Option<(usize, usize)>) {
        self.tell_after(shared, self.started.elapsed(), bytes);
    }

    fn tell_after(&self, shared: &Shared, duration: Duration, bytes: Option<(usize, usize)>) {
        let record = self.record.snapshot();
        let segment = self.lambda.xray_trace_id.as_deref();
        if let (Some(xray), Some(segment)) = (&shared.xray, segment.and_then(Segment::sampled)) {
            xray.send(&segment, &record.visits);
        }
        if let Some(metrics) = &shared.metrics {
            metrics.write(&Measured {
                cold: self.cold,
                duration,
                record,
                bytes: self.bytes(shared, bytes),
                request_id: self.lambda.request_id.clone(),
            });
        }
    }

    /// The Gateway's totals are of all invocations: where several run at once, each is told what came in between too.
    fn bytes(&self, shared: &Shared, answer: Option<(usize, usize)>) -> Vec<(&'static str, u64)> {
        let answer = answer.into_iter().flat_map(|(before, after)| {
            [
                ("AnswerBytes", before as u64),
                ("AnswerBytesCompressed", after as u64),
            ]
        });
        let before = self.traffic.into_iter();
        let since = before
            .zip(traffic(shared))
            .map(|(before, now)| now.saturating_sub(before));
        answer.chain(TRAFFIC.into_iter().zip(since)).collect()
    }
}

/// An issuer that answers does so within some hundred milliseconds; of one that does not, the old keys serve on.
const FOR_KEYS: Duration = Duration::from_secs(1);

/// Messages to and from Executors before compression, and the payloads of those that are functions as they travel.
const TRAFFIC: [&str; 4] = [
    "NodeBytesSent",
    "NodeBytesReceived",
    "PayloadBytesSent",
    "PayloadBytesReceived",
];

fn traffic(shared: &Shared) -> [u64; 4] {
    let traffic = shared.services.status.traffic();
    let (sent, received) = traffic.over_grpc();
    let invoked = traffic.invocations();
    [
        sent + invoked.raw_sent,
        received + invoked.raw_received,
        invoked.wire_sent,
        invoked.wire_received,
    ]
}
