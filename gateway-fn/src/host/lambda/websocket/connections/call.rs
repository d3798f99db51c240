//! One call of `@connections`, retried while another attempt may succeed and time remains.

use std::{error::Error, time::Duration};

use aws_sdk_apigatewaymanagement::{config::http::HttpResponse, error::SdkError};
use flowgate_proto::with_causes;
use tokio::time::Instant;

use crate::{
    aws::{
        self,
        retry::{Retries, Retryable},
    },
    error::ErrorCode,
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
    /// There are no credentials.
    #[error(
        "the function has no AWS credentials for @connections: give it a role, or set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// There is no region, which signatures contain and URLs are made of.
    #[error("the function has no AWS region for @connections: set the variable AWS_REGION")]
    NoRegion,
    /// The SDK could not make the HTTP request.
    #[error("the AWS SDK could not make the HTTP request for @connections")]
    NotPrepared,
    /// The event has no valid API id and stage, and no URL is set.
    #[error(
        "the URL of @connections is unknown: the event has no valid API id and stage; set `connections_url` under \
         `gateway.function.websocket`"
    )]
    UnknownEndpoint,
}

impl ConnectionsError {
    /// The kind of failure.
    pub(in crate::host::lambda::websocket) const fn code(self) -> ErrorCode {
        match self {
            Self::Gone | Self::NoResponse => ErrorCode::Unavailable,
            Self::Refused { status: 413 } => ErrorCode::TooLarge,
            Self::Refused { status: 429 } => ErrorCode::Overloaded,
            Self::Refused { status: 500.. } => ErrorCode::Unavailable,
            // 403 without the permission execute-api:ManageConnections.
            Self::Refused { .. }
            | Self::NoCredentials
            | Self::NoRegion
            | Self::NotPrepared
            | Self::UnknownEndpoint => ErrorCode::Misconfigured,
        }
    }
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
                None => without_response(error),
            },
            retry_after: retry_after.map(Duration::from_secs),
        }
    }
}

/// Classifies an attempt without a response. What this process lacks, another attempt would lack too.
fn without_response<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> ConnectionsError {
    match error {
        _ if aws::lacks_credentials(error) => ConnectionsError::NoCredentials,
        SdkError::ConstructionFailure(_) => ConnectionsError::NotPrepared,
        SdkError::DispatchFailure(failure) if failure.is_user() => ConnectionsError::NotPrepared,
        _ => ConnectionsError::NoResponse,
    }
}

impl Retryable for CallAttemptError {
    fn is_retryable(&self) -> bool {
        match self.error {
            ConnectionsError::Gone
            | ConnectionsError::NoCredentials
            | ConnectionsError::NoRegion
            | ConnectionsError::NotPrepared
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
