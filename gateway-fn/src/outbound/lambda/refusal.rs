//! A try that failed, as the SDK or the function's answer tells it -> its fault, what Lambda said, when to come back.

use std::{error::Error, time::Duration};

use aws_sdk_lambda::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata as _, SdkError},
    operation::invoke::InvokeError,
};
use flowgate_proto::invoke::FunctionFault;

use super::fault::InvokeFault;
use crate::outbound::{Failure, error::TIMED_OUT};

/// A try that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// What Lambda or the function said. It may name ARNs, and is not for every client.
    pub(super) detail: String,
    /// How long Lambda asks to wait before the next try.
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn timed_out() -> Self {
        Self {
            failure: Failure::TimedOut,
            detail: TIMED_OUT.to_owned(),
            retry_after: None,
        }
    }

    pub(super) const fn is_retryable(&self) -> bool {
        match &self.failure {
            Failure::Invocation(fault) => fault.is_retryable(),
            Failure::Unreachable | Failure::TimedOut | Failure::OutOfTime | Failure::Refused(_) => {
                false
            }
        }
    }

    /// What came with `FunctionError`: Lambda's error object, if it is one.
    pub(super) fn of_function(payload: &[u8]) -> Self {
        let fault = serde_json::from_slice(payload).unwrap_or_else(|_| FunctionFault {
            error_type: String::new(),
            error_message: String::new(),
        });
        Self {
            failure: Failure::Invocation(InvokeFault::of_function(&fault).into()),
            detail: cut(fault.error_message),
            retry_after: None,
        }
    }

    fn said(fault: InvokeFault, detail: String) -> Self {
        Self {
            failure: Failure::Invocation(fault.into()),
            detail: cut(detail),
            retry_after: None,
        }
    }
}

impl From<InvokeFault> for Refusal {
    fn from(fault: InvokeFault) -> Self {
        Self::said(fault, String::new())
    }
}

impl From<SdkError<InvokeError, HttpResponse>> for Refusal {
    fn from(error: SdkError<InvokeError, HttpResponse>) -> Self {
        match &error {
            SdkError::ServiceError(refused) => of_service(refused.err(), refused.raw()),
            SdkError::DispatchFailure(failure) => {
                let connector = failure.as_connector_error();
                let fault = match connector {
                    // The only timeout that the SDK has here is that of connecting.
                    Some(error) if error.is_timeout() => InvokeFault::Unreachable,
                    Some(error) if is_connect(error) => InvokeFault::Unreachable,
                    Some(error) if error.is_user() => InvokeFault::Unprepared,
                    // The SDK reports so what kept it from signing, too.
                    Some(_) => match unsent(&error) {
                        InvokeFault::Credentials => InvokeFault::Credentials,
                        _ => InvokeFault::Broken,
                    },
                    None => unsent(&error),
                };
                Self::said(fault, chain(&error))
            }
            SdkError::ResponseError(_) | SdkError::TimeoutError(_) => {
                Self::said(InvokeFault::Broken, chain(&error))
            }
            _ => Self::said(unsent(&error), chain(&error)),
        }
    }
}

/// Lambda answered with an error of its own.
fn of_service(error: &InvokeError, response: &HttpResponse) -> Refusal {
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    // Emulators tell a function's failure so; Lambda itself says `FunctionError`.
    if status >= 500
        && let Ok(fault) = serde_json::from_slice::<FunctionFault>(body)
        && !fault.error_type.is_empty()
    {
        return Refusal::of_function(body);
    }
    let fault = of_code(error.code().unwrap_or_default(), status);
    let message = error.message().unwrap_or_default();
    let mut refusal = Refusal::said(
        fault,
        format!("{} {message}", error.code().unwrap_or_default())
            .trim()
            .to_owned(),
    );
    let seconds = response.headers().get("retry-after");
    refusal.retry_after = seconds
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    refusal
}

/// The errors of Lambda's Invoke API (AWS Lambda API reference, Invoke, Errors).
fn of_code(code: &str, status: u16) -> InvokeFault {
    match code {
        "TooManyRequestsException"
        | "EC2ThrottledException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded" => InvokeFault::Throttled,
        "ENILimitReachedException"
        | "ENINotReadyException"
        | "ResourceNotReadyException"
        | "ResourceConflictException"
        | "SnapStartNotReadyException"
        | "CodeArtifactUserPendingException" => InvokeFault::NotReady,
        "RequestTooLargeException"
        | "RequestEntityTooLargeException"
        | "SerializedRequestEntityTooLargeException" => InvokeFault::PayloadRefused,
        "ResourceNotFoundException" | "NoPublishedVersionException" => InvokeFault::NotFound,
        "AccessDeniedException" => InvokeFault::Denied,
        "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException" => InvokeFault::Credentials,
        "InvalidZipFileException"
        | "InvalidRuntimeException"
        | "CodeVerificationFailedException"
        | "InvalidCodeSignatureException"
        | "CodeArtifactUserDeletedException"
        | "CodeArtifactUserFailedException" => InvokeFault::Code,
        "EC2AccessDeniedException"
        | "InvalidSecurityGroupIDException"
        | "InvalidSubnetIDException"
        | "SubnetIPAddressLimitReachedException" => InvokeFault::Vpc,
        "RecursiveInvocationException" => InvokeFault::Recursive,
        code if code.starts_with("KMS") => InvokeFault::Kms,
        code if code.starts_with("EFS") || code.starts_with("S3Files") => InvokeFault::FileSystem,
        code if code.starts_with("SnapStart") => InvokeFault::SnapStart,
        _ => of_status(status),
    }
}

/// An error without a name that is known here.
const fn of_status(status: u16) -> InvokeFault {
    match status {
        401 => InvokeFault::Credentials,
        403 => InvokeFault::Denied,
        404 => InvokeFault::NotFound,
        413 => InvokeFault::PayloadRefused,
        429 => InvokeFault::Throttled,
        500.. => InvokeFault::Service { status },
        _ => InvokeFault::Refused { status },
    }
}

/// What kept a request from being made: as a rule there are no credentials to sign it with.
fn unsent(error: &(dyn Error + 'static)) -> InvokeFault {
    match chain(error).to_ascii_lowercase() {
        text if text.contains("credential") || text.contains("identity") => {
            InvokeFault::Credentials
        }
        _ => InvokeFault::Unprepared,
    }
}

/// Whether it failed at making the connection, so that nothing was sent.
fn is_connect(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A function may say anything, at any length.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MOST_DETAIL));
    text
}

/// Bytes. Enough for a message of Lambda's with an ARN; a stack trace belongs in the function's own log.
const MOST_DETAIL: usize = 500;

#[cfg(test)]
mod tests {
    use aws_sdk_lambda::error::ConnectorError;

    use super::*;

    #[test]
    fn a_request_that_could_not_be_signed_was_not_sent() {
        let fault = |text: &str| {
            let error = ConnectorError::other(text.into(), None);
            let refusal = Refusal::from(SdkError::dispatch_failure(error));
            match refusal.failure {
                Failure::Invocation(fault) => *fault,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(
            fault("no credentials found in chain"),
            InvokeFault::Credentials
        ));
        assert!(matches!(
            fault("connection closed before message completed"),
            InvokeFault::Broken
        ));
    }
}
