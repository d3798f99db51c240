//! One call of an AWS API -> its answer, tried again while that may help and there is time.

use std::{error::Error, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::{config::http::HttpResponse, error::SdkError};
use tokio::time::Instant;

use crate::aws;

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

/// Why a call had no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
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
}

/// Calls until there is an answer that another try would not change. What was sent may arrive twice: a try whose answer
/// got lost is made again, because a connection that a frozen process kept is often dead.
///
/// # Errors
/// The last try's.
pub(super) async fn call<T, E, F>(until: Instant, one_try: impl Fn() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: Error + 'static,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let error = match attempt(until, one_try()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let pause_now = jittered(pause);
        if !error.may_pass() || Instant::now() + pause_now >= until {
            return Err(error);
        }
        tokio::time::sleep(pause_now).await;
        pause *= 2;
    }
    attempt(until, one_try()).await
}

async fn attempt<T, E: Error + 'static>(
    until: Instant,
    one_try: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> Result<T, CallError> {
    let until = until.min(Instant::now() + TRY_TIMEOUT);
    match tokio::time::timeout_at(until, one_try).await {
        Ok(Ok(answer)) => Ok(answer),
        // By its status: emulators say 410 without the exception's name.
        Ok(Err(error)) => match error.raw_response().map(|said| said.status().as_u16()) {
            Some(410) => Err(CallError::Gone),
            status => {
                tracing::warn!(error = &error as &dyn Error, "a call of AWS failed");
                let refused = status.map(|status| CallError::Refused { status });
                Err(refused.unwrap_or(CallError::NoAnswer))
            }
        },
        Err(_) => Err(CallError::NoAnswer),
    }
}

impl CallError {
    const fn may_pass(self) -> bool {
        match self {
            Self::Gone => false,
            Self::Refused { status } => status == 429 || status >= 500,
            Self::NoAnswer => true,
        }
    }
}

/// Between half of it and all of it, so that many who were refused together do not come again together.
fn jittered(pause: Duration) -> Duration {
    let random = uuid::Uuid::new_v4().as_fields().0;
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX)) / 2
}

/// A call takes some milliseconds; a client that reads slowly is API Gateway's affair.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

const TRIES: u32 = 6;

/// With its doublings 3.1 s in all: throttling is by the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
