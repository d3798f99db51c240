//! What became of the requests that one host's call brought, for its metrics and its trace: off by default.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use flowgate_proto::Timestamp;

use crate::code::ErrorCode;

/// Keeps what became of requests, if it was made for that.
#[derive(Clone, Debug, Default)]
pub struct Record(Option<Arc<Mutex<Kept>>>);

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The visits to Executors, in the order in which they began.
    pub visits: Vec<Visit>,
    /// The failures, each with the Executor at which the request failed, if it was at one.
    pub failures: Vec<(ErrorCode, Option<String>)>,
}

/// One request at one Executor.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The Executor's name in the Flow.
    pub executor: String,
    /// When the request was sent to it.
    pub start: Timestamp,
    /// When its answer was there, or it was known that none would come; `None` for a call under way.
    pub end: Option<Timestamp>,
    /// Whether it answered with an error, or not at all.
    pub failed: bool,
}

/// A visit that has begun; `None` where nothing is kept of it.
#[derive(Debug)]
pub(crate) struct Begun(Option<usize>);

/// One stream may bring any number of requests; a metric of CloudWatch's takes 100 values at once.
const MOST: usize = 100;

impl Record {
    /// A record that keeps.
    #[must_use]
    pub fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// What has been kept so far.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.open().map_or_else(Kept::default, |kept| kept.clone())
    }

    /// The Executors that are being waited for.
    #[must_use]
    pub fn under_way(&self) -> Vec<String> {
        let kept = self.kept();
        let visits = kept.visits.into_iter();
        let under_way = visits.filter(|visit| visit.end.is_none());
        under_way.map(|visit| visit.executor).collect()
    }

    /// Notes that a request goes to an Executor.
    pub(crate) fn begin(&self, executor: &str) -> Begun {
        let Some(mut kept) = self.open().filter(|kept| kept.visits.len() < MOST) else {
            return Begun(None);
        };
        kept.visits.push(Visit {
            executor: executor.to_owned(),
            start: SystemTime::now().into(),
            end: None,
            failed: false,
        });
        Begun(Some(kept.visits.len() - 1))
    }

    /// Notes that the Executor has answered, or that it does not.
    pub(crate) fn end(&self, begun: &Begun, failed: bool) {
        let (Some(place), Some(mut kept)) = (begun.0, self.open()) else {
            return;
        };
        if let Some(visit) = kept.visits.get_mut(place) {
            visit.end = Some(SystemTime::now().into());
            visit.failed = failed;
        }
    }

    /// Notes that a request failed, and at which Executor if it was at one.
    pub(crate) fn note_failure(&self, code: ErrorCode, executor: Option<&str>) {
        let Some(mut kept) = self.open() else { return };
        if kept.failures.len() < MOST {
            kept.failures.push((code, executor.map(str::to_owned)));
        }
    }

    fn open(&self) -> Option<MutexGuard<'_, Kept>> {
        let kept = self.0.as_ref()?;
        Some(kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_kept_while_they_last_and_when_they_have_ended() {
        let record = Record::on();
        let (a, _b) = (record.begin("a"), record.begin("b"));
        record.end(&a, true);
        record.note_failure(ErrorCode::Internal, None);
        let kept = record.kept();
        assert!(kept.visits[0].failed && kept.visits[0].end.is_some());
        assert_eq!(record.under_way(), ["b"]);
        assert_eq!(kept.failures, [(ErrorCode::Internal, None)]);
    }

    #[test]
    fn a_stream_of_requests_fills_no_memory() {
        let record = Record::on();
        for _ in 0..=MOST {
            let begun = record.begin("a");
            record.end(&begun, false);
            record.note_failure(ErrorCode::Internal, None);
        }
        let kept = record.kept();
        assert_eq!((kept.visits.len(), kept.failures.len()), (MOST, MOST));
    }

    #[test]
    fn nothing_is_kept_unless_asked() {
        let record = Record::default();
        record.begin("a");
        assert!(record.kept().visits.is_empty());
    }
}
