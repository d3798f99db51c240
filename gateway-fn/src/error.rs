//! What can go wrong with a request, and what clients are told of it.

use flowgate_flow::walk::WalkError;
use flowgate_proto::jina::{
    StatusProto,
    status_proto::{ExceptionProto, StatusCode},
};
use tonic::metadata::MetadataMap;

use crate::outbound::{CallError, Failure};

pub use crate::code::ErrorCode;

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
                format!(
                    "{}'jina.DataRequestProto'",
                    flowgate_proto::DECODE_ERROR_PREFIX
                )
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
