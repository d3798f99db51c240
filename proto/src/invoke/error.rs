//! Errors in payloads, and the error object with which a function reports a failure to its caller.

use std::io;

use serde::{Deserialize, Serialize};

use super::lenient::null_as_default;

/// Why a payload, of a request or a response, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON, not an object, or a value of the wrong type.
    #[error("the payload is not a valid invocation")]
    Malformed(#[source] serde_json::Error),
    /// A version that is not supported.
    #[error(
        "payload version {version} is not supported: expected version {}",
        super::VERSION
    )]
    UnsupportedVersion {
        /// The value of `flowgate`.
        version: u64,
    },
    /// A response without the key `flowgate`, so it comes from another program.
    #[error("the response has no key `flowgate`: the function is not a Flowgate Executor")]
    MissingVersion,
    /// The body is missing.
    #[error("the payload has no `body`")]
    MissingBody,
    /// The body of the call `process` has no request.
    #[error("the payload's body has no request: expected one, or one for each branch of a join")]
    NoRequests,
    /// The body is not base64.
    #[error("the payload's body is not valid base64")]
    Base64(#[source] base64::DecodeError),
    /// The body is not compressed as `encoding` says.
    #[error("the payload's body is not valid {compression}")]
    InvalidCompression {
        /// The value of `encoding`.
        compression: &'static str,
        /// The decompressor's error.
        source: io::Error,
    },
    /// The body exceeds the limit.
    #[error("the payload's body exceeds {limit} bytes when decompressed")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is not a message of the expected type.
    #[error("the payload's body is not a valid protobuf message")]
    Protobuf(#[from] prost::DecodeError),
}

impl PayloadError {
    /// Returns the kind of function error to report to the caller.
    #[must_use]
    pub const fn kind(&self) -> FunctionErrorKind {
        match self {
            Self::TooLarge { .. } => FunctionErrorKind::RequestTooLarge,
            Self::Malformed(_)
            | Self::UnsupportedVersion { .. }
            | Self::MissingVersion
            | Self::MissingBody
            | Self::NoRequests
            | Self::Base64(_)
            | Self::InvalidCompression { .. }
            | Self::Protobuf(_) => FunctionErrorKind::BadPayload,
        }
    }
}

/// The kinds of function errors, as `errorType` of Lambda's error object names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionErrorKind {
    /// The payload cannot be read, or a Gateway rejects the request in it as invalid.
    BadPayload,
    /// The request is larger than the function accepts.
    RequestTooLarge,
    /// The response is larger than Lambda's payload limit, or the wrapped command's response is larger than the
    /// function accepts.
    AnswerTooLarge,
    /// The function's timeout or the caller's deadline was reached.
    OutOfTime,
    /// The function's own code panicked. A panic of a handler is an answer with an error status.
    Panic,
    /// The command that the function wraps, or an Executor of the Gateway that it is, cannot be used: not running, not
    /// ready, not reachable, or answering with an error.
    Unavailable,
    /// Any other failure. A Gateway's message begins with its error code.
    Failed,
}

/// Lambda's error object: the payload of an invocation whose response has `FunctionError` set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionError {
    /// The name of a [`FunctionErrorKind`], or any text of another runtime.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_type: String,
    /// A description of the failure.
    #[serde(default, deserialize_with = "null_as_default")]
    pub error_message: String,
}

impl FunctionErrorKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::BadPayload,
        Self::RequestTooLarge,
        Self::AnswerTooLarge,
        Self::OutOfTime,
        Self::Panic,
        Self::Unavailable,
        Self::Failed,
    ];

    /// Returns the value of `errorType`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadPayload => "Flowgate.BadPayload",
            Self::RequestTooLarge => "Flowgate.RequestTooLarge",
            Self::AnswerTooLarge => "Flowgate.AnswerTooLarge",
            Self::OutOfTime => "Flowgate.OutOfTime",
            Self::Panic => "Flowgate.Panic",
            Self::Unavailable => "Flowgate.Unavailable",
            Self::Failed => "Flowgate.Failed",
        }
    }
}

impl FunctionError {
    /// Returns the kind, if it is one of Flowgate's. Lambda itself reports `Sandbox.Timedout`, `Runtime.ExitError`
    /// and the like.
    #[must_use]
    pub fn kind(&self) -> Option<FunctionErrorKind> {
        FunctionErrorKind::ALL
            .into_iter()
            .find(|kind| kind.name() == self.error_type)
    }
}
