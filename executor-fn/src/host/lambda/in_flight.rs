//! Counts the invocations in flight, and waits for them when the function stops.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::host::shutdown::Shutdown;

/// The invocations in flight. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(in crate::host) struct InFlight {
    invocations: TaskTracker,
    draining: CancellationToken,
}

impl InFlight {
    /// Counts `invocation` until it is done.
    pub(super) fn track<F: Future>(
        &self,
        invocation: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.invocations.track_future(invocation)
    }

    /// Whether [`drain`](Self::drain) has been called: no further invocation is wanted.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until every invocation is answered, at most for `limit`. From now on the runtime's loop asks for no further
    /// invocation after an answer. A request for the next invocation that is already open stays open: an invocation
    /// that it brings is waited for while others are in flight, and is lost with the process otherwise. Lambda sends none
    /// after SIGTERM.
    pub(in crate::host) async fn drain(&self, limit: Duration) -> Shutdown {
        self.draining.cancel();
        self.invocations.close();
        match timeout(limit, self.invocations.wait()).await {
            Ok(()) => Shutdown::Drained,
            Err(_) => {
                tracing::warn!(timeout = ?limit, "invocations in flight at the end of the drain timeout");
                Shutdown::TimedOut
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_invocations_up_to_its_limit() {
        let limit = Duration::from_secs(1);
        for (length, expected) in [(900, Shutdown::Drained), (1100, Shutdown::TimedOut)] {
            let in_flight = InFlight::default();
            let invocation = in_flight.track(tokio::time::sleep(Duration::from_millis(length)));
            let (shutdown, ()) = tokio::join!(in_flight.drain(limit), invocation);
            assert_eq!(shutdown, expected);
        }
        let idle = InFlight::default();
        assert_eq!(idle.drain(Duration::ZERO).await, Shutdown::Drained);
    }
}
