//! A direct Lambda invocation: the text of a payload, to the text of its answer or a function error.
//! `proto/INVOKE.md` describes both. Nothing here knows Lambda's runtime.

mod callee;
mod fault;
mod payload;
mod reply;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flowgate_proto::invoke::{FunctionError, FunctionErrorKind};
use tokio::{task::JoinError, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::payload::Asked;

pub use self::{callee::Callee, fault::fault};

/// What bounds one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the requests in a payload when they are decompressed.
    pub body_bytes: usize,
    /// How long before the function's own end its answer is given up, so that it can still be told.
    pub margin: Duration,
}

/// A function: what answers, within limits. A clone is the same function.
#[derive(Clone, Debug)]
pub struct Function<C> {
    callee: C,
    limits: Limits,
}

impl<C: Callee> Function<C> {
    /// A function that hands its calls to `callee`.
    pub const fn new(callee: C, limits: Limits) -> Self {
        Self { callee, limits }
    }

    /// Answers one invocation; `end` is when its host stops the function.
    ///
    /// # Errors
    /// A payload that cannot be read, an answer that is too large, time that is over, a panic, an Executor
    /// that is not there. The Executor's own error is an answer.
    pub async fn answer(
        &self,
        payload: Bytes,
        end: Option<SystemTime>,
    ) -> Result<String, FunctionError> {
        let asked = Asked::read(&payload, self.limits.body_bytes)?;
        // As large as what was read from it.
        drop(payload);
        let limit = Until::of(end, self.limits.margin, asked.deadline);
        if limit.is_over() {
            return Err(limit.fault());
        }
        let span = tracing::info_span!(
            "call",
            call = asked.name(),
            traceparent = asked.trace.get("traceparent"),
            tracestate = asked.trace.get("tracestate"),
        );
        let callee = self.callee.clone();
        // A task of its own: its panic ends nothing else, and work that never yields holds up no timer.
        let work = tokio::spawn(async move { asked.answer(&callee).await }.instrument(span));
        let work = AbortOnDropHandle::new(work);
        match limit.over(work).await {
            Some(done) => done.unwrap_or_else(|ended| Err(panicked(ended))),
            None => Err(self.callee.absence().unwrap_or_else(|| limit.fault())),
        }
    }
}

fn panicked(ended: JoinError) -> FunctionError {
    let text = match ended.try_into_panic() {
        Ok(payload) => crate::Error::panicked(payload.as_ref()).to_string(),
        Err(cancelled) => cancelled.to_string(),
    };
    fault(FunctionErrorKind::Panic, text)
}

/// When work stops, and on whose account.
enum Until {
    Never,
    /// Lambda would end the function.
    Function(Instant),
    /// Nobody waits for the answer any more.
    Caller(Instant),
}

impl Until {
    fn of(end: Option<SystemTime>, margin: Duration, deadline: Option<u64>) -> Self {
        let now = (SystemTime::now(), Instant::now());
        let function = end.map(|end| {
            let left = end.duration_since(now.0).unwrap_or_default();
            // A function of little time has some of it all the same.
            left - margin.min(left / 2)
        });
        let caller = deadline.map(|deadline| {
            let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline));
            deadline.map_or(Duration::MAX, |deadline| {
                deadline.duration_since(now.0).unwrap_or_default()
            })
        });
        let (left, which): (_, fn(Instant) -> Self) = match (function, caller) {
            (Some(function), Some(caller)) if caller < function => (caller, Self::Caller),
            (Some(function), _) => (function, Self::Function),
            (None, Some(caller)) => (caller, Self::Caller),
            (None, None) => return Self::Never,
        };
        // Beyond what a clock holds there is no end.
        now.1.checked_add(left).map_or(Self::Never, which)
    }

    async fn over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Never => Some(work.await),
            Self::Function(end) | Self::Caller(end) => {
                tokio::time::timeout_at(*end, work).await.ok()
            }
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Function(end) | Self::Caller(end) => *end <= Instant::now(),
        }
    }

    fn fault(&self) -> FunctionError {
        let text = match self {
            Self::Caller(_) => "the caller's deadline passed before there was an answer",
            Self::Function(_) | Self::Never => {
                "the function's own time was nearly over before there was an answer"
            }
        };
        fault(FunctionErrorKind::OutOfTime, text)
    }
}

#[cfg(test)]
mod tests;
