//! How often a failed call of AWS is repeated, and how long to wait before: full jitter, within the time there is.

use std::time::Duration;

/// The first pause is drawn from up to here, each following one from up to twice as much (AWS Architecture Blog,
/// "Exponential Backoff And Jitter": full jitter).
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Retries {
    left: usize,
    pause: Duration,
    longest: Duration,
}

/// A try that failed.
pub(crate) trait Failed {
    /// Whether another try may do better, and cannot do harm.
    fn is_retryable(&self) -> bool;

    /// How long AWS asks to wait before the next try (`Retry-After`).
    fn retry_after(&self) -> Option<Duration>;
}

impl Retries {
    /// So many tries in all, with no pause longer than `longest` between them.
    pub(crate) fn new(tries: usize, longest: Duration) -> Self {
        Self {
            left: tries,
            pause: FIRST_PAUSE.min(longest),
            longest,
        }
    }

    /// Waits before the next try, or gives the failure back when there is to be none. `time` is what is left.
    ///
    /// # Errors
    /// When there is to be no further try.
    pub(crate) async fn wait_after<E: Failed>(
        &mut self,
        failed: E,
        time: Option<Duration>,
    ) -> Result<(), E> {
        match self.pause_after(&failed, time) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(failed),
        }
    }

    fn pause_after(&mut self, failed: &impl Failed, time: Option<Duration>) -> Option<Duration> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || !failed.is_retryable() {
            return None;
        }
        let pause = jitter(self.pause).max(failed.retry_after().unwrap_or_default());
        self.pause = self.pause.saturating_mul(2).min(self.longest);
        // Who is asked to wait longer than anybody would tells the client, who knows better what to do meanwhile.
        let fits = pause <= self.longest && time.is_none_or(|time| pause < time);
        fits.then_some(pause)
    }
}

/// Anything from nothing to `most`.
fn jitter(most: Duration) -> Duration {
    let micros = most.as_micros();
    let random = uuid::Uuid::new_v4().as_u128() % (micros + 1);
    Duration::from_micros(u64::try_from(random).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(1);

    /// Whether it is retryable, and the seconds that AWS asks for.
    struct Said(bool, Option<u64>);

    impl Failed for Said {
        fn is_retryable(&self) -> bool {
            self.0
        }

        fn retry_after(&self) -> Option<Duration> {
            self.1.map(Duration::from_secs)
        }
    }

    const THROTTLED: Said = Said(true, None);

    #[test]
    fn pauses_grow_to_the_longest_and_end_with_the_tries() {
        let mut retries = Retries::new(20, LONGEST);
        let pauses: Vec<_> = std::iter::from_fn(|| retries.pause_after(&THROTTLED, None)).collect();
        assert_eq!(pauses.len(), 19, "one less than the tries");
        assert!(pauses[0] <= FIRST_PAUSE);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause > FIRST_PAUSE));
    }

    #[test]
    fn aws_says_how_long_to_wait() {
        let pause =
            |seconds, time| Retries::new(2, LONGEST).pause_after(&Said(true, Some(seconds)), time);
        assert_eq!(pause(1, None), Some(LONGEST));
        assert_eq!(pause(2, None), None, "longer than the longest");
        assert_eq!(pause(1, Some(LONGEST)), None, "no time left after it");
    }

    #[test]
    fn what_another_try_does_not_change_is_not_tried_again() {
        assert_eq!(
            Retries::new(9, LONGEST).pause_after(&Said(false, None), None),
            None
        );
    }
}
