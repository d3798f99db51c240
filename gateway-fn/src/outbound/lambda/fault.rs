//! Every way in which an invocation fails: its own sentence, and what kind of failure clients are told.

use std::{error::Error, fmt, io};

use flowgate_proto::{
    DocumentsError,
    invoke::{FunctionError, FunctionErrorKind, PayloadError},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
};

use crate::code::ErrorCode;

/// Why an invocation gave no answer. The sentences name no function, account or address: clients may read them.
#[derive(Debug, thiserror::Error)]
pub enum InvokeFault {
    /// The request does not fit into invocations, however it is written. Nothing was invoked.
    #[error(
        "the request takes {bytes} bytes as a Lambda payload, the limit is {limit}, and {not_splittable}"
    )]
    RequestTooLarge {
        /// Of the payload, compressed.
        bytes: usize,
        /// What may be used of Lambda's limit.
        limit: usize,
        /// Why several invocations do not help.
        not_splittable: NotSplittable,
    },
    /// The function took the request in, and its own limit is lower than the request is large.
    #[error("the request is {bytes} bytes, the function takes {}", or_less(*.limit))]
    RequestOverLimit {
        /// Of the request, decompressed.
        bytes: usize,
        /// What the function says.
        limit: Option<u64>,
    },
    /// Lambda's own word for it (413).
    #[error("Lambda refused the request as too large")]
    PayloadRefused,
    /// What the function answered is over Lambda's limit.
    #[error(
        "the answer is larger than the {MAX_INVOKE_PAYLOAD_BYTES} bytes that Lambda passes on; send fewer documents at once"
    )]
    AnswerTooLarge,
    /// What the function answered is over the Gateway's limit.
    #[error("the answer is larger than max_message_bytes, {limit} bytes")]
    AnswerOverLimit {
        /// In bytes, decompressed.
        limit: usize,
    },
    /// 429: the function, or the account, runs as often at once as it may.
    #[error("Lambda throttled the function")]
    Throttled,
    /// 5xx: Lambda itself, or what it builds on.
    #[error("Lambda failed at the invocation with HTTP status {status}")]
    Service {
        /// Of Lambda's answer.
        status: u16,
    },
    /// 5xx without an error of AWS's: something on the way gave up, and the request may have gone through before.
    #[error("HTTP status {status} came instead of Lambda's answer; the function may have run")]
    Intercepted {
        /// Of the answer.
        status: u16,
    },
    /// The function is being made, changed or woken.
    #[error("the function is not ready to be invoked yet")]
    NotReady,
    /// No connection: nothing was sent.
    #[error("Lambda cannot be reached")]
    Unreachable,
    /// The connection broke when the request was on its way.
    #[error(
        "the connection to Lambda broke before the answer was there; the function may have run"
    )]
    Broken,
    /// No function, version or alias of the name.
    #[error("Lambda knows no such function, version or alias")]
    NotFound,
    /// The role of the Gateway lacks the permission.
    #[error("the Gateway is not allowed to invoke the function (lambda:InvokeFunction)")]
    Denied,
    /// No credentials, or expired or wrong ones.
    #[error("the Gateway has no AWS credentials that Lambda accepts")]
    Credentials,
    /// The key that encrypts the function's environment.
    #[error("Lambda cannot use the KMS key of the function")]
    Kms,
    /// The function's VPC: subnets, security groups, addresses.
    #[error("Lambda cannot connect the function to its VPC")]
    Vpc,
    /// Package, layers, signature or runtime.
    #[error("Lambda cannot use the function's code package or runtime")]
    Code,
    /// EFS or S3 Files.
    #[error("Lambda cannot use the function's file system")]
    FileSystem,
    /// SnapStart's hooks or snapshot.
    #[error("Lambda cannot restore the function from its snapshot")]
    SnapStart,
    /// Lambda ends loops of functions that invoke each other.
    #[error("Lambda stopped the invocation as part of a recursive loop")]
    Recursive,
    /// Any other refusal of Lambda's API.
    #[error("Lambda refused the invocation with HTTP status {status}")]
    Refused {
        /// Of Lambda's answer.
        status: u16,
    },
    /// The SDK could not make the request.
    #[error("the invocation could not be prepared")]
    Unprepared,
    /// The function could not read what it was sent.
    #[error("the function could not read its payload")]
    BadPayload,
    /// The function saw its time, or its caller's, at an end.
    #[error("the function ran out of time")]
    OutOfTime,
    /// Lambda cut the function off at its configured timeout.
    #[error("the function took longer than its own timeout")]
    FunctionTimedOut,
    /// The Executor panicked.
    #[error("the Executor panicked")]
    Panicked,
    /// The wrapped command is not there.
    #[error("the Executor behind the function is not there, or not yet")]
    ExecutorUnavailable,
    /// The function is a Gateway, and its Flow failed.
    #[error("the Flow behind the function failed")]
    Failed,
    /// The process of the function is gone: it exited, crashed or used up its memory.
    #[error("the function's process ended before it answered ({kind})")]
    Exited {
        /// Lambda's word for it.
        kind: ErrorType,
    },
    /// The function failed in a way of its own.
    #[error("the function failed with {kind}")]
    Function {
        /// Its `errorType`.
        kind: ErrorType,
    },
    /// An answer without a payload.
    #[error("the function answered nothing")]
    NoPayload,
    /// An answer that is not UTF-8, no JSON, of another version, no base64, not compressed as it says, no protobuf.
    #[error("the function's answer cannot be read")]
    Unreadable(#[source] PayloadError),
    /// Documents of the answers to a split request that cannot be put together.
    #[error("the documents of the function's answer cannot be read")]
    Documents(#[from] DocumentsError),
    /// The payload could not be written; it always can.
    #[error("the request cannot be written as a payload")]
    Unwritable(#[source] io::Error),
}

/// Why a request that is too large is not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSplittable {
    /// Splitting goes no further.
    OneDocument,
    /// Without documents there is nothing to split.
    NoDocuments,
    /// A join without reduction belongs together.
    Join,
    /// Documents that only Python can read, or nobody.
    Opaque,
    /// More invocations than `invoke.max_parts`.
    TooManyParts {
        /// The setting.
        most: usize,
    },
}

/// The `errorType` of a function's failure, as far as it is a plain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorType(String);

impl InvokeFault {
    /// The kind of failure that clients are told.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::RequestTooLarge { .. }
            | Self::RequestOverLimit { .. }
            | Self::PayloadRefused
            | Self::AnswerTooLarge
            | Self::AnswerOverLimit { .. } => ErrorCode::TooLarge,
            Self::Throttled => ErrorCode::Overloaded,
            Self::Service { .. }
            | Self::Intercepted { .. }
            | Self::NotReady
            | Self::Unreachable
            | Self::Broken
            | Self::ExecutorUnavailable => ErrorCode::Unavailable,
            Self::OutOfTime | Self::FunctionTimedOut => ErrorCode::DeadlineExceeded,
            Self::NotFound
            | Self::Denied
            | Self::Credentials
            | Self::Kms
            | Self::Vpc
            | Self::Code
            | Self::FileSystem
            | Self::SnapStart
            | Self::Recursive
            | Self::Refused { .. }
            | Self::Unprepared => ErrorCode::Misconfigured,
            Self::BadPayload
            | Self::Panicked
            | Self::Failed
            | Self::Exited { .. }
            | Self::Function { .. }
            | Self::NoPayload
            | Self::Unreadable(_)
            | Self::Documents(_) => ErrorCode::FunctionFailed,
            Self::Unwritable(_) => ErrorCode::Internal,
        }
    }

    /// Whether another try may do better, and cannot do harm: the function has not run.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Service { .. } | Self::NotReady | Self::Unreachable
        )
    }

    /// The sentence, with what is behind it.
    pub(in crate::outbound) fn sentence(&self) -> String {
        self.source()
            .map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    /// What a function that failed says of itself, or Lambda of it. The request that it was sent has `bytes`.
    pub(super) fn of_function(fault: &FunctionError, bytes: usize) -> Self {
        let kind = || ErrorType::of(&fault.error_type);
        if let Some(ours) = fault.kind() {
            return match ours {
                FunctionErrorKind::BadPayload => Self::BadPayload,
                FunctionErrorKind::RequestTooLarge => Self::RequestOverLimit {
                    bytes,
                    limit: first_number(&fault.error_message),
                },
                FunctionErrorKind::Failed => Self::Failed,
                FunctionErrorKind::AnswerTooLarge => Self::AnswerTooLarge,
                FunctionErrorKind::OutOfTime => Self::OutOfTime,
                FunctionErrorKind::Panic => Self::Panicked,
                FunctionErrorKind::Unavailable => Self::ExecutorUnavailable,
            };
        }
        match fault.error_type.as_str() {
            "Function.ResponseSizeTooLarge" => Self::AnswerTooLarge,
            "Sandbox.Timedout" => Self::FunctionTimedOut,
            // Lambda without `errorType`: the message is all there is.
            "" if fault.error_message.contains("Task timed out") => Self::FunctionTimedOut,
            name if name.starts_with("Runtime.") || name.starts_with("Extension.") => {
                Self::Exited { kind: kind() }
            }
            _ => Self::Function { kind: kind() },
        }
    }
}

fn first_number(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit()).next();
    digits?.parse().ok()
}

fn or_less(limit: Option<u64>) -> String {
    limit.map_or_else(|| "less".to_owned(), |limit| limit.to_string())
}

impl From<PayloadError> for InvokeFault {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::TooLarge { limit } => Self::AnswerOverLimit { limit },
            error => Self::Unreadable(error),
        }
    }
}

impl ErrorType {
    fn of(text: &str) -> Self {
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
            Self::NoDocuments => f.write_str("there are no documents to split"),
            Self::Join => f.write_str("the parts of a join without reduction are not split"),
            Self::Opaque => f.write_str("its documents cannot be read to be split"),
            Self::TooManyParts { most } => {
                write!(
                    f,
                    "it would take more than {most} invocations (invoke.max_parts)"
                )
            }
        }
    }
}
