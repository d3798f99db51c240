//! Converts the gRPC status of a failed attempt, and decides whether another attempt may follow.

use std::error::Error;

use flowgate_proto::{causes, with_causes};
use tonic::{Code, Status};

use crate::{
    error::{CallFailure, UNREACHABLE},
    outbound::attempt::AttemptError,
};

impl From<Status> for AttemptError {
    fn from(status: Status) -> Self {
        // tonic watches the deadline that is sent with the call.
        if causes(&status).any(|cause| cause.is::<tonic::TimeoutExpired>()) {
            return timed_out();
        }
        // A status with a source was made on this side: the connection failed, and no peer answered.
        if status.source().is_some() {
            tracing::debug!(error = %with_causes(&status), "connection failed");
            return Self {
                is_retryable: true,
                ..Self::new(CallFailure::Unreachable, UNREACHABLE.to_owned())
            };
        }
        let failure = match status.code() {
            Code::Unavailable => CallFailure::Unreachable,
            Code::DeadlineExceeded => CallFailure::TimedOut,
            code => CallFailure::Status(code),
        };
        Self {
            trailers: Box::new(status.metadata().clone()),
            is_retryable: is_retryable(status.code()),
            ..Self::new(failure, status.message().to_owned())
        }
    }
}

/// Returns the error of an attempt that took too long. Jina makes another attempt then (Jina 3.13).
pub(super) fn timed_out() -> AttemptError {
    AttemptError {
        is_retryable: true,
        ..AttemptError::timed_out()
    }
}

/// Whether the peer does not know the method.
pub(super) const fn is_unimplemented(failure: &CallFailure) -> bool {
    matches!(failure, CallFailure::Status(Code::Unimplemented))
}

/// Whether Jina makes another attempt after this code (Jina 3.13).
const fn is_retryable(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}
