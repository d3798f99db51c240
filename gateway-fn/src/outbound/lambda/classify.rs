//! Classifies failed attempts at an invocation: errors of the SDK, and error objects of functions.

use std::{error::Error, time::Duration};

use aws_sdk_lambda::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata as _, SdkError},
    operation::invoke,
};
use flowgate_proto::{causes, invoke::FunctionError};

use super::{client::MissingRegion, error::InvokeError};
use crate::{aws, error::CallFailure, outbound::attempt::AttemptError};

/// Classifies the payload that came with `FunctionError`, which is normally Lambda's error object. `request_bytes` is the
/// size of the request.
pub(super) fn function_error(payload: &[u8], request_bytes: usize) -> AttemptError {
    let reported = serde_json::from_slice(payload).unwrap_or_else(|_| FunctionError {
        error_type: String::new(),
        error_message: String::new(),
    });
    let error = InvokeError::from_function(&reported, request_bytes);
    with_detail(&error, reported.error_message)
}

/// Classifies an error of the SDK. `request_bytes` is the size of the request.
pub(super) fn sdk_error(
    error: &SdkError<invoke::InvokeError, HttpResponse>,
    request_bytes: usize,
) -> AttemptError {
    let cause = match error {
        SdkError::ServiceError(failure) => {
            return service_error(failure.err(), failure.raw(), request_bytes);
        }
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            // The SDK also reports requests that it could not make or sign like this.
            _ if aws::lacks_credentials(error) => InvokeError::NoCredentials,
            // The only timeout set for the SDK is the connect timeout.
            Some(error) if error.is_timeout() => InvokeError::Unreachable,
            Some(error) if error.is_user() => InvokeError::NotPrepared,
            _ => match http_client_error(error) {
                Some(error) if error.is_connect() => InvokeError::Unreachable,
                Some(_) => InvokeError::ConnectionLost,
                // The HTTP client never got the request.
                None => InvokeError::NotPrepared,
            },
        },
        SdkError::ResponseError(_) | SdkError::TimeoutError(_) => InvokeError::ConnectionLost,
        _ if aws::lacks_credentials(error) => InvokeError::NoCredentials,
        _ if causes(error).any(|cause| cause.is::<MissingRegion>()) => InvokeError::NoRegion,
        _ => InvokeError::NotPrepared,
    };
    with_detail(&cause, chain(error))
}

impl From<InvokeError> for AttemptError {
    fn from(error: InvokeError) -> Self {
        with_detail(&error, String::new())
    }
}

fn with_detail(error: &InvokeError, mut detail: String) -> AttemptError {
    detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
    let failure = CallFailure::Invocation {
        code: error.code(),
        message: error.message(),
    };
    AttemptError {
        retry: error.retry(),
        ..AttemptError::new(failure, detail)
    }
}

/// Enough for a text of Lambda's with an ARN. A function's text may have any length; a stack trace belongs in the
/// function's own log.
const MAX_DETAIL_BYTES: usize = 500;

/// Classifies an error that Lambda's API answered.
fn service_error(
    error: &invoke::InvokeError,
    response: &HttpResponse,
    request_bytes: usize,
) -> AttemptError {
    let status = response.status().as_u16();
    let body = response.body().bytes().unwrap_or_default();
    // Emulators report a function's failure like this; Lambda itself sets `FunctionError`.
    if status >= 500
        && let Ok(reported) = serde_json::from_slice::<FunctionError>(body)
        && !reported.error_type.is_empty()
    {
        return function_error(body, request_bytes);
    }
    let cause = match error.code() {
        Some(code) => from_code(code, status),
        None if status >= 500 => InvokeError::Intermediary { status },
        None => from_status(status),
    };
    let (code, message) = (error.code(), error.message());
    let detail = [code.unwrap_or_default(), message.unwrap_or_default()].join(" ");
    let seconds = response.headers().get("retry-after");
    let seconds = seconds.and_then(|seconds| seconds.parse().ok());
    AttemptError {
        retry_after: seconds.map(Duration::from_secs),
        ..with_detail(&cause, detail.trim().to_owned())
    }
}

/// The errors of Lambda's Invoke API (AWS Lambda API reference, Invoke, Errors).
fn from_code(code: &str, status: u16) -> InvokeError {
    match code {
        "TooManyRequestsException"
        | "EC2ThrottledException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded" => InvokeError::Throttled,
        "ENILimitReachedException"
        | "ENINotReadyException"
        | "ResourceNotReadyException"
        | "ResourceConflictException"
        | "SnapStartNotReadyException"
        | "CodeArtifactUserPendingException" => InvokeError::NotReady,
        "RequestTooLargeException"
        | "RequestEntityTooLargeException"
        | "SerializedRequestEntityTooLargeException" => InvokeError::PayloadRejected,
        "ResourceNotFoundException" | "NoPublishedVersionException" => InvokeError::NotFound,
        "AccessDeniedException" => InvokeError::AccessDenied,
        "ExpiredTokenException"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "UnrecognizedClientException" => InvokeError::Credentials,
        "InvalidZipFileException"
        | "InvalidRuntimeException"
        | "CodeVerificationFailedException"
        | "InvalidCodeSignatureException"
        | "CodeArtifactUserDeletedException"
        | "CodeArtifactUserFailedException" => InvokeError::CodePackage,
        "EC2AccessDeniedException"
        | "InvalidSecurityGroupIDException"
        | "InvalidSubnetIDException"
        | "SubnetIPAddressLimitReachedException" => InvokeError::Vpc,
        "RecursiveInvocationException" => InvokeError::Recursive,
        code if code.starts_with("KMS") => InvokeError::KmsKey,
        code if code.starts_with("EFS") || code.starts_with("S3Files") => InvokeError::FileSystem,
        code if code.starts_with("SnapStart") => InvokeError::SnapStart,
        _ => from_status(status),
    }
}

