//! Adds an event to a function's queue of asynchronous invocations, with retries.

use std::time::Duration;

use super::{LambdaClient, classify, error::InvokeError, function::Function, throttling_wait};
use crate::{
    aws::retry::Retries,
    context::Context,
    error::{CallFailure, ErrorCode},
    outbound::attempt::AttemptError,
};

/// Why an event could not be enqueued. The text names no function, account or address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EnqueueError(CallFailure);

impl EnqueueError {
    /// The kind of failure.
    pub(crate) const fn code(&self) -> ErrorCode {
        self.0.code()
    }
}

/// Lets Lambda invoke a function, a name or an ARN, asynchronously with this event. Retries if Lambda has not accepted
/// the event; throttling is waited out.
///
/// # Errors
/// When Lambda does not accept the event before the context's deadline.
pub(crate) async fn enqueue(
    client: &LambdaClient,
    function: &str,
    event: &str,
    context: &Context,
) -> Result<(), EnqueueError> {
    let function = Function::parse(function);
    let mut retries = retries(context);
    loop {
        let timeout = context.timeout(Some(TIMEOUT)).unwrap_or(TIMEOUT);
        let payload = event.as_bytes().to_vec();
        let attempt = client.invoke_async(&function, payload, context.trace.xray());
        let error = match tokio::time::timeout(timeout, attempt).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => classify::sdk_error(&error, event.len()),
            Err(_) => AttemptError::from(InvokeError::ConnectionLost),
        };
        let function = &function.address;
        tracing::debug!(function, %error, "attempt to enqueue an event failed");
        if let Err(error) = retries.wait_after(error, context.remaining()).await {
            tracing::warn!(function, %error, "cannot enqueue an event");
            return Err(EnqueueError(error.failure));
        }
    }
}

fn retries(context: &Context) -> Retries {
    Retries::new(MAX_ATTEMPTS, MAX_PAUSE).waiting_out_throttling(throttling_wait(context))
}

/// Lambda accepts an event within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

const MAX_ATTEMPTS: usize = 6;

/// Lambda throttles per second, and a client is waiting.
const MAX_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// The attempts that fail with this error within 28 s, and the time that they take.
    async fn attempts(error: impl Fn() -> InvokeError) -> (usize, Duration) {
        let start = Instant::now();
        let context = Context {
            deadline: Some(start + Duration::from_secs(28)),
            ..Context::default()
        };
        let mut retries = retries(&context);
        let mut attempts = 1;
        let failed = || AttemptError::from(error());
        while retries
            .wait_after(failed(), context.remaining())
            .await
            .is_ok()
        {
            attempts += 1;
        }
        (attempts, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_waited_out_for_three_quarters_of_the_time() {
        let (number, waited) = attempts(|| InvokeError::Throttled).await;
        assert!(number > MAX_ATTEMPTS, "{number}");
        let limit = Duration::from_secs(21);
        assert!(
            waited < limit && waited > limit - 2 * MAX_PAUSE,
            "{waited:?}"
        );
        let (number, _) = attempts(|| InvokeError::Unreachable).await;
        assert_eq!(number, MAX_ATTEMPTS);
    }
}
