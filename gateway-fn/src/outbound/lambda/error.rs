//! The ways in which an invocation fails: the sentence for the client, the kind of failure, and whether another attempt
//! may follow.

use std::{error::Error, fmt, io};

use flowgate_proto::{
    DocumentsError,
    invoke::{FunctionError, FunctionErrorKind, PayloadError},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};

use crate::{error::ErrorCode, outbound::attempt::Retry};

/// Why an invocation failed. The sentences name no function, account or address, because clients may read them.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvokeError {
    /// The request does not fit into invocations in any way. Nothing was invoked.
    #[error("the request takes {bytes} bytes as a Lambda payload, the limit is {limit}; {reason}")]
    RequestTooLarge {
        /// The size of the payload, compressed.
        bytes: usize,
        /// The largest payload allowed.
        limit: usize,
        /// Why several invocations do not help.
        reason: NotSplittable,
    },
    /// The request is larger than the function's own limit.
    #[error("the request has {bytes} bytes, the function accepts {}", at_most(*.limit))]
    RequestOverLimit {
        /// The size of the request, decompressed.
        bytes: usize,
        /// The limit that the function reports.
        limit: Option<u64>,
    },
    /// Lambda answered 413.
    #[error("Lambda rejected the request as too large")]
    PayloadRejected,
    /// The function's answer is over Lambda's limit.
    #[error(
        "the answer is larger than the {MAX_INVOKE_PAYLOAD_BYTES} bytes that Lambda passes on; send fewer documents at once"
    )]
    AnswerTooLarge,
    /// The function's answer is over the Gateway's limit.
    #[error("the answer is larger than {limit} bytes (limits.max_message_bytes)")]
    AnswerOverLimit {
        /// The limit in bytes, decompressed.
        limit: usize,
    },
    /// 429: the concurrency of the function or the account is used up.
    #[error("Lambda throttled the function")]
    Throttled,
    /// 5xx: Lambda itself failed, or a service behind it.
    #[error("Lambda failed with HTTP status {status}")]
    ServiceError {
        /// The HTTP status of Lambda's response.
        status: u16,
    },
    /// 5xx without an AWS error code: an intermediary gave up, maybe after it had passed the request on.
    #[error(
        "an intermediary answered with HTTP status {status} in place of Lambda; the function may have run"
    )]
    Intermediary {
        /// The status of the intermediary's response.
        status: u16,
    },
    /// The function is being created, updated or activated.
    #[error("the function is not ready yet")]
    NotReady,
    /// No connection: nothing was sent.
    #[error("Lambda cannot be reached")]
    Unreachable,
    /// The connection broke after the request was sent.
    #[error("the connection to Lambda broke before the answer came; the function may have run")]
    ConnectionLost,
    /// The function, version or alias does not exist.
    #[error("no such function, version or alias")]
    NotFound,
    /// The Gateway's role lacks the permission.
    #[error("the Gateway is not allowed to invoke the function (lambda:InvokeFunction)")]
    AccessDenied,
    /// Lambda does not accept the credentials.
    #[error("Lambda rejected the Gateway's AWS credentials as expired or invalid")]
    Credentials,
    /// There are no credentials.
    #[error(
        "the Gateway has no AWS credentials: give it a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )]
    NoCredentials,
    /// There is no region.
    #[error(
        "the Gateway has no AWS region: set the variable AWS_REGION, `region` under `gateway.invoke`, or the \
         function's ARN as the host"
    )]
    NoRegion,
    /// The key that encrypts the function's environment.
    #[error("Lambda cannot use the function's KMS key")]
    KmsKey,
    /// The function's VPC: subnets, security groups, addresses.
    #[error("Lambda cannot connect the function to its VPC")]
    Vpc,
    /// Package, layers, signature or runtime.
    #[error("Lambda cannot use the function's code package or runtime")]
    CodePackage,
    /// EFS or S3 Files.
    #[error("Lambda cannot use the function's file system")]
    FileSystem,
    /// SnapStart's hooks or snapshot.
    #[error("Lambda cannot restore the function from its snapshot")]
    SnapStart,
    /// Lambda stops functions that invoke each other in a loop.
    #[error("Lambda stopped the invocation as part of a recursive loop")]
    Recursive,
    /// Any other error of Lambda's API.
    #[error("Lambda rejected the invocation with HTTP status {status}")]
    Rejected {
        /// The HTTP status of Lambda's response.
        status: u16,
    },
    /// The SDK could not make the HTTP request.
    #[error("the AWS SDK could not make the HTTP request for the invocation")]
    NotPrepared,
    /// The function could not decode its payload.
    #[error("the function rejected the request's payload")]
    BadPayload,
    /// The function's own time, or its caller's, ran out.
    #[error("the function gave up before its own timeout or the caller's deadline")]
    OutOfTime,
    /// Lambda stopped the function at its configured timeout.
    #[error("Lambda stopped the function at its configured timeout")]
    FunctionTimedOut,
    /// The Executor panicked.
    #[error("the Executor panicked")]
    Panicked,
    /// The command that the function runs, or an Executor of the Gateway that it is, is unavailable.
    #[error("the Executor behind the function has exited, is still starting or is unreachable")]
    ExecutorUnavailable,
    /// The function is a Gateway, and its Flow failed.
    #[error("the Flow behind the function failed")]
    FlowFailed,
    /// The function's process exited, crashed or ran out of memory.
    #[error("the function's process ended before it answered ({kind})")]
    ProcessEnded {
        /// Lambda's `errorType`.
        kind: ErrorType,
    },
    /// The function failed with another error.
    #[error("the function failed with {kind}")]
    FunctionError {
        /// Its `errorType`.
        kind: ErrorType,
    },
    /// The answer has no payload.
    #[error("the function's answer is empty")]
    NoPayload,
    /// The answer is not UTF-8, JSON, base64, a known compression or protobuf, or has another version.
    #[error("the function's answer is invalid")]
    InvalidAnswer(#[source] PayloadError),
    /// The documents of the answers to a split request cannot be decoded.
    #[error("the documents of the function's answer are invalid")]
    InvalidDocuments(#[from] DocumentsError),
    /// The payload could not be written, which does not happen in practice.
    #[error("cannot write the request as a payload")]
    Encode(#[source] io::Error),
}

/// Why a request that is too large cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotSplittable {
    /// A single document is too large.
    OneDocument,
    /// The request has no documents.
    NoDocuments,
    /// The parts of a join without reduction belong together.
    Join,
    /// The documents are pickled or cannot be decoded.
    Opaque,
    /// It would take more invocations than `invoke.max_parts`.
    TooManyParts {
        /// The value of `invoke.max_parts`.
        max_parts: usize,
    },
}

/// The `errorType` of a function's failure, if it is a plain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorType(String);

impl InvokeError {
    /// The kind of failure.
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::RequestTooLarge { .. }
            | Self::RequestOverLimit { .. }
            | Self::PayloadRejected
            | Self::AnswerTooLarge
            | Self::AnswerOverLimit { .. } => ErrorCode::TooLarge,
            Self::Throttled => ErrorCode::Overloaded,
            Self::ServiceError { .. }
            | Self::Intermediary { .. }
            | Self::NotReady
            | Self::Unreachable
            | Self::ConnectionLost
            | Self::ExecutorUnavailable => ErrorCode::Unavailable,
            Self::OutOfTime | Self::FunctionTimedOut => ErrorCode::DeadlineExceeded,
            Self::NotFound
            | Self::AccessDenied
            | Self::Credentials
            | Self::NoCredentials
            | Self::NoRegion
            | Self::KmsKey
            | Self::Vpc
            | Self::CodePackage
            | Self::FileSystem
            | Self::SnapStart
            | Self::Recursive
            | Self::Rejected { .. }
            | Self::NotPrepared => ErrorCode::Misconfigured,
            Self::BadPayload
            | Self::Panicked
            | Self::FlowFailed
            | Self::ProcessEnded { .. }
            | Self::FunctionError { .. }
            | Self::NoPayload
            | Self::InvalidAnswer(_)
            | Self::InvalidDocuments(_) => ErrorCode::FunctionFailed,
            Self::Encode(_) => ErrorCode::Internal,
        }
    }

    /// Whether another attempt may succeed and does no harm, because the function has not run.
    pub(super) const fn retry(&self) -> Retry {
        match self {
            Self::Throttled | Self::NotReady => Retry::Throttled,
            Self::ServiceError { .. } | Self::Unreachable => Retry::Safe,
            _ => Retry::Never,
        }
    }

    /// Returns the sentence for the client, with its cause.
    pub(super) fn message(&self) -> String {
        self.source()
            .map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    /// Classifies the error object of a function that failed. `request_bytes` is the size of the request.
    pub(super) fn from_function(error: &FunctionError, request_bytes: usize) -> Self {
        let kind = || ErrorType::from_text(&error.error_type);
        if let Some(kind) = error.kind() {
            return match kind {
                FunctionErrorKind::BadPayload => Self::BadPayload,
                FunctionErrorKind::RequestTooLarge => Self::RequestOverLimit {
                    bytes: request_bytes,
                    limit: first_number(&error.error_message),
                },
                FunctionErrorKind::Failed => Self::FlowFailed,
                FunctionErrorKind::AnswerTooLarge => Self::AnswerTooLarge,
                FunctionErrorKind::OutOfTime => Self::OutOfTime,
                FunctionErrorKind::Panic => Self::Panicked,
                FunctionErrorKind::Unavailable => Self::ExecutorUnavailable,
            };
        }
        match error.error_type.as_str() {
            "Function.ResponseSizeTooLarge" => Self::AnswerTooLarge,
            "Sandbox.Timedout" => Self::FunctionTimedOut,
            // Without `errorType` only the message says so.
            "" if error.error_message.contains("Task timed out") => Self::FunctionTimedOut,
            name if name.starts_with("Runtime.") || name.starts_with("Extension.") => {
                Self::ProcessEnded { kind: kind() }
            }
            _ => Self::FunctionError { kind: kind() },
        }
    }
}

fn first_number(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next();
    digits?.parse().ok()
}

fn at_most(limit: Option<u64>) -> String {
    limit.map_or_else(|| "fewer".to_owned(), |limit| format!("at most {limit}"))
}

impl From<PayloadError> for InvokeError {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { limit } => Self::AnswerOverLimit { limit },
            error => Self::InvalidAnswer(error),
        }
    }
}

impl ErrorType {
    fn from_text(text: &str) -> Self {
        let is_name = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._:".contains(&byte));
        Self(if is_name { text } else { "an unnamed error" }.to_owned())
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NotSplittable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneDocument => f.write_str("a single document cannot be split"),
            Self::NoDocuments => f.write_str("it has no documents to split"),
            Self::Join => f.write_str("the parts of a join without reduction cannot be split"),
            Self::Opaque => f.write_str("its documents cannot be decoded to be split"),
            Self::TooManyParts { max_parts } => {
                write!(
                    f,
                    "it needs more than {max_parts} invocations (invoke.max_parts)"
                )
            }
        }
    }
}
