//! Waits after an answer for work that the handlers have started, before Lambda freezes the process.

use std::time::{Duration, SystemTime};

use flowgate_proto::limits::MAX_FUNCTION_TIMEOUT;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    after_answer::{AfterAnswer, InvocationHold, MARGIN},
    settings::FunctionSettings,
};
use crate::{Service, inbound::invoke::invocation_end};

/// The background work of a function. A default one has none.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Background {
    /// `None` if nothing has to be waited for.
    work: Option<TaskTracker>,
    after_answer: AfterAnswer,
}

/// An invocation that background work may outlive.
#[derive(Debug)]
pub(super) struct Running {
    hold: InvocationHold,
    end: Option<SystemTime>,
}

impl Background {
    /// Prepares the waiting for work of `service`. It must be called before the first invocation is asked for.
    pub(super) async fn of(service: &Service, settings: &FunctionSettings) -> Self {
        if settings.max_concurrency > 1 {
            // On Managed Instances nothing is frozen (AWS Lambda, Managed Instances).
            return Self::default();
        }
        Self {
            work: Some(service.background()),
            after_answer: match service.has_background_work() {
                true => AfterAnswer::register().await,
                false => AfterAnswer::default(),
            },
        }
    }

    /// Begins an invocation.
    pub(super) fn begin(&self, context: &lambda_runtime::Context) -> Running {
        Running {
            hold: self.after_answer.hold(&context.request_id),
            end: invocation_end(context.deadline),
        }
    }

    /// Ends an invocation that has been answered, once nothing that runs any longer keeps Lambda from freezing the process.
    pub(super) async fn end(&self, Running { hold, end }: Running) {
        let Some(work) = self.work.clone().filter(|work| !work.is_empty()) else {
            return;
        };
        if self.after_answer.is_enabled() {
            hold.release_after(async move { work.wait().await });
            return;
        }
        // Lambda freezes the process at the request for the next invocation, which follows (AWS Lambda, Runtime API).
        let remaining = end.and_then(|end| end.duration_since(SystemTime::now()).ok());
        let limit = remaining.unwrap_or(MAX_FUNCTION_TIMEOUT);
        if timeout(limit.saturating_sub(MARGIN), work.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "background work is unfinished at the function's timeout and goes on in the next invocation"
            );
        }
    }

    /// Waits until no work runs, at most for `limit`. Returns whether none runs.
    pub(super) async fn drain(&self, limit: Duration) -> bool {
        match &self.work {
            Some(work) => timeout(limit, work.wait()).await.is_ok(),
            None => true,
        }
    }
}
