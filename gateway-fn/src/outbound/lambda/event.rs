//! An event for a function that takes it on by itself -> Lambda's queue of the function.

use std::time::Duration;

use super::{LambdaClient, fault::InvokeFault, function::Function, refusal::Refusal};
use crate::{aws::retry::Retries, context::Context, outbound::Failure};

/// Has Lambda invoke a function, a name or an ARN, with an event later. Repeated where Lambda has not taken it.
///
/// # Errors
/// When Lambda does not take it until the context's deadline.
pub(crate) async fn enqueue(
    client: &LambdaClient,
    function: &str,
    event: &str,
    context: &Context,
) -> Result<(), InvokeFault> {
    let function = Function::of(function);
    let mut retries = Retries::new(TRIES, LONGEST_PAUSE);
    loop {
        let time = context.time_for(Some(TIMEOUT)).unwrap_or(TIMEOUT);
        let sent = client.queue(&function, event.as_bytes().to_vec(), context.trace.xray());
        let refusal = match tokio::time::timeout(time, sent).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Refusal::of_sdk(&error, event.len()),
            Err(_) => Refusal::from(InvokeFault::Broken),
        };
        tracing::debug!(?refusal, "an event was not taken");
        if let Err(refusal) = retries.wait_after(refusal, context.left()).await {
            tracing::warn!(?refusal, "an event could not be handed over");
            return Err(match refusal.failure {
                Failure::Invocation(fault) => *fault,
                Failure::Unreachable
                | Failure::TimedOut
                | Failure::OutOfTime
                | Failure::Refused(_) => InvokeFault::Broken,
            });
        }
    }
}

/// Lambda takes an event within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);

const TRIES: usize = 6;

/// Throttling is by the second, and a client waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
