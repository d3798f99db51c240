//! The limits of Lambda and of API Gateway -> until when a message is worked on, and until when its answer can be sent.

use std::time::Duration;

use flowgate_config::FunctionConfig;
use flowgate_proto::limits;
use tokio::time::Instant;

use crate::host::lambda::deadline::end_of;

/// Until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// There has to be an answer, or an error for one.
    pub(super) work: Instant,
    /// What goes by `@connections` has to be sent: that does not end when API Gateway waits no more.
    pub(super) end: Instant,
}

impl Time {
    /// For an invocation, and an event whose answer has to be there by `deadline`, before API Gateway gives up on it.
    ///
    /// Before Lambda's end the margin grows with the parts that an answer may have. Of a short time at least half is for
    /// the Flow.
    pub(super) fn of(
        lambda: &lambda_runtime::Context,
        deadline: Option<Instant>,
        settings: &FunctionConfig,
    ) -> Self {
        let now = Instant::now();
        let end = end_of(lambda).unwrap_or(now + limits::FUNCTION_TIMEOUT);
        let before = |end: Instant, margin: Duration| {
            let left = end.saturating_duration_since(now);
            now + (left - margin.min(left / 2))
        };
        let parts = u32::try_from(settings.websocket.max_parts).unwrap_or(u32::MAX);
        let margin = settings.answer_margin;
        let work = before(end, margin.saturating_add(PART_TIME.saturating_mul(parts)));
        Self {
            work: deadline.map_or(work, |deadline| deadline.min(work)),
            end: before(end, margin / 2),
        }
    }
}

/// One call of `@connections` within a region.
const PART_TIME: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::{super::tests::lambda, *};

    const SECOND: Duration = Duration::from_secs(1);

    /// Milliseconds for the work and until the end.
    fn left(
        lambda_has: Duration,
        deadline: Option<Duration>,
        settings: &FunctionConfig,
    ) -> [u128; 2] {
        let now = Instant::now();
        let deadline = deadline.map(|deadline| now + deadline);
        let time = Time::of(&lambda(lambda_has), deadline, settings);
        [time.work, time.end].map(|then| (then - now).as_millis().div_ceil(10) * 10)
    }

    #[tokio::test(start_paused = true)]
    async fn the_margin_before_lambdas_end_grows_with_the_parts() {
        let mut settings = FunctionConfig {
            answer_margin: SECOND,
            ..FunctionConfig::default()
        };
        settings.websocket.max_parts = 50;
        let long = 60 * SECOND;
        assert_eq!(left(long, None, &settings), [58_500, 59_500]);
        assert_eq!(left(long, Some(28 * SECOND), &settings), [28_000, 59_500]);
        assert_eq!(left(10 * SECOND, Some(long), &settings), [8_500, 9_500]);
        assert_eq!(left(SECOND, None, &settings), [500, 500], "half of it");
    }
}
