//! Notices a client that does not read its answers.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How slowly a client may read its answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinPace {
    /// How long a client may be slower; not zero.
    pub(super) timeout: Duration,
    /// The least that it must read while answers wait.
    pub(super) bytes_per_second: usize,
}

/// Compares what a client reads in each period of the timeout with the least that it must read.
pub(super) struct Pace {
    min: MinPace,
    checks: Interval,
    /// Bytes that had been sent at the last check.
    sent: u64,
    /// Bytes that were waiting at the last check.
    waiting: u64,
}

impl Pace {
    pub(super) fn new(min: MinPace) -> Self {
        let mut checks = interval_at(Instant::now() + min.timeout, min.timeout);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            min,
            checks,
            sent: 0,
            waiting: 0,
        }
    }

    /// Waits until the next check. Dropping the future loses nothing.
    pub(super) async fn tick(&mut self) {
        self.checks.tick().await;
    }

    /// Returns whether the client has read too little since the last check: neither what was waiting then, nor what it must
    /// read in this time, which is at least one byte.
    pub(super) fn is_too_slow(&mut self, sent: u64, waiting: usize) -> bool {
        let rate = u64::try_from(self.min.bytes_per_second).unwrap_or(u64::MAX);
        let least = rate.saturating_mul(self.min.timeout.as_millis() as u64) / 1000;
        let read = sent - self.sent;
        let is_too_slow = waiting > 0 && read < self.waiting.min(least.max(1));
        self.sent = sent;
        self.waiting = waiting as u64;
        is_too_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(MinPace {
            timeout: Duration::from_secs(10),
            bytes_per_second: 100,
        })
    }

    #[tokio::test]
    async fn a_client_must_read_what_waited_or_its_least() {
        let mut pace = pace();
        // Nothing waited before the first check.
        assert!(!pace.is_too_slow(0, 5000));
        assert!(!pace.is_too_slow(1000, 4000));
        assert!(pace.is_too_slow(1999, 3001));
        // What waited has been read, and something else waits now.
        assert!(!pace.is_too_slow(5000, 50));
        assert!(!pace.is_too_slow(5050, 70));
        assert!(pace.is_too_slow(5119, 1));
        assert!(!pace.is_too_slow(5120, 0));
        assert!(!pace.is_too_slow(5120, 9));
    }
}
