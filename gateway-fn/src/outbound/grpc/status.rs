//! Converts the failure of an attempt, and decides whether another attempt may follow.

use std::sync::Arc;

use flowgate_grpc::{
    client::{CallError, ConnectError},
    may_have_run,
};
use http::StatusCode;
use tonic::{Code, Status};

use crate::{
    error::{CallFailure, UNREACHABLE},
    outbound::attempt::{AttemptError, ReplicaState, Retry},
};

impl From<ConnectError> for AttemptError {
    fn from(error: ConnectError) -> Self {
        let detail = connect_detail(&error);
        Self {
            retry: Retry::Safe,
            replica: ReplicaState::Unreachable,
            // Otherwise it is in the detail already.
            cause: (detail == UNREACHABLE).then(|| Arc::new(error.into())),
            ..Self::new(CallFailure::Unreachable, detail)
        }
    }
}

impl From<CallError> for AttemptError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Connect(error) => error.into(),
            CallError::Refused(_) => Self {
                retry: Retry::Safe,
                cause: Some(Arc::new(error)),
                ..Self::new(CallFailure::Unreachable, UNREACHABLE.to_owned())
            },
            CallError::Broken(_) => Self {
                retry: Retry::JinaOnly,
                cause: Some(Arc::new(error)),
                ..Self::new(CallFailure::Unreachable, UNREACHABLE.to_owned())
            },
            CallError::Status(status) => of_status(&status),
            CallError::Http { http, status } => Self {
                replica: replica_behind(http),
                ..Self::new(
                    CallFailure::Status(status.code()),
                    status.message().to_owned(),
                )
            },
            CallError::Unreadable(status) => {
                let failure = CallFailure::Status(status.code());
                Self {
                    replica: ReplicaState::Answers,
                    ..Self::new(failure, status.message().to_owned())
                }
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

/// What the HTTP status of a proxy shows about the Executor behind it.
fn replica_behind(proxy_status: StatusCode) -> ReplicaState {
    match proxy_status {
        // The Executor is down. The proxy answers fastest, and would get most of the calls if it stayed in use.
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ReplicaState::Unreachable
        }
        _ => ReplicaState::Answers,
    }
}

fn of_status(status: &Status) -> AttemptError {
    let (failure, replica) = match status.code() {
        // A Gateway, one of whose Executors is down.
        Code::Unavailable if may_have_run(status) => {
            (CallFailure::Unreachable, ReplicaState::Answers)
        }
        // Such as a proxy whose Executor is down. It answers fastest, and would get most of the calls if it stayed in use.
        Code::Unavailable => (CallFailure::Unreachable, ReplicaState::Unreachable),
        Code::DeadlineExceeded => (CallFailure::TimedOut, ReplicaState::Unknown),
        code => (CallFailure::Status(code), ReplicaState::Answers),
    };
    AttemptError {
        replica,
        trailers: Box::new(status.metadata().clone()),
        retry: retry_after(status),
        ..AttemptError::new(failure, status.message().to_owned())
    }
}

/// Returns the error of an attempt whose time passed before the peer, which handles as many calls as it allows, took it.
pub(super) fn not_started_in_time() -> AttemptError {
    AttemptError {
        retry: Retry::Safe,
        ..AttemptError::timed_out()
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
    AttemptError {
        replica: ReplicaState::Answers,
        ..AttemptError::new(CallFailure::Status(Code::Internal), detail)
    }
}

/// Whether the peer does not know the method.
pub(super) const fn is_unimplemented(failure: &CallFailure) -> bool {
    matches!(failure, CallFailure::Status(Code::Unimplemented))
}

/// Whether another attempt follows an answer with this status. UNAVAILABLE means that the peer has not run the call, unless it
/// says that an Executor behind it may have; after the others only Jina makes another attempt (Jina 3.13).
fn retry_after(status: &Status) -> Retry {
    match status.code() {
        Code::Unavailable if may_have_run(status) => Retry::JinaOnly,
        Code::Unavailable => Retry::Safe,
        Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => {
            Retry::JinaOnly
        }
        _ => Retry::Never,
    }
}
