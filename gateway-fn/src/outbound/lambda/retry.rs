//! How often a failed try is repeated, and how long to wait before: full jitter, within the request's time.

use std::time::Duration;

use super::refusal::Refusal;

/// The first pause is drawn from up to here, each following one from up to twice as much (AWS Architecture Blog,
/// "Exponential Backoff And Jitter": full jitter).
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The tries of one invocation.
#[derive(Debug)]
pub(super) struct Retries {
    left: usize,
    pause: Duration,
    longest: Duration,
}

impl Retries {
    pub(super) fn new(tries: usize, longest: Duration) -> Self {
        Self {
            left: tries,
            pause: FIRST_PAUSE.min(longest),
            longest,
        }
    }

    /// How long to wait before the next try; `None` when there is to be none. `time` is what is left for the request.
    pub(super) fn pause_after(
        &mut self,
        refusal: &Refusal,
        time: Option<Duration>,
    ) -> Option<Duration> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || !refusal.is_retryable() {
            return None;
        }
        let pause = jitter(self.pause).max(refusal.retry_after.unwrap_or_default());
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
    use crate::outbound::lambda::InvokeFault;

    const LONGEST: Duration = Duration::from_secs(1);

    fn throttled() -> Refusal {
        InvokeFault::Throttled.into()
    }

    #[test]
    fn pauses_grow_to_the_longest_and_end_with_the_tries() {
        let mut retries = Retries::new(20, LONGEST);
        let pauses: Vec<_> =
            std::iter::from_fn(|| retries.pause_after(&throttled(), None)).collect();
        assert_eq!(pauses.len(), 19, "one less than the tries");
        assert!(pauses[0] <= FIRST_PAUSE);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause > FIRST_PAUSE));
    }

    #[test]
    fn lambda_says_how_long_to_wait() {
        let asked = |seconds| Refusal {
            retry_after: Some(Duration::from_secs(seconds)),
            ..throttled()
        };
        let pause = |refusal, time| Retries::new(2, LONGEST).pause_after(&refusal, time);
        assert_eq!(pause(asked(1), None), Some(LONGEST));
        assert_eq!(pause(asked(2), None), None, "longer than the longest");
        assert_eq!(
            pause(asked(1), Some(LONGEST)),
            None,
            "no time left after it"
        );
    }

    #[test]
    fn only_what_did_not_run_is_tried_again() {
        let pause = |refusal: Refusal| Retries::new(9, LONGEST).pause_after(&refusal, None);
        assert!(pause(InvokeFault::Service { status: 500 }.into()).is_some());
        assert!(pause(InvokeFault::Unreachable.into()).is_some());
        assert!(pause(InvokeFault::Panicked.into()).is_none());
        assert!(pause(InvokeFault::Broken.into()).is_none());
        assert!(pause(Refusal::timed_out()).is_none());
    }
}
