//! Records what happened to the requests of one invocation, for its metrics and its trace. Off by default.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use flowgate_proto::Timestamp;

use crate::error::ErrorCode;

/// The record of an invocation's requests. Clones share it. A default one records nothing.
#[derive(Clone, Debug, Default)]
pub struct InvocationRecord(Option<Arc<Mutex<RecordSnapshot>>>);

/// What has been recorded up to a moment.
#[derive(Clone, Debug, Default)]
pub struct RecordSnapshot {
    /// The visits to Executors, in the order in which they began.
    pub visits: Vec<Visit>,
    /// The failed requests, each with the Executor at which it failed, if it failed at one.
    pub failures: Vec<(ErrorCode, Option<String>)>,
}

/// One request at one Executor.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The Executor's name in the Flow.
    pub executor: String,
    /// When the request was sent.
    pub start: Timestamp,
    /// When the answer came or the call failed; `None` while the call is running.
    pub end: Option<Timestamp>,
    /// Whether the Executor answered with an error, or the call failed.
    pub failed: bool,
}

/// Identifies a visit in its record; `None` if it was not recorded.
#[derive(Debug)]
pub(crate) struct VisitId(Option<usize>);

/// The number of visits and of failures that are recorded. A stream may bring any number of requests; a CloudWatch metric
/// takes 100 values at once.
const MAX_ENTRIES: usize = 100;

impl InvocationRecord {
    /// Returns a record that records.
    #[must_use]
    pub fn enabled() -> Self {
        Self(Some(Arc::default()))
    }

    /// Returns a copy of what has been recorded.
    #[must_use]
    pub fn snapshot(&self) -> RecordSnapshot {
        self.lock()
            .map_or_else(RecordSnapshot::default, |record| record.clone())
    }

    /// The names of the Executors whose answers have not come yet.
    #[must_use]
    pub fn pending_executors(&self) -> Vec<String> {
        let visits = self.snapshot().visits.into_iter();
        let pending = visits.filter(|visit| visit.end.is_none());
        pending.map(|visit| visit.executor).collect()
    }

    /// Records that a request is sent to an Executor.
    pub(crate) fn begin_visit(&self, executor: &str) -> VisitId {
        let Some(mut record) = self
            .lock()
            .filter(|record| record.visits.len() < MAX_ENTRIES)
        else {
            return VisitId(None);
        };
        record.visits.push(Visit {
            executor: executor.to_owned(),
            start: SystemTime::now().into(),
            end: None,
            failed: false,
        });
        VisitId(Some(record.visits.len() - 1))
    }

    /// Records that the Executor has answered, or that the call failed.
    pub(crate) fn end_visit(&self, id: &VisitId, failed: bool) {
        let (Some(index), Some(mut record)) = (id.0, self.lock()) else {
            return;
        };
        if let Some(visit) = record.visits.get_mut(index) {
            visit.end = Some(SystemTime::now().into());
            visit.failed = failed;
        }
    }

    /// Records that a request failed, and at which Executor if it failed at one.
    pub(crate) fn note_failure(&self, code: ErrorCode, executor: Option<&str>) {
        let Some(mut record) = self.lock() else {
            return;
        };
        if record.failures.len() < MAX_ENTRIES {
            record.failures.push((code, executor.map(str::to_owned)));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, RecordSnapshot>> {
        let record = self.0.as_ref()?;
        Some(record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_recorded_while_they_last_and_when_they_have_ended() {
        let record = InvocationRecord::enabled();
        let (a, _b) = (record.begin_visit("a"), record.begin_visit("b"));
        record.end_visit(&a, true);
        record.note_failure(ErrorCode::Internal, None);
        let snapshot = record.snapshot();
        assert!(snapshot.visits[0].failed && snapshot.visits[0].end.is_some());
        assert_eq!(record.pending_executors(), ["b"]);
        assert_eq!(snapshot.failures, [(ErrorCode::Internal, None)]);
    }

    #[test]
    fn a_stream_of_requests_does_not_fill_the_memory() {
        let record = InvocationRecord::enabled();
        for _ in 0..=MAX_ENTRIES {
            let visit = record.begin_visit("a");
            record.end_visit(&visit, false);
            record.note_failure(ErrorCode::Internal, None);
        }
        let snapshot = record.snapshot();
        assert_eq!(
            (snapshot.visits.len(), snapshot.failures.len()),
            (MAX_ENTRIES, MAX_ENTRIES)
        );
    }

    #[test]
    fn a_default_record_records_nothing() {
        let record = InvocationRecord::default();
        record.begin_visit("a");
        assert!(record.snapshot().visits.is_empty());
    }
}
