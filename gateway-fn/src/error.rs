//! What can go wrong with a request, and the one table that says how each protocol tells the client.

use flowgate_proto::jina::{
    StatusProto,
    status_proto::{ExceptionProto, StatusCode},
};
use tonic::metadata::MetadataMap;

use crate::{
    flow::walk::WalkError,
    outbound::{CallError, Failure},
};

/// Why the Gateway has no answer.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An Executor could not be reached, took too long, or refused the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The request does not fit the Flow.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// As many requests as the Gateway takes are under way.
    #[error("the Gateway is at its limit of {limit} requests at once")]
    Overloaded {
        /// `max_concurrent_requests`.
        limit: usize,
    },
    /// The Gateway itself failed at the request.
    #[error("the Gateway failed at this request")]
    Internal,
}

/// The kinds of failure that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// An Executor cannot be reached.
    Unavailable,
    /// An Executor took longer than `timeout_send`, or than the request may take.
    DeadlineExceeded,
    /// The request's `target_executor` is no regular expression.
    InvalidTarget,
    /// The request cannot be read, or a document in it does not fit a condition of the Flow.
    InvalidRequest,
    /// More requests at once than the Gateway takes, or than Lambda runs of a function.
    Overloaded,
    /// The request, or the answer to it, does not fit into an invocation.
    TooLarge,
    /// A Lambda function ran and failed, or answered what cannot be read.
    FunctionFailed,
    /// A Lambda function cannot be invoked as it or the Gateway is set up.
    Misconfigured,
    /// An Executor refused the call itself, by a gRPC status of its own.
    Refused,
    /// The Gateway failed, or an Executor answered what cannot be read.
    Internal,
}

impl GatewayError {
    /// The kind of failure.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Call(CallError { failure, .. }) => match failure {
                Failure::Unreachable => ErrorCode::Unavailable,
                Failure::TimedOut | Failure::OutOfTime => ErrorCode::DeadlineExceeded,
                Failure::Refused(_) => ErrorCode::Refused,
                Failure::Invocation(fault) => fault.code(),
            },
            Self::Walk(WalkError::Target(_)) => ErrorCode::InvalidTarget,
            Self::Walk(
                WalkError::Parameters(_) | WalkError::Documents { .. } | WalkError::Filter { .. },
            ) => ErrorCode::InvalidRequest,
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::Walk(WalkError::Answer { .. }) | Self::Internal => ErrorCode::Internal,
        }
    }

    /// The Executor at which the request failed, if it was at one.
    #[must_use]
    pub fn executor(&self) -> Option<&str> {
        match self {
            Self::Call(error) => Some(&error.deployment),
            Self::Walk(_) | Self::Overloaded { .. } | Self::Internal => None,
        }
    }

    /// The text for the client. For a failed call it is Jina's own (facts of Jina 3.13, recordings
    /// `grpc/44-executor_down_dry_run`, `http/39-executor_down_dry_run`).
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Call(error) => error.detail(),
            Self::Walk(WalkError::Target(error)) => {
                format!("Unexpected <class 're.error'>: {error}")
            }
            Self::Walk(WalkError::Parameters(_)) => {
                format!("{}'jina.DataRequestProto'", flowgate_proto::UNDECODABLE)
            }
            Self::Walk(
                error @ (WalkError::Documents { source, .. } | WalkError::Answer { source, .. }),
            ) => format!("{error}: {source}"),
            Self::Walk(error @ WalkError::Filter { source, .. }) => {
                format!(
                    "Unexpected <class '{}'>: {error}: {source}",
                    source.python_class()
                )
            }
            Self::Overloaded { .. } | Self::Internal => self.to_string(),
        }
    }

    /// The reason of a WebSocket close frame, in Jina's words: the detail where it fits into one.
    #[must_use]
    pub fn close_reason(&self) -> String {
        let detail = self.detail();
        if detail.len() <= MAX_CLOSE_REASON {
            return detail;
        }
        match self {
            Self::Call(error) => error.short_detail(),
            Self::Walk(_) | Self::Overloaded { .. } | Self::Internal => detail,
        }
    }

    /// The trailing metadata of the Executor's failure, which gRPC clients get too.
    #[must_use]
    pub fn trailers(&self) -> MetadataMap {
        match self {
            Self::Call(error) => error.shown_trailers(),
            Self::Walk(_) | Self::Overloaded { .. } | Self::Internal => MetadataMap::new(),
        }
    }

    /// The gRPC status.
    #[must_use]
    pub fn grpc_status(&self) -> tonic::Status {
        tonic::Status::with_metadata(self.grpc_code(), self.detail(), self.trailers())
    }

    /// The HTTP status.
    #[must_use]
    pub const fn http_status(&self) -> http::StatusCode {
        self.code().http_status()
    }

    /// What stands in `header.status`, and what a dry run answers.
    #[must_use]
    pub fn status(&self) -> StatusProto {
        let detail = self.detail();
        StatusProto {
            code: StatusCode::Error.into(),
            description: detail.clone(),
            exception: Some(ExceptionProto {
                name: self.exception_name().to_owned(),
                args: vec![detail],
                stacks: vec![format!("{:?} at the Gateway\n", self.code())],
                executor: String::new(),
            }),
        }
    }

    /// The class of Jina's that a Python client finds in `exception.name`.
    const fn exception_name(&self) -> &'static str {
        match self {
            Self::Call(_) => "InternalNetworkError",
            Self::Walk(WalkError::Target(_)) => "error",
            Self::Walk(_) => "ValueError",
            Self::Overloaded { .. } | Self::Internal => "RuntimeError",
        }
    }

    const fn grpc_code(&self) -> tonic::Code {
        match self {
            Self::Call(CallError {
                failure: Failure::Refused(code),
                ..
            }) => *code,
            Self::Call(_) | Self::Walk(_) | Self::Overloaded { .. } | Self::Internal => {
                self.code().grpc_code()
            }
        }
    }
}

