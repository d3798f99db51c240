//! Converts the failure of an attempt, and decides whether another attempt may follow.

use flowgate_grpc::client::{CallError, ConnectError};
use flowgate_proto::with_causes;
use tonic::{Code, Status};

use crate::{
    error::{CallFailure, UNREACHABLE},
    outbound::attempt::{AttemptError, Retry},
};

impl From<CallError> for AttemptError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Connect(error) => {
                tracing::debug!(error = %with_causes(&error), "cannot connect");
                Self {
                    retry: Retry::Safe,
                    ..Self::new(CallFailure::Unreachable, connect_detail(&error))
                }
            }
            CallError::Refused(_) => Self {
                retry: Retry::Safe,
                ..Self::new(CallFailure::Unreachable, UNREACHABLE.to_owned())
            },
            CallError::Broken(error) => {
                tracing::debug!(error = %with_causes(&error), "connection broke");
                Self {
                    retry: Retry::JinaOnly,
                    ..Self::new(CallFailure::Unreachable, UNREACHABLE.to_owned())
                }
            }
            CallError::Status(status) => of_status(&status),
            CallError::Unreadable(status) => {
                let failure = CallFailure::Status(status.code());
                Self::new(failure, status.message().to_owned())
            }
        }
    }
}

/// Returns gRPC's text for an unreachable peer, which Jina's clients know; with the cause if the peer is there but speaks
/// another protocol or has the wrong certificate.
fn connect_detail(error: &ConnectError) -> String {
    match error {
        ConnectError::Resolve { .. } | ConnectError::Tcp { .. } | ConnectError::TimedOut => {
            UNREACHABLE.to_owned()
        }
        ConnectError::Tls(_)
        | ConnectError::Http2(_)
        | ConnectError::Closed
        | ConnectError::NoStreams => {
            format!("{UNREACHABLE}: {error}")
        }
    }
}

fn of_status(status: &Status) -> AttemptError {
    let failure = match status.code() {
        Code::Unavailable => CallFailure::Unreachable,
        Code::DeadlineExceeded => CallFailure::TimedOut,
        code => CallFailure::Status(code),
    };
    AttemptError {
        trailers: Box::new(status.metadata().clone()),
        retry: retry_after(status.code()),
        ..AttemptError::new(failure, status.message().to_owned())
    }
}

/// Returns the error of an attempt that took too long. Jina makes another attempt then (Jina 3.13).
pub(super) fn timed_out() -> AttemptError {
    AttemptError {
        retry: Retry::JinaOnly,
        ..AttemptError::timed_out()
    }
}

/// Returns the error of an answer that is not a valid message.
pub(super) fn undecodable() -> AttemptError {
    let detail = "the answer cannot be decoded".to_owned();
    AttemptError::new(CallFailure::Status(Code::Internal), detail)
}

/// Whether the peer does not know the method.
pub(super) const fn is_unimplemented(failure: &CallFailure) -> bool {
    matches!(failure, CallFailure::Status(Code::Unimplemented))
}

/// Whether another attempt follows an answer with this code. UNAVAILABLE means that the peer has not run the call; after the
/// others only Jina makes another attempt (Jina 3.13).
const fn retry_after(code: Code) -> Retry {
    match code {
        Code::Unavailable => Retry::Safe,
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => {
            Retry::JinaOnly
        }
        _ => Retry::Never,
    }
}
