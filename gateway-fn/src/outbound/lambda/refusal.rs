//! A try that failed, as the SDK or the function's answer tells it -> its fault, what Lambda said, when to come back.

use std::{error::Error, time::Duration};

use aws_sdk_lambda::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata as _, SdkError},
    operation::invoke::InvokeError,
};
use flowgate_proto::{causes, invoke::FunctionError};

use super::fault::InvokeFault;
use crate::{
    aws,
    aws::retry::Failed,
    outbound::{Failure, error::TIMED_OUT},
};

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

    /// What came with `FunctionError`: Lambda's error object, if it is one. The request that was sent has `bytes`.
    pub(super) fn of_function(payload: &[u8], bytes: usize) -> Self {
        let fault = serde_json::from_slice(payload).unwrap_or_else(|_| FunctionError {
            error_type: String::new(),
            error_message: String::new(),
        });
        Self {
            failure: Failure::Invocation(InvokeFault::of_function(&fault, bytes).into()),
            detail: cut(fault.error_message),
            retry_after: None,
        }
    }

    /// What the SDK says of a request of so many bytes.
    pub(super) fn of_sdk(error: &SdkError<InvokeError, HttpResponse>, bytes: usize) -> Self {
        let fault = match error {
            SdkError::ServiceError(refused) => {
                return of_service(refused.err(), refused.raw(), bytes);
            }
            SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
                // The SDK reports so what kept it from signing, too.
                _ if aws::lacks_credentials(error) => InvokeFault::Credentials,
                // The only timeout that the SDK has here is that of connecting.
                Some(error) if error.is_timeout() || is_connect(error) => InvokeFault::Unreachable,
                Some(error) if error.is_user() => InvokeFault::Unprepared,
                Some(_) => InvokeFault::Broken,
                None => InvokeFault::Unprepared,
            },
            SdkError::ResponseError(_) | SdkError::TimeoutError(_) => InvokeFault::Broken,
            _ if aws::lacks_credentials(error) => InvokeFault::Credentials,
            _ => InvokeFault::Unprepared,
        };
        Self::said(fault, chain(error))
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

impl Failed for Refusal {
    fn is_retryable(&self) -> bool {
        match &self.failure {
            Failure::Invocation(fault) => fault.is_retryable(),
            Failure::Unreachable | Failure::TimedOut | Failure::OutOfTime | Failure::Refused(_) => {
                false
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Lambda answered with an error of its own.
fn of_service(error: &InvokeError, response: &HttpResponse, bytes: usize) -> Refusal {
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    // Emulators tell a function's failure so; Lambda itself says `FunctionError`.
    if status >= 500
        && let Ok(fault) = serde_json::from_slice::<FunctionError>(body)
        && !fault.error_type.is_empty()
    {
        return Refusal::of_function(body, bytes);
    }
    let fault = match error.code() {
        Some(code) => of_code(code, status),
        None if status >= 500 => InvokeFault::Intercepted { status },
        None => of_status(status),
    };
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

/// Whether it failed at making the connection, so that nothing was sent.
fn is_connect(error: &(dyn Error + 'static)) -> bool {
    let mut found =
        causes(error).filter_map(|cause| cause.downcast_ref::<hyper_util::client::legacy::Error>());
    found.next().is_some_and(|error| error.is_connect())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
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
    use aws_credential_types::provider::{
        error::CredentialsError, future::ProvideCredentials as Provided,
    };
    use aws_sdk_lambda::{
        Client,
        config::{Builder, Credentials, ProvideCredentials, Region},
        primitives::Blob,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{aws, code::ErrorCode};

    /// What an invocation with these settings meets.
    async fn met(settings: Builder) -> Refusal {
        let config = settings
            .behavior_version(aws::version())
            .http_client(aws::https_client())
            .retry_config(aws_sdk_lambda::config::retry::RetryConfig::disabled())
            .region(Region::from_static("us-east-1"));
        let invoke = Client::from_conf(config.build())
            .invoke()
            .function_name("f")
            .payload(Blob::new("{}"));
        Refusal::of_sdk(&invoke.send().await.expect_err("nobody is there"), 2)
    }

    fn fault(refusal: Refusal) -> InvokeFault {
        match refusal.failure {
            Failure::Invocation(fault) => *fault,
            other => panic!("{other:?}"),
        }
    }

    fn signed() -> Builder {
        let nobody = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        Builder::new().credentials_provider(nobody)
    }

    /// A server that reads something of a request, answers this, and hangs up.
    async fn saying(answer: &'static str) -> Builder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut asked = [0; 16 << 10];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        signed().endpoint_url(url)
    }

    /// As a provider of the SDK does when it finds nothing.
    #[derive(Debug)]
    struct Nothing;

    impl ProvideCredentials for Nothing {
        fn provide_credentials<'a>(&'a self) -> Provided<'a>
        where
            Self: 'a,
        {
            Provided::ready(Err(CredentialsError::not_loaded("nowhere")))
        }
    }

    #[tokio::test]
    async fn a_request_that_could_not_be_signed_was_not_sent() {
        let nothing = met(Builder::new().credentials_provider(Nothing)).await;
        assert!(matches!(fault(nothing), InvokeFault::Credentials));
    }

    #[tokio::test]
    async fn what_may_have_run_is_not_tried_again() {
        let broken = met(saying("").await).await;
        assert!(!broken.is_retryable());
        assert!(matches!(fault(broken), InvokeFault::Broken));
        for status in [500, 502, 504] {
            let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            let refused = met(saying(answer.leak()).await).await;
            assert!(!refused.is_retryable());
            let InvokeFault::Intercepted { status: told } = fault(refused) else {
                panic!("{status}")
            };
            assert_eq!(told, status);
        }
    }

    #[tokio::test]
    async fn what_did_not_run_is_tried_again() {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", closed.local_addr().expect("bound"));
        drop(closed);
        let unreachable = met(signed().endpoint_url(url)).await;
        assert!(unreachable.is_retryable());
        assert!(matches!(fault(unreachable), InvokeFault::Unreachable));
        let answer = "HTTP/1.1 502 No\r\nx-amzn-errortype: EC2ThrottledException\r\ncontent-length: 0\r\n\r\n";
        let throttled = met(saying(answer).await).await;
        assert!(throttled.is_retryable());
    }

    #[test]
    fn a_function_says_how_much_it_takes() {
        let said = r#"{"errorType": "Flowgate.RequestTooLarge", "errorMessage": "the payload's body is larger than 16777216 bytes"}"#;
        let refused = fault(Refusal::of_function(said.as_bytes(), 20_000_000));
        assert_eq!(refused.code(), ErrorCode::TooLarge);
        assert_eq!(
            refused.to_string(),
            "the request is 20000000 bytes, the function takes 16777216"
        );
    }
}
