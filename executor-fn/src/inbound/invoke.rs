//! Answers direct Lambda invocations as `proto/INVOKE.md` describes: payload -> requests -> answer or function error.
//! It does not know Lambda's runtime, so an Executor's function and a Gateway's function both use it.
//!
//! A function implements [`InvokeHandler`]. Then either [`InvokeServer::answer`] does everything, including the
//! deadline, or a host with a deadline of its own uses the steps: [`InvokeRequest::decode`], then
//! [`InvokeRequest::answer`].

mod deadline;

mod foreign;

mod handler;

mod reply;

mod request;

use std::time::Duration;

use bytes::Bytes;
use flowgate_proto::invoke::{FunctionError, FunctionErrorKind};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::deadline::Deadline;
use crate::LambdaContext;

pub use self::{
    deadline::invocation_end,
    foreign::{ForeignEvent, JsonPayload, WARM_UP_ANSWER, recognize_json},
    handler::InvokeHandler,
    reply::{RawAnswer, function_error},
    request::InvokeRequest,
};

/// The limits of one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvokeLimits {
    /// The size of the requests in a payload after decompression, in bytes.
    pub max_request_bytes: usize,
    /// How long before the function's timeout an unfinished invocation is answered with an error.
    pub margin: Duration,
}

/// Answers invocations by a handler, within limits. Clones share the handler.
#[derive(Clone, Debug)]
pub struct InvokeServer<H> {
    handler: H,
    limits: InvokeLimits,
}

impl<H: InvokeHandler + Clone + 'static> InvokeServer<H> {
    /// Creates a server that passes calls to `handler`.
    pub const fn new(handler: H, limits: InvokeLimits) -> Self {
        Self { handler, limits }
    }

    /// Answers one invocation with the JSON of its answer. `lambda` has the time at which Lambda ends the function.
    ///
    /// # Errors
    /// A function error when the payload is invalid, the answer is too large, the deadline passes, or the Executor is
    /// unavailable. An error or panic of the Executor is an answer, as over gRPC.
    pub async fn answer(
        &self,
        payload: Bytes,
        lambda: Option<LambdaContext>,
    ) -> Result<RawAnswer, FunctionError> {
        let request = {
            let payload = payload;
            InvokeRequest::decode(&payload, self.limits.max_request_bytes)?
        };
        let end = lambda.as_ref().and_then(|lambda| lambda.deadline);
        let deadline = Deadline::earliest(end, self.limits.margin, request.deadline());
        if deadline.has_passed() {
            return Err(deadline.error());
        }
        let span = tracing::info_span!(
            "call",
            call = request.call_name(),
            traceparent = request.context().metadata("traceparent"),
            tracestate = request.context().metadata("tracestate"),
        );
        let request = request.with_context(lambda, deadline.instant());
        let handler = self.handler.clone();
        // A task, so that a panic fails only this invocation, and a handler that never yields delays no timer.
        let task = tokio::spawn(async move { request.answer(&handler).await }.instrument(span));
        match deadline.timeout(AbortOnDropHandle::new(task)).await {
            Some(result) => result.unwrap_or_else(|error| Err(task_error(error))),
            None => Err(self
                .handler
                .unavailable()
                .unwrap_or_else(|| deadline.error())),
        }
    }
}

fn task_error(error: JoinError) -> FunctionError {
    let text = match error.try_into_panic() {
        Ok(payload) => crate::Error::from_panic(payload.as_ref()).to_string(),
        Err(cancelled) => cancelled.to_string(),
    };
    function_error(FunctionErrorKind::Panic, text)
}

#[cfg(test)]
mod tests;
