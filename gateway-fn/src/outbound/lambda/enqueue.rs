//! Adds an event to a function's queue of asynchronous invocations, with retries.

use std::time::Duration;

use super::{LambdaClient, classify, error::InvokeError, function::Function};
use crate::{
    aws::retry::Retries, context::Context, error::CallFailure, outbound::attempt::AttemptError,
};

/// Why an event could not be enqueued. The text names no function, account or address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EnqueueError(CallFailure);

/// Lets Lambda invoke a function, a name or an ARN, asynchronously with this event. Retries if Lambda has not accepted
/// the event.
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
    let mut retries = Retries::new(MAX_ATTEMPTS, MAX_PAUSE);
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

/// Lambda accepts an event within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

const MAX_ATTEMPTS: usize = 6;

/// Lambda throttles per second, and a client is waiting.
const MAX_PAUSE: Duration = Duration::from_secs(2);
