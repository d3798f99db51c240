//! One call of `@connections`, retried while another attempt may succeed and time remains.

use std::{error::Error, time::Duration};

use aws_sdk_apigatewaymanagement::{config::http::HttpResponse, error::SdkError};
use flowgate_proto::with_causes;
use tokio::time::Instant;

use crate::aws::{
    self,
    retry::{Retries, Retryable},
};

/// Why a call of `@connections` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::host::lambda::websocket) enum ConnectionsError {
    /// `@connections` does not know the connection, or no longer.
    #[error("the client has disconnected")]
    Gone,
    /// The service refused the call.
    #[error("@connections refused the call with status {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// There was no response in time.
    #[error("@connections did not respond in time")]
    NoResponse,
    /// There are no credentials, or the client's configuration is invalid.
    #[error(
        "the call to @connections was not sent: the AWS credentials are missing, or the client is misconfigured"
    )]
    NotSent,
    /// The event has no valid API id and stage, or the region is unknown, and no URL is set.
    #[error(
        "the URL of @connections is unknown: AWS_REGION is missing, or the event has no valid API id and stage; \
         set `connections_url` under `gateway.function.websocket`"
    )]
    UnknownEndpoint,
}

/// A failed attempt.
struct CallAttemptError {
    error: ConnectionsError,
    retry_after: Option<Duration>,
}

/// Calls until there is a response that another attempt would not change. An attempt without a response is repeated,
/// because a connection of a process that was frozen is often dead; so a message may arrive twice.
///
/// # Errors
/// The error of the last attempt.
pub(super) async fn call<T, E, F>(
    deadline: Instant,
    send: impl Fn() -> F,
) -> Result<T, ConnectionsError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Error + 'static,
{
    let mut retries = Retries::new(MAX_ATTEMPTS, MAX_PAUSE);
    loop {
        let failed = match attempt(deadline, send()).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let remaining = deadline.saturating_duration_since(Instant::now());
        let retried = retries.wait_after(failed, Some(remaining)).await;
        retried.map_err(|failed| failed.error)?;
    }
}

async fn attempt<T, E: Error + 'static>(
    deadline: Instant,
    response: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CallAttemptError> {
    let deadline = deadline.min(Instant::now() + ATTEMPT_TIMEOUT);
    match tokio::time::timeout_at(deadline, response).await {
        Ok(response) => response.map_err(|error| CallAttemptError::from_sdk(&error)),
        Err(_) => Err(CallAttemptError {
            error: ConnectionsError::NoResponse,
            retry_after: None,
        }),
    }
}

impl CallAttemptError {
    /// Classifies by the HTTP status, because emulators answer 410 without the exception's name.
    fn from_sdk<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        let response = error.raw_response();
        let retry_after =
            response.and_then(|response| response.headers().get("retry-after")?.parse().ok());
        let status = response.map(|response| response.status().as_u16());
        if status != Some(410) {
            tracing::warn!(error = %with_causes(error), "call of @connections failed");
        }
        Self {
            error: match status {
                Some(410) => ConnectionsError::Gone,
                Some(status) => ConnectionsError::Refused { status },
                None if is_not_sent(error) => ConnectionsError::NotSent,
                None => ConnectionsError::NoResponse,
            },
            retry_after: retry_after.map(Duration::from_secs),
        }
    }
}

/// Whether this process lacks something for the call, which another attempt would not change.
fn is_not_sent<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ConstructionFailure(_)) || aws::lacks_credentials(error)
}

impl Retryable for CallAttemptError {
    fn is_retryable(&self) -> bool {
        match self.error {
            ConnectionsError::Gone
            | ConnectionsError::NotSent
            | ConnectionsError::UnknownEndpoint => false,
            ConnectionsError::Refused { status } => status == 429 || status >= 500,
            ConnectionsError::NoResponse => true,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A call takes some milliseconds; API Gateway buffers for a client that reads slowly.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// With their pauses up to 5 s in all: API Gateway's throttling is per second.
const MAX_ATTEMPTS: usize = 7;

const MAX_PAUSE: Duration = Duration::from_secs(2);
