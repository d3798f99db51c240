//! The limits of Lambda and of the front door -> the moment by which an answer has to be there.

use std::time::{Duration, SystemTime};

use flowgate_config::FunctionConfig;
use flowgate_proto::limits::{
    ALB_TIMEOUT, FUNCTION_TIMEOUT, HTTP_API_TIMEOUT, REST_API_TIMEOUT, WEBSOCKET_TIMEOUT,
};
use tokio::time::Instant;

use super::{event::Sender, since_1970};

/// When the answer has to be there, and when nobody waits for one any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// For the Flow: what it has not done by then gets a 504 that names the Executor.
    pub(super) answer: Instant,
    /// For what does not keep to the first.
    pub(super) last: Instant,
    /// When Lambda ends the invocation, less the margin: until then goes on what nobody waits for.
    pub(super) end: Instant,
}

impl Deadline {
    /// `arrived` is when the front door took the request, as it says.
    pub(super) fn of(
        sender: Sender,
        settings: &FunctionConfig,
        lambda: &lambda_runtime::Context,
        arrived: Option<SystemTime>,
    ) -> Self {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let end = end_of(lambda).unwrap_or(now + FUNCTION_TIMEOUT);
        let mut left = end.saturating_duration_since(now);
        // Of a short time at least half is for the Flow.
        let margin = |left: Duration| settings.answer_margin.min(left / 2);
        let end = now + (left - margin(left));
        if let Some(limit) = patience(sender, settings) {
            left = left.min(limit.saturating_sub(waited(arrived, wall, limit)));
        }
        let margin = margin(left);
        Self {
            answer: now + (left - margin),
            last: now + (left - margin / 2),
            end,
        }
    }

    /// Nobody waits longer than this either: a Gateway that invokes this one knows how long somebody waits. The answer
    /// has to be there before it stops waiting, and of a short time three quarters are for the Flow.
    pub(super) fn at_most(&mut self, end: Instant, settings: &FunctionConfig) {
        let now = Instant::now();
        let left = end.saturating_duration_since(now);
        let margin = settings.answer_margin.min(left / 4);
        self.answer = self.answer.min(now + (left - margin));
        self.last = self.last.min(now + (left - margin / 2));
    }
}

/// When Lambda ends this invocation. A time that has passed is an emulator's, `cargo lambda watch` says 600000 ms after
/// 1970: such an invocation has no end that is known. A clock that says more than a function may take is wrong.
pub(super) fn end_of(lambda: &lambda_runtime::Context) -> Option<Instant> {
    let end = since_1970(lambda.deadline)?;
    let left = end.duration_since(SystemTime::now()).ok()?;
    Some(Instant::now() + left.min(FUNCTION_TIMEOUT))
}

/// How long the front door waits, as it is set or by default. A function URL waits as long as the function may run, and
/// so does who invokes it.
fn patience(sender: Sender, settings: &FunctionConfig) -> Option<Duration> {
    let set = settings.front_door_timeout;
    let most = match sender {
        Sender::HttpApi | Sender::HttpApi1 => HTTP_API_TIMEOUT,
        Sender::RestApi => REST_API_TIMEOUT,
        Sender::LoadBalancer => ALB_TIMEOUT,
        // This quota cannot be raised (API Gateway quotas, WebSocket APIs).
        Sender::WebSocketApi => {
            return Some(WEBSOCKET_TIMEOUT.min(set.unwrap_or(WEBSOCKET_TIMEOUT)));
        }
        Sender::FunctionUrl { .. } | Sender::Push | Sender::Invocation | Sender::Json => {
            return None;
        }
    };
    Some(set.unwrap_or(most))
}

/// What a cold start and the way here have taken of the front door's patience. Clocks differ, and an event may be an
/// old one that is sent again by hand: what cannot be is not counted.
fn waited(arrived: Option<SystemTime>, now: SystemTime, limit: Duration) -> Duration {
    let waited = arrived.and_then(|arrived| now.duration_since(arrived).ok());
    waited.filter(|waited| *waited < limit).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn left(
        sender: Sender,
        settings: &FunctionConfig,
        lambda: Duration,
        ago: Duration,
    ) -> Duration {
        let wall = SystemTime::now();
        let end = (wall + lambda)
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let end = u64::try_from(end.as_millis()).expect("in time");
        let deadline = Deadline::of(sender, settings, &context(end), Some(wall - ago));
        assert!(deadline.answer <= deadline.last);
        deadline.answer - Instant::now()
    }

    fn context(deadline: u64) -> lambda_runtime::Context {
        let mut context = lambda_runtime::Context::default();
        context.deadline = deadline;
        context
    }

    #[track_caller]
    fn about(found: Duration, expected: Duration) {
        let difference = found.abs_diff(expected);
        assert!(
            difference < Duration::from_millis(100),
            "{found:?}, not {expected:?}"
        );
    }

    #[tokio::test]
    async fn the_shorter_of_both_ends_counts_and_the_margin_is_kept() {
        let settings = FunctionConfig::default();
        let of = |sender, lambda, ago| left(sender, &settings, lambda, ago);
        let margin = settings.answer_margin;
        let (none, long) = (Duration::ZERO, 600 * SECOND);
        about(of(Sender::HttpApi, long, none), 30 * SECOND - margin);
        about(of(Sender::RestApi, long, none), 29 * SECOND - margin);
        about(of(Sender::LoadBalancer, long, none), 60 * SECOND - margin);
        about(of(Sender::HttpApi, 3 * SECOND, none), 3 * SECOND - margin);
        about(of(Sender::Json, long, none), long - margin);
        about(of(Sender::HttpApi, long, 4 * SECOND), 26 * SECOND - margin);
        about(of(Sender::HttpApi, long, long), 30 * SECOND - margin);
        about(of(Sender::HttpApi, SECOND / 2, none), SECOND / 4);
    }

    /// `cargo lambda watch` says so.
    #[tokio::test]
    async fn an_end_that_has_passed_is_unknown() {
        let emulators = context(600_000);
        assert_eq!(end_of(&emulators), None);
        let settings = FunctionConfig::default();
        let left = |sender| {
            let deadline = Deadline::of(sender, &settings, &emulators, None);
            deadline.answer - Instant::now()
        };
        let margin = settings.answer_margin;
        about(left(Sender::HttpApi), 30 * SECOND - margin);
        about(left(Sender::Json), FUNCTION_TIMEOUT - margin);
    }

    #[tokio::test]
    async fn a_raised_quota_counts() {
        let settings = FunctionConfig {
            front_door_timeout: Some(120 * SECOND),
            ..FunctionConfig::default()
        };
        let left = |sender| left(sender, &settings, 600 * SECOND, Duration::ZERO);
        let margin = settings.answer_margin;
        about(left(Sender::RestApi), 120 * SECOND - margin);
        about(left(Sender::WebSocketApi), 29 * SECOND - margin);
        let url = Sender::FunctionUrl { authorized: true };
        about(left(url), 600 * SECOND - margin);
    }
}
