//! One call of an AWS API -> its answer, tried again while that may help and there is time.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::{config::http::HttpResponse, error::SdkError};
use flowgate_proto::with_causes;
use tokio::time::Instant;

use crate::aws::{
    self,
    retry::{Failed, Retries},
};

/// Where clients have their configuration from.
#[derive(Debug)]
pub(super) enum Sdk {
    /// The environment.
    OfProcess,
    #[cfg(test)]
    Given(Box<SdkConfig>),
}

impl Sdk {
    pub(super) async fn config(&self) -> &SdkConfig {
        match self {
            Self::OfProcess => aws::sdk_config().await,
            #[cfg(test)]
            Self::Given(config) => config,
        }
    }
}

/// Why a call of `@connections` had no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectionsError {
    /// `@connections` does not know the connection (any more).
    #[error("the client is gone")]
    Gone,
    /// The service said no.
    #[error("AWS refused the call with status {status}")]
    Refused {
        /// HTTP's.
        status: u16,
    },
    /// There was no answer, or no time to wait for one.
    #[error("AWS gave no answer")]
    NoAnswer,
    /// There are no credentials, or the client is not set up as it should be.
    #[error("the call of AWS could not be made")]
    NotMade,
    /// The event does not say whose connection it is, or the region is not known.
    #[error("the API of the connection is not known")]
    Nowhere,
}

/// A try that failed.
struct Tried {
    error: ConnectionsError,
    retry_after: Option<Duration>,
}

/// Calls until there is an answer that another try would not change. What was sent may arrive twice: a try whose answer
/// got lost is made again, because a connection that a frozen process kept is often dead.
///
/// # Errors
/// The last try's.
pub(super) async fn call<T, E, F>(
    until: Instant,
    one_try: impl Fn() -> F,
) -> Result<T, ConnectionsError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Error + 'static,
{
    let mut retries = Retries::new(TRIES, LONGEST_PAUSE);
    loop {
        let tried = match attempt(until, one_try()).await {
            Ok(answer) => return Ok(answer),
            Err(tried) => tried,
        };
        let left = until.saturating_duration_since(Instant::now());
        let again = retries.wait_after(tried, Some(left)).await;
        again.map_err(|tried| tried.error)?;
    }
}

async fn attempt<T, E: Error + 'static>(
    until: Instant,
    one_try: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, Tried> {
    let until = until.min(Instant::now() + TRY_TIMEOUT);
    match tokio::time::timeout_at(until, one_try).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Tried::of(&error)),
        Err(_) => Err(Tried {
            error: ConnectionsError::NoAnswer,
            retry_after: None,
        }),
    }
}

impl Tried {
    /// By the status: emulators say 410 without the exception's name.
    fn of<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        let said = error.raw_response();
        let seconds = said.and_then(|said| said.headers().get("retry-after")?.parse().ok());
        let status = said.map(|said| said.status().as_u16());
        if status != Some(410) {
            tracing::warn!(error = %with_causes(error), "a call of AWS failed");
        }
        Self {
            error: match status {
                Some(410) => ConnectionsError::Gone,
                Some(status) => ConnectionsError::Refused { status },
                None if is_not_made(error) => ConnectionsError::NotMade,
                None => ConnectionsError::NoAnswer,
            },
            retry_after: seconds.map(Duration::from_secs),
        }
    }
}

/// Another try does not change what this process lacks.
fn is_not_made<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ConstructionFailure(_)) || aws::lacks_credentials(error)
}

impl Failed for Tried {
    fn is_retryable(&self) -> bool {
        match self.error {
            ConnectionsError::Gone | ConnectionsError::NotMade | ConnectionsError::Nowhere => false,
            ConnectionsError::Refused { status } => status == 429 || status >= 500,
            ConnectionsError::NoAnswer => true,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// A call takes some milliseconds; a client that reads slowly is API Gateway's affair.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// With their pauses up to 5 s in all: throttling is by the second.
const TRIES: usize = 7;

const LONGEST_PAUSE: Duration = Duration::from_secs(2);