/// Bytes of UTF-8 that a close frame can carry beside its code (RFC 6455, section 5.5).
pub(crate) const MAX_CLOSE_REASON: usize = 123;

impl ErrorCode {
    /// gRPC. Jina 3.13 answers a client's own fault with UNKNOWN (recordings `grpc/14`, `grpc/15`).
    #[must_use]
    pub const fn grpc_code(self) -> tonic::Code {
        match self {
            Self::Unavailable => tonic::Code::Unavailable,
            Self::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            Self::InvalidTarget | Self::InvalidRequest | Self::Refused | Self::Internal => {
                tonic::Code::Unknown
            }
            Self::Overloaded | Self::TooLarge => tonic::Code::ResourceExhausted,
            Self::FunctionFailed => tonic::Code::Internal,
            Self::Misconfigured => tonic::Code::FailedPrecondition,
        }
    }

    /// HTTP.
    #[must_use]
    pub const fn http_status(self) -> http::StatusCode {
        match self {
            Self::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineExceeded => http::StatusCode::GATEWAY_TIMEOUT,
            Self::InvalidTarget | Self::InvalidRequest => http::StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded => http::StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::FunctionFailed | Self::Misconfigured => http::StatusCode::BAD_GATEWAY,
            Self::Refused | Self::Internal => http::StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// WebSocket close code: 1011 as Jina's for the network, 1008 where the client is at fault, 1009 where there is too
    /// much of something, 1013 (try again later) where the Gateway or Lambda is full.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Unavailable
            | Self::DeadlineExceeded
            | Self::Refused
            | Self::FunctionFailed
            | Self::Misconfigured
            | Self::Internal => 1011,
            Self::TooLarge => 1009,
            Self::InvalidTarget | Self::InvalidRequest => 1008,
            Self::Overloaded => 1013,
        }
    }
}