/// An error with an unknown code, or without one.
const fn from_status(status: u16) -> InvokeError {
    match status {
        401 => InvokeError::Credentials,
        403 => InvokeError::AccessDenied,
        404 => InvokeError::NotFound,
        413 => InvokeError::PayloadRejected,
        429 => InvokeError::Throttled,
        500.. => InvokeError::ServiceError { status },
        _ => InvokeError::Rejected { status },
    }
}

/// Returns the error of the HTTP client among the causes, if it has tried to send the request.
fn http_client_error<'a>(
    error: &'a (dyn Error + 'static),
) -> Option<&'a hyper_util::client::legacy::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<_> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

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
    use crate::{aws::retry::Retryable as _, error::ErrorCode};

    /// The error of an invocation with these settings.
    async fn invoke_with(settings: Builder) -> AttemptError {
        let config = settings
            .behavior_version(aws::behavior_version())
            .http_client(aws::https_client())
            .retry_config(aws_sdk_lambda::config::retry::RetryConfig::disabled())
            .region(Region::from_static("us-east-1"));
        let invoke = Client::from_conf(config.build())
            .invoke()
            .function_name("f")
            .payload(Blob::new("{}"));
        sdk_error(&invoke.send().await.expect_err("no function"), 2)
    }

    fn assert_is(error: &AttemptError, expected: &InvokeError) {
        match &error.failure {
            CallFailure::Invocation { code, message } => {
                assert_eq!(*message, expected.message());
                assert_eq!(*code, expected.code());
            }
            other => panic!("{other:?}"),
        }
    }

    fn signed() -> Builder {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "tests");
        Builder::new().credentials_provider(credentials)
    }

    /// Settings with a server that reads a part of a request, sends this answer, and closes the connection.
    async fn server_with(answer: &'static str) -> Builder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = [0; 16 << 10];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        signed().endpoint_url(url)
    }

    /// A provider that finds no credentials.
    #[derive(Debug)]
    struct NoCredentials;

    impl ProvideCredentials for NoCredentials {
        fn provide_credentials<'a>(&'a self) -> Provided<'a>
        where
            Self: 'a,
        {
            Provided::ready(Err(CredentialsError::not_loaded("none")))
        }
    }

    #[tokio::test]
    async fn a_request_that_could_not_be_signed_was_not_sent() {
        let error = invoke_with(Builder::new().credentials_provider(NoCredentials)).await;
        assert_is(&error, &InvokeError::NoCredentials);
    }

    #[tokio::test]
    async fn an_invocation_without_a_region_is_a_mistake_of_the_configuration() {
        let settings = || signed().behavior_version(aws::behavior_version());
        let send = |settings: Builder| {
            let invoke = Client::from_conf(settings.build())
                .invoke()
                .function_name("f");
            invoke.send()
        };
        let error = send(settings()).await.expect_err("no region");
        assert_is(&sdk_error(&error, 2), &InvokeError::NotPrepared);
        let named = SdkError::construction_failure(MissingRegion);
        let error = sdk_error(&named, 2);
        assert_is(&error, &InvokeError::NoRegion);
        assert!(error.failure.to_string().contains("AWS_REGION"));
    }

    #[tokio::test]
    async fn an_invocation_that_may_have_run_is_not_retried() {
        let lost = invoke_with(server_with("").await).await;
        assert!(!lost.is_retryable());
        assert_is(&lost, &InvokeError::ConnectionLost);
        for status in [500, 502, 504] {
            let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            let error = invoke_with(server_with(answer.leak()).await).await;
            assert!(!error.is_retryable());
            assert_is(&error, &InvokeError::Intermediary { status });
        }
    }

    #[tokio::test]
    async fn an_invocation_that_did_not_run_is_retried() {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", closed.local_addr().expect("bound"));
        drop(closed);
        let unreachable = invoke_with(signed().endpoint_url(url)).await;
        assert!(unreachable.is_retryable());
        assert_is(&unreachable, &InvokeError::Unreachable);
        let answer = "HTTP/1.1 502 No\r\nx-amzn-errortype: EC2ThrottledException\r\ncontent-length: 0\r\n\r\n";
        let throttled = invoke_with(server_with(answer).await).await;
        assert!(throttled.is_retryable());
    }

    #[test]
    fn a_function_reports_its_limit() {
        let payload = r#"{"errorType": "Flowgate.RequestTooLarge", "errorMessage": "the payload's body is larger than 16777216 bytes"}"#;
        let error = function_error(payload.as_bytes(), 20_000_000);
        assert_eq!(error.failure.code(), ErrorCode::TooLarge);
        assert_eq!(
            error.failure.to_string(),
            "the request has 20000000 bytes, the function accepts at most 16777216"
        );
    }
}
