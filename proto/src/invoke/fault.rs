//! What can be wrong with an invocation, on either side, and how a function tells its caller.

use std::io;

use serde::{Deserialize, Serialize};

/// Why a payload, or the answer to one, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// No JSON, no object, or a key of the wrong kind.
    #[error("the payload has not the shape of an invocation")]
    Shape(#[source] serde_json::Error),
    /// A version that nobody here knows.
    #[error(
        "the payload is of version {version}, and only version {} is known",
        super::VERSION
    )]
    Version {
        /// The value of `flowgate`.
        version: u64,
    },
    /// An answer without the key `flowgate`: another program's.
    #[error("the answer has no key `flowgate`: the function is no Executor of this kind")]
    NoAnswer,
    /// The body is no base64.
    #[error("the payload's body is no base64")]
    Base64(#[source] base64::DecodeError),
    /// The body is not compressed as it says.
    #[error("the payload's body is not {compression}")]
    Compressed {
        /// What it says it is.
        compression: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The body is larger than allowed.
    #[error("the payload's body is larger than {limit} bytes when it is decompressed")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body is no message of its type.
    #[error("the payload's body is not the protobuf message that it should be")]
    Protobuf(#[from] prost::DecodeError),
}

impl PayloadError {
    /// What the function says to its caller.
    #[must_use]
    pub const fn kind(&self) -> FaultKind {
        match self {
            Self::TooLarge { .. } => FaultKind::RequestTooLarge,
            Self::Shape(_)
            | Self::Version { .. }
            | Self::NoAnswer
            | Self::Base64(_)
            | Self::Compressed { .. }
            | Self::Protobuf(_) => FaultKind::BadPayload,
        }
    }
}

/// The kinds of failure of a function, as `errorType` of Lambda's error object names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The payload cannot be read: the caller's fault.
    BadPayload,
    /// The request is larger than the function takes.
    RequestTooLarge,
    /// The answer does not fit into an invocation's payload.
    AnswerTooLarge,
    /// The time of the function or of its caller is over.
    OutOfTime,
    /// The Executor panicked.
    Panic,
    /// The command that the function wraps is not there, or not yet.
    Unavailable,
    /// Anything else went wrong; of a Gateway, the message begins with the kind of failure.
    Failed,
}

/// Lambda's error object: what an invocation answers beside `FunctionError`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionFault {
    /// A [`FaultKind`] of ours, or any text of another runtime.
    #[serde(default)]
    pub error_type: String,
    /// For people.
    #[serde(default)]
    pub error_message: String,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BadPayload,
        Self::RequestTooLarge,
        Self::AnswerTooLarge,
        Self::OutOfTime,
        Self::Panic,
        Self::Unavailable,
        Self::Failed,
    ];

    /// As `errorType` has it.
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

impl FunctionFault {
    /// The kind, if it is one of ours. Lambda itself says `Sandbox.Timedout`, `Runtime.ExitError` and the like.
    #[must_use]
    pub fn kind(&self) -> Option<FaultKind> {
        FaultKind::ALL
            .into_iter()
            .find(|kind| kind.name() == self.error_type)
    }
}
