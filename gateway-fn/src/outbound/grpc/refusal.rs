//! A try that failed -> its gRPC code and words, and whether another try may do better.

use std::{error::Error, fmt};

use flowgate_proto::with_causes;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::outbound::{
    Failure,
    error::{TIMED_OUT, UNREACHABLE},
};

/// A try that failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// What the peer said; gRPC's own words where there was no peer to say anything.
    pub(super) detail: String,
    pub(super) trailers: MetadataMap,
}

impl Refusal {
    pub(super) fn deadline() -> Self {
        Self::of_our_own(Code::DeadlineExceeded, TIMED_OUT)
    }

    pub(super) const fn failure(&self) -> Failure {
        match self.code {
            Code::Unavailable => Failure::Unreachable,
            Code::DeadlineExceeded => Failure::TimedOut,
            code => Failure::Refused(code),
        }
    }

    /// Facts of Jina 3.13: the codes by which a peer says that another try may do better.
    pub(super) const fn is_retryable(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
        )
    }

    fn of_our_own(code: Code, detail: &str) -> Self {
        Self {
            code,
            detail: detail.to_owned(),
            trailers: MetadataMap::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.code, self.detail)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        // The deadline that travels with the call is also kept on this side, by tonic.
        if caused_by::<tonic::TimeoutExpired>(&status) {
            return Self::deadline();
        }
        // A status with a source was made on this side: the connection failed, no peer said anything.
        if status.source().is_some() {
            tracing::debug!(error = %with_causes(&status), "the connection failed");
            return Self::of_our_own(Code::Unavailable, UNREACHABLE);
        }
        Self {
            code: status.code(),
            detail: status.message().to_owned(),
            trailers: status.metadata().clone(),
        }
    }
}

fn caused_by<E: Error + 'static>(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}
