//! What became of the requests that one host's call brought, for its metrics and its trace: off by default.

use std::sync::{Arc, Mutex, PoisonError};

use flowgate_proto::{
    DataRequest, GATEWAY_ROUTE, Timestamp,
    jina::{RouteProto, status_proto::StatusCode},
};

use crate::error::{ErrorCode, GatewayError};

/// Keeps what became of requests, if it was made for that.
#[derive(Clone, Debug, Default)]
pub struct Record(Option<Arc<Mutex<Kept>>>);

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The visits to Executors whose answers came.
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
    /// When its answer was there; `None` for floating work under way.
    pub end: Option<Timestamp>,
    /// Whether it answered with an error.
    pub failed: bool,
}

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
        let Some(kept) = &self.0 else {
            return Kept::default();
        };
        kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a request ended.
    pub(crate) fn note(&self, outcome: &Result<DataRequest, GatewayError>) {
        let Some(kept) = &self.0 else {
            return;
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(answer) => {
                let room = MOST.saturating_sub(kept.visits.len());
                let visits = answer.routes.iter().filter_map(visit);
                kept.visits.extend(visits.take(room));
            }
            Err(error) if kept.failures.len() < MOST => {
                kept.failures
                    .push((error.code(), error.executor().map(str::to_owned)));
            }
            Err(_) => {}
        }
    }
}

fn visit(route: &RouteProto) -> Option<Visit> {
    let executor = Some(&route.executor).filter(|executor| *executor != GATEWAY_ROUTE)?;
    let code = route.status.as_ref().map(|status| status.code);
    Some(Visit {
        executor: executor.clone(),
        start: route.start_time?,
        end: route.end_time,
        failed: code == Some(StatusCode::Error.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(executors: &[&str]) -> DataRequest {
        let route = |executor: &&str| RouteProto {
            executor: (*executor).to_owned(),
            start_time: Some(Timestamp::default()),
            ..Default::default()
        };
        DataRequest {
            routes: executors.iter().map(route).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn executors_are_kept_and_the_gateway_is_not() {
        let record = Record::on();
        record.note(&Ok(answer(&["gateway", "a", "b"])));
        record.note(&Err(GatewayError::Internal));
        let kept = record.kept();
        let names: Vec<_> = kept
            .visits
            .iter()
            .map(|visit| visit.executor.as_str())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(kept.failures, [(ErrorCode::Internal, None)]);
    }

    #[test]
    fn a_stream_of_requests_fills_no_memory() {
        let record = Record::on();
        for _ in 0..MOST {
            record.note(&Ok(answer(&["a", "b"])));
            record.note(&Err(GatewayError::Internal));
            record.note(&Err(GatewayError::Internal));
        }
        let kept = record.kept();
        assert_eq!((kept.visits.len(), kept.failures.len()), (MOST, MOST));
    }

    #[test]
    fn nothing_is_kept_unless_asked() {
        let record = Record::default();
        record.note(&Ok(answer(&["a"])));
        assert!(record.kept().visits.is_empty());
    }
}
