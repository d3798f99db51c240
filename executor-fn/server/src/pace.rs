//! Measures whether a client sends its request, or takes its response, fast enough.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// The least that a client must transfer while the server waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes for each second of waiting; with 0, one byte in each period is enough.
    pub bytes_per_second: u64,
    /// How long the server waits before it applies the rate: a pause of a mobile network must not end a request.
    pub period: Duration,
}

impl MinRate {
    /// A rate that every client keeps, however long it pauses.
    pub const NONE: Self = Self {
        bytes_per_second: 0,
        period: Duration::from_secs(u32::MAX as u64),
    };

    /// The bytes that must be transferred within one period of waiting: at least one.
    #[must_use]
    pub fn bytes(self) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * self.period.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
    }

    /// The error for a client that is slower.
    pub(crate) fn error(self) -> io::Error {
        let Self {
            bytes_per_second,
            period,
        } = self;
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "the client is slower than {bytes_per_second} bytes per second over {period:?}"
            ),
        )
    }
}

/// How a transfer compares with a [`MinRate`]. Counts only the time in which the server waits for the client.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: MinRate,
    /// Bytes since the present period began.
    bytes: u64,
    /// The waiting time of the present period, without the wait under way.
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub(crate) const fn new(rate: MinRate) -> Self {
        Self {
            rate,
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    pub(crate) const fn rate(&self) -> MinRate {
        self.rate
    }

    /// Begins a wait for the client, unless one is under way.
    pub(crate) fn wait(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// Ends the wait, if any, and counts the bytes. A new period begins when enough bytes have been transferred.
    pub(crate) fn progress(&mut self, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.bytes >= self.rate.bytes() {
            self.reset();
        }
    }

    /// Forgets everything: the next transfer begins.
    pub(crate) const fn reset(&mut self) {
        *self = Self::new(self.rate);
    }

    /// Returns when the client is too slow if the present wait goes on until then; `None` if the server does not wait.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let left = self.rate.period.saturating_sub(self.waited);
        self.waiting_since.map(|since| since + left)
    }
}

/// Waits for a client no longer than a [`MinRate`] allows.
#[derive(Debug)]
pub struct PaceLimit {
    pace: Pace,
    /// Made when the client must be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl PaceLimit {
    /// A limit for a transfer that begins; `None` if the rate allows everything.
    #[must_use]
    pub fn new(rate: MinRate) -> Option<Self> {
        let pace = Pace::new(rate);
        let timer = None;
        (rate != MinRate::NONE).then_some(Self { pace, timer })
    }

    /// Ends the wait, if any, and counts the bytes.
    pub fn progress(&mut self, bytes: usize) {
        // If the deadline has passed without an error, the server did other work and did not wait.
        let deadline = self.pace.deadline();
        if deadline.is_some_and(|deadline| deadline < Instant::now()) {
            self.pace.reset();
        }
        self.pace.progress(bytes);
    }

    /// Forgets everything: the next transfer begins.
    pub const fn reset(&mut self) {
        self.pace.reset();
    }

    /// Waits for the client. Completes when it has been too slow.
    pub fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<MinRate> {
        self.pace.wait();
        let deadline = self.pace.deadline().unwrap_or_else(Instant::now);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx).map(|()| self.pace.rate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinRate = MinRate {
        bytes_per_second: 100,
        period: Duration::from_secs(10),
    };

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts() {
        let mut pace = Pace::new(RATE);
        assert_eq!(pace.deadline(), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.wait();
        assert_eq!(pace.deadline(), Some(Instant::now() + RATE.period));
        tokio::time::advance(Duration::from_secs(4)).await;
        pace.progress(999);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.deadline(), None);
        pace.wait();
        assert_eq!(
            pace.deadline(),
            Some(Instant::now() + Duration::from_secs(6))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn enough_bytes_begin_a_new_period() {
        let mut pace = Pace::new(RATE);
        pace.wait();
        tokio::time::advance(Duration::from_secs(9)).await;
        pace.progress(1000);
        pace.wait();
        assert_eq!(pace.deadline(), Some(Instant::now() + RATE.period));
    }

    #[test]
    fn at_least_one_byte_is_required() {
        let rate = |bytes_per_second| MinRate {
            bytes_per_second,
            ..RATE
        };
        assert_eq!(rate(0).bytes(), 1);
        assert_eq!(rate(100).bytes(), 1000);
        assert_eq!(rate(u64::MAX).bytes(), u64::MAX);
    }
}
