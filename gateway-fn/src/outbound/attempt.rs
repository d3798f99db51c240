//! A failed attempt at a call, of any transport. The transport decides whether another attempt may follow.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use flowgate_config::RetryPolicy;
use flowgate_grpc::client;
use flowgate_proto::with_causes;
use tonic::metadata::MetadataMap;

use crate::{
    aws::retry::Retryable,
    error::{CallError, CallFailure, TIMED_OUT},
};

/// Why an attempt at a call failed.
#[derive(Debug)]
pub(super) struct AttemptError {
    pub(super) failure: CallFailure,
    /// The peer's own text, which may contain addresses or ARNs; gRPC's text if no peer answered.
    pub(super) detail: String,
    pub(super) trailers: Box<MetadataMap>,
    /// Whether another attempt may follow.
    pub(super) retry: Retry,
    /// How long the peer asks to wait before the next attempt.
    pub(super) retry_after: Option<Duration>,
    /// What the attempt shows about the replica that was called.
    pub(super) replica: ReplicaState,
    /// The transport's error, for the log. It may contain addresses.
    pub(super) cause: Option<Arc<client::CallError>>,
}

/// What a failed attempt shows about the replica that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// It has answered, with an error.
    Answers,
    /// It takes no connection, or says itself that it is unavailable, or a proxy says so.
    Unreachable,
    /// Nothing: it did not answer in time, or ended one connection and may take another, as in a rolling restart.
    Unknown,
}

/// Whether another attempt may follow a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would fail in the same way, or do harm.
    Never,
    /// The Executor has not run the call.
    Safe,
    /// The Executor has not run the call, because it is throttled or not ready yet: a later attempt succeeds.
    Throttled,
    /// The Executor may have run the call. Jina makes another attempt anyway (Jina 3.13).
    JinaOnly,
}

impl Retry {
    /// Whether another attempt follows under this policy.
    pub(super) fn is_allowed(self, policy: RetryPolicy) -> bool {
        match self {
            Self::Never => false,
            Self::Safe | Self::Throttled => true,
            Self::JinaOnly => policy == RetryPolicy::Jina,
        }
    }
}

impl AttemptError {
    /// Whether the Executor may have run the call.
    pub(super) const fn may_have_run(&self) -> bool {
        match self.retry {
            Retry::Safe | Retry::Throttled => false,
            Retry::Never | Retry::JinaOnly => true,
        }
    }

    /// Whether no answer came in time.
    pub(super) const fn has_timed_out(&self) -> bool {
        matches!(self.failure, CallFailure::TimedOut)
    }

    pub(super) fn new(failure: CallFailure, detail: String) -> Self {
        Self {
            failure,
            detail,
            trailers: Box::default(),
            retry: Retry::Never,
            retry_after: None,
            replica: ReplicaState::Unknown,
            cause: None,
        }
    }

    /// The attempt took longer than `timeout_send`, or than the request's deadline allows.
    pub(super) fn timed_out() -> Self {
        Self::new(CallFailure::TimedOut, TIMED_OUT.to_owned())
    }

    /// Returns the error of the call whose last attempt this was.
    pub(super) fn into_call_error(
        self,
        deployment: &str,
        addresses: Vec<String>,
        show_addresses: bool,
    ) -> CallError {
        CallError {
            may_have_run: self.may_have_run(),
            deployment: deployment.to_owned(),
            addresses: addresses.into(),
            show_addresses,
            failure: self.failure,
            source: self.cause,
            peer_detail: self.detail,
            trailers: self.trailers,
            retry_after: self
                .retry_after
                .and_then(|after| NonZeroU32::new(u32::try_from(after.as_secs()).ok()?)),
        }
    }
}

impl Retryable for AttemptError {
    fn is_retryable(&self) -> bool {
        self.retry.is_allowed(RetryPolicy::Safe)
    }

    fn is_throttled(&self) -> bool {
        self.retry == Retry::Throttled
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Writes the attempt's error for the log.
impl fmt::Display for AttemptError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.failure)?;
        if !self.detail.is_empty() {
            write!(formatter, ": {}", self.detail)?;
        }
        match &self.cause {
            Some(cause) => write!(formatter, ": {}", with_causes(cause)),
            None => Ok(()),
        }
    }
}
