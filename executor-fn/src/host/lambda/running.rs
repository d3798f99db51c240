//! The invocations under way, and how long they are waited for when the function is to end.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::host::container::Ended;

/// The invocations under way; a clone counts the same ones.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct Running {
    invocations: TaskTracker,
    stopping: CancellationToken,
}

impl Running {
    /// Counts this as an invocation until it is done.
    pub(super) fn track<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.invocations.track_future(work)
    }

    /// Whether no further invocation is wanted.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Done when every invocation is answered, or when so much time is over. From now on the runtime's loop asks for
    /// no further one after an answer. What it has asked for already it does not take back: an invocation that comes
    /// then is waited for like the others while there are any, and is lost with the process otherwise. Lambda sends
    /// none between SIGTERM and the end.
    pub(in crate::host) async fn drained(&self, grace: Duration) -> Ended {
        self.stopping.cancel();
        self.invocations.close();
        match timeout(grace, self.invocations.wait()).await {
            Ok(()) => Ended::Drained,
            Err(_) => {
                tracing::warn!("invocations were still under way after {grace:?}");
                Ended::CutOff
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_is_waited_for_within_the_grace() {
        let grace = Duration::from_secs(1);
        for (length, ended) in [(900, Ended::Drained), (1100, Ended::CutOff)] {
            let running = Running::default();
            let work = running.track(tokio::time::sleep(Duration::from_millis(length)));
            let (drained, ()) = tokio::join!(running.drained(grace), work);
            assert_eq!(drained, ended);
        }
        let running = Running::default();
        assert_eq!(running.drained(Duration::ZERO).await, Ended::Drained);
    }
}
