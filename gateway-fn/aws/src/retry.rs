//! Retries failed AWS calls with full jitter, within the time that remains.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// The first pause is chosen at random between zero and this, each following one between zero and twice the bound before
/// (AWS Architecture Blog, "Exponential Backoff And Jitter": full jitter).
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The remaining attempts of one call.
#[derive(Debug)]
pub struct Retries {
    attempts: usize,
    /// The bound of the next pause.
    pause: Duration,
    max_pause: Duration,
    /// How long throttled attempts are repeated without being counted.
    throttling: Option<Throttling>,
}

#[derive(Debug)]
struct Throttling {
    attempts: usize,
    end: Option<Instant>,
}

/// Bounds the throttled attempts where the pauses are short by a setting. With the default of 5 s some ten fit into 29 s.
const MAX_THROTTLED_ATTEMPTS: usize = 100;

/// A failed attempt.
pub trait Retryable {
    /// Whether another attempt may succeed and does no harm.
    fn is_retryable(&self) -> bool;

    /// Whether it failed because of too many requests, or of something that is not ready yet: it succeeds later.
    fn is_throttled(&self) -> bool {
        false
    }

    /// How long AWS asks to wait before the next attempt (`Retry-After`).
    fn retry_after(&self) -> Option<Duration>;
}

impl Retries {
    /// Allows `attempts` in all, with pauses of at most `max_pause` between them.
    pub fn new(attempts: usize, max_pause: Duration) -> Self {
        Self {
            attempts,
            pause: FIRST_PAUSE.min(max_pause),
            max_pause,
            throttling: None,
        }
    }

    /// Repeats throttled attempts for this long instead of counting them.
    pub fn waiting_out_throttling(mut self, limit: Duration) -> Self {
        self.throttling = Some(Throttling {
            attempts: MAX_THROTTLED_ATTEMPTS,
            end: Instant::now().checked_add(limit),
        });
        self
    }

    /// Waits before the next attempt, or returns the error if there should be none. `remaining` is the time until the
    /// deadline.
    ///
    /// # Errors
    /// When there should be no further attempt.
    pub async fn wait_after<E: Retryable>(
        &mut self,
        error: E,
        remaining: Option<Duration>,
    ) -> Result<(), E> {
        match self.pause_after(&error, remaining) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }

    fn pause_after(
        &mut self,
        error: &impl Retryable,
        remaining: Option<Duration>,
    ) -> Option<Duration> {
        let throttling = self.throttling.as_mut().filter(|_| error.is_throttled());
        let end = throttling.as_ref().and_then(|throttling| throttling.end);
        let attempts = throttling.map_or(&mut self.attempts, |throttling| &mut throttling.attempts);
        *attempts = attempts.saturating_sub(1);
        if *attempts == 0 || !error.is_retryable() {
            return None;
        }
        let pause = random_up_to(self.pause).max(error.retry_after().unwrap_or_default());
        self.pause = self.pause.saturating_mul(2).min(self.max_pause);
        // If AWS asks for a longer pause, the client gets the error and decides what to do meanwhile.
        let fits = pause <= self.max_pause
            && remaining.is_none_or(|remaining| pause < remaining)
            && end.is_none_or(|end| pause < end.saturating_duration_since(Instant::now()));
        fits.then_some(pause)
    }
}

fn random_up_to(max: Duration) -> Duration {
    // The keys of the standard library's hash maps are random, which is good enough to spread retries.
    let random = RandomState::new().hash_one(());
    let max = u64::try_from(max.as_micros()).unwrap_or(u64::MAX - 1);
    Duration::from_micros(random % (max + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_PAUSE: Duration = Duration::from_secs(1);

    /// Whether it is retryable, and the seconds in `Retry-After`.
    struct Failed(bool, Option<u64>);

    impl Retryable for Failed {
        fn is_retryable(&self) -> bool {
            self.0
        }

        fn retry_after(&self) -> Option<Duration> {
            self.1.map(Duration::from_secs)
        }
    }

    const THROTTLED: Failed = Failed(true, None);

    #[test]
    fn pauses_grow_to_the_maximum_and_end_with_the_attempts() {
        let mut retries = Retries::new(20, MAX_PAUSE);
        let pauses: Vec<_> = std::iter::from_fn(|| retries.pause_after(&THROTTLED, None)).collect();
        assert_eq!(pauses.len(), 19, "one less than the attempts");
        assert!(pauses[0] <= FIRST_PAUSE);
        assert!(pauses.iter().all(|pause| *pause <= MAX_PAUSE));
        assert!(pauses.iter().any(|pause| *pause > FIRST_PAUSE));
    }

    #[test]
    fn a_retry_after_of_aws_is_respected() {
        let pause = |seconds, remaining| {
            let throttled = Failed(true, Some(seconds));
            Retries::new(2, MAX_PAUSE).pause_after(&throttled, remaining)
        };
        assert_eq!(pause(1, None), Some(MAX_PAUSE));
        assert_eq!(pause(2, None), None, "longer than the maximum");
        assert_eq!(pause(1, Some(MAX_PAUSE)), None, "no time remains after it");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_is_waited_out_for_its_share_of_the_time() {
        /// An attempt that AWS throttled.
        struct Throttled;

        impl Retryable for Throttled {
            fn is_retryable(&self) -> bool {
                true
            }

            fn is_throttled(&self) -> bool {
                true
            }

            fn retry_after(&self) -> Option<Duration> {
                None
            }
        }
        let limit = Duration::from_secs(20);
        let mut retries = Retries::new(4, MAX_PAUSE).waiting_out_throttling(limit);
        let start = Instant::now();
        let mut attempts = 1;
        while retries.wait_after(Throttled, None).await.is_ok() {
            attempts += 1;
        }
        assert!(attempts > 10, "{attempts}");
        let waited = start.elapsed();
        assert!(
            waited < limit && waited > limit - 2 * MAX_PAUSE,
            "{waited:?}"
        );
        // Other errors are still counted.
        let mut pauses = std::iter::from_fn(|| retries.pause_after(&THROTTLED, None));
        assert_eq!(pauses.by_ref().count(), 3);
    }

    #[test]
    fn an_error_that_is_not_retryable_ends_the_retries() {
        assert_eq!(
            Retries::new(9, MAX_PAUSE).pause_after(&Failed(false, None), None),
            None
        );
    }
}
