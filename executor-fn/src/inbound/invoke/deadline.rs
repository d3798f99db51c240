//! The deadline of an invocation: the function's timeout or the caller's deadline, whichever is earlier.

use std::time::{Duration, SystemTime};

use flowgate_proto::invoke::{FunctionError, FunctionErrorKind};
use tokio::time::Instant;

use super::reply::function_error;

/// Returns when Lambda ends the function, from the milliseconds since 1970 of the Runtime API's
/// `Lambda-Runtime-Deadline-Ms`. `None` for a time in the past, in which a function cannot be invoked: `cargo lambda
/// watch` sends 600000, ten minutes after 1970.
#[must_use]
pub fn invocation_end(deadline_ms: u64) -> Option<SystemTime> {
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms))?;
    (end > SystemTime::now()).then_some(end)
}

/// When an invocation has to be answered, and who sets that limit.
pub(super) enum Deadline {
    /// No limit is known.
    Never,
    /// Lambda ends the function soon after.
    Function(Instant),
    /// The caller stops waiting.
    Caller(Instant),
}

impl Deadline {
    /// Returns the earlier of the function's `end` minus `margin` and of the caller's deadline, given in milliseconds
    /// since 1970.
    pub(super) fn earliest(
        end: Option<SystemTime>,
        margin: Duration,
        caller_deadline_ms: Option<u64>,
    ) -> Self {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let function = end.map(|end| {
            let remaining = end.duration_since(now).unwrap_or_default();
            // At least half of a short time goes to the handler.
            remaining - margin.min(remaining / 2)
        });
        let caller = caller_deadline_ms.map(|milliseconds| {
            let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds));
            end.map_or(Duration::MAX, |end| {
                end.duration_since(now).unwrap_or_default()
            })
        });
        let (remaining, deadline): (_, fn(Instant) -> Self) = match (function, caller) {
            (Some(function), Some(caller)) if caller < function => (caller, Self::Caller),
            (Some(function), _) => (function, Self::Function),
            (None, Some(caller)) => (caller, Self::Caller),
            (None, None) => return Self::Never,
        };
        // Without a deadline if the clock cannot represent that time.
        instant.checked_add(remaining).map_or(Self::Never, deadline)
    }

    /// Runs `work`; `None` when the deadline passes first.
    pub(super) async fn timeout<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Never => Some(work.await),
            Self::Function(end) | Self::Caller(end) => {
                tokio::time::timeout_at(*end, work).await.ok()
            }
        }
    }

    /// The end of the time for the handler, if there is one.
    pub(super) const fn instant(&self) -> Option<Instant> {
        match self {
            Self::Never => None,
            Self::Function(end) | Self::Caller(end) => Some(*end),
        }
    }

    pub(super) fn has_passed(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Function(end) | Self::Caller(end) => *end <= Instant::now(),
        }
    }

    /// The function error for an invocation that was not answered in time.
    pub(super) fn error(&self) -> FunctionError {
        let text = match self {
            Self::Caller(_) => "the caller's deadline passed before there was an answer",
            Self::Function(_) | Self::Never => {
                "the function's timeout was about to pass before there was an answer"
            }
        };
        function_error(FunctionErrorKind::OutOfTime, text)
    }
}
