//! Notices a client that does not read its answers, or does not send the rest of a message.

use flowgate_grpc::MinRate;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Compares what a client transfers in each period of the timeout with the least that it must transfer.
pub(super) struct Pace {
    min: MinRate,
    checks: Interval,
    /// Bytes that had been sent at the last check.
    sent: u64,
    /// Bytes that were waiting at the last check.
    waiting: u64,
    /// The bytes that had arrived at the last check of the message that is still arriving; `None` if another has ended since.
    partial: Option<usize>,
    /// Whether the session did not read from the client at some time since the last check.
    was_held_up: bool,
}

impl Pace {
    /// Requires this rate of the client, whose period must not be zero: while answers wait, and within a message.
    pub(super) fn new(min: MinRate) -> Self {
        let mut checks = interval_at(Instant::now() + min.period, min.period);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            min,
            checks,
            sent: 0,
            waiting: 0,
            partial: None,
            was_held_up: false,
        }
    }

    /// Waits until the next check. Dropping the future loses nothing.
    pub(super) async fn tick(&mut self) {
        self.checks.tick().await;
    }

    /// Returns whether the client has read too little since the last check: neither what was waiting then, nor what it must
    /// read in this time, which is at least one byte.
    pub(super) fn is_too_slow(&mut self, sent: u64, waiting: usize) -> bool {
        let read = sent - self.sent;
        let is_too_slow = waiting > 0 && read < self.waiting.min(self.min.bytes());
        self.sent = sent;
        self.waiting = waiting as u64;
        is_too_slow
    }

    /// Notes that a whole message has arrived.
    pub(super) fn note_message(&mut self) {
        self.partial = None;
    }

    /// Notes that the session does not read from the client, who can then send nothing.
    pub(super) fn note_held_up(&mut self) {
        self.was_held_up = true;
    }

    /// Returns whether the client has been within one message since the last check and has sent less of it than it must.
    /// `partial` bytes of the present message have arrived.
    pub(super) fn is_message_too_slow(&mut self, partial: Option<usize>) -> bool {
        let before = std::mem::replace(&mut self.partial, partial);
        let was_held_up = std::mem::take(&mut self.was_held_up);
        match (before, partial) {
            (Some(before), Some(now)) if !was_held_up => {
                (now.saturating_sub(before) as u64) < self.min.bytes()
            }
            _ => false,
        }
    }

    /// The error for a client that sends a message too slowly.
    pub(super) fn message_error(&self) -> String {
        let MinRate {
            period,
            bytes_per_second,
        } = self.min;
        format!(
            "a message arrives slower than {bytes_per_second} bytes per second (min_bytes_per_second) over {period:?}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pace() -> Pace {
        Pace::new(MinRate {
            period: Duration::from_secs(10),
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

    #[tokio::test]
    async fn a_client_must_send_its_least_within_a_message() {
        let mut pace = pace();
        assert!(!pace.is_message_too_slow(None));
        assert!(!pace.is_message_too_slow(Some(10)));
        assert!(!pace.is_message_too_slow(Some(1010)));
        assert!(pace.is_message_too_slow(Some(2009)));
        // Another message has begun.
        pace.note_message();
        assert!(!pace.is_message_too_slow(Some(2010)));
        pace.note_held_up();
        assert!(!pace.is_message_too_slow(Some(2010)));
        assert!(pace.is_message_too_slow(Some(2010)));
        assert!(!pace.is_message_too_slow(None));
    }
}
