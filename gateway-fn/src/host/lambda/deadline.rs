//! The deadlines of one invocation, derived from Lambda's own and from how long the front door waits.

use std::time::{Duration, SystemTime};

use executor_fn::invoke::invocation_end;
use flowgate_config::FunctionConfig;
use flowgate_proto::limits::{
    DEFAULT_ALB_IDLE_TIMEOUT, DEFAULT_VPC_LATTICE_IDLE_TIMEOUT, MAX_FUNCTION_TIMEOUT,
    MAX_HTTP_API_TIMEOUT, MAX_REST_API_TIMEOUT, MAX_WEBSOCKET_API_TIMEOUT,
};
use tokio::time::Instant;

use super::event::{EventSource, from_unix_millis};

/// The deadlines of one invocation. The margins before them come from `gateway.function.answer_margin`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// Until when the Flow must have answered. A request that is unfinished then gets a 504 with the Executor's name.
    pub(super) flow: Instant,
    /// Until when the response must be complete. The host cuts off a body that is still unfinished then.
    pub(super) response: Instant,
    /// Until when floating work must be done.
    pub(super) floating: Instant,
    /// Until when calls of `@connections` must be done. API Gateway may have stopped waiting for the response before.
    pub(super) connections: Instant,
    /// When Lambda stops the invocation.
    lambda: Instant,
    /// When the invocation began.
    start: Instant,
}

impl Deadline {
    /// `arrived` is when the front door received the request, according to the event.
    pub(super) fn new(
        source: EventSource,
        settings: &FunctionConfig,
        context: &lambda_http::Context,
        arrived: Option<SystemTime>,
    ) -> Self {
        let (start, wall_clock) = (Instant::now(), SystemTime::now());
        let lambda = lambda_end(context).unwrap_or(start + MAX_FUNCTION_TIMEOUT);
        let mut end = lambda;
        if let Some(timeout) = front_door_timeout(source, settings) {
            end = end.min(start + timeout.saturating_sub(elapsed(arrived, wall_clock, timeout)));
        }
        let margin = reserve(settings.answer_margin, start, end);
        Self {
            flow: end - margin,
            response: end - margin / 2,
            floating: lambda - reserve(settings.answer_margin, start, lambda),
            connections: lambda - reserve(settings.answer_margin / 2, start, lambda),
            lambda,
            start,
        }
    }

    /// Ends the invocation before the calling Gateway stops waiting, at `deadline` in milliseconds since 1970. At least
    /// three quarters of a short time go to the Flow.
    pub(super) fn limit_to_caller(&mut self, deadline: u64, settings: &FunctionConfig) {
        let Some(end) = from_unix_millis(deadline) else {
            return;
        };
        let remaining = end.duration_since(SystemTime::now()).unwrap_or_default();
        // No limit if the clock cannot represent that time.
        if let Some(end) = Instant::now().checked_add(remaining) {
            let margin = settings.answer_margin.min(remaining / 4);
            self.flow = self.flow.min(end - margin);
            self.response = self.response.min(end - margin / 2);
        }
    }

    /// Reserves time before Lambda's end for sending each part that a WebSocket response may have.
    pub(super) fn reserve_for_parts(mut self, settings: &FunctionConfig) -> Self {
        let parts = u32::try_from(settings.websocket.max_parts).unwrap_or(u32::MAX);
        let margin = settings
            .answer_margin
            .saturating_add(TIME_PER_PART.saturating_mul(parts));
        self.flow = self
            .flow
            .min(self.lambda - reserve(margin, self.start, self.lambda));
        self
    }
}

/// One call of `@connections` within a region.
const TIME_PER_PART: Duration = Duration::from_millis(10);

/// Returns the time to reserve before `end`: the margin, or half of a short time, so that the Flow gets the other half.
fn reserve(margin: Duration, start: Instant, end: Instant) -> Duration {
    margin.min(end.saturating_duration_since(start) / 2)
}

/// Returns when Lambda stops this invocation; `None` where that is unknown. A time further away than a function may run
/// comes from a wrong clock and is limited to that.
fn lambda_end(context: &lambda_http::Context) -> Option<Instant> {
    let end = invocation_end(context.deadline)?;
    let remaining = end.duration_since(SystemTime::now()).ok()?;
    Some(Instant::now() + remaining.min(MAX_FUNCTION_TIMEOUT))
}

/// Returns how long the front door waits, by the setting or else AWS's quota. A function URL waits as long as the
/// function may run, and so does a direct invocation.
fn front_door_timeout(source: EventSource, settings: &FunctionConfig) -> Option<Duration> {
    let quota = match source {
        EventSource::HttpApi | EventSource::HttpApiV1 => MAX_HTTP_API_TIMEOUT,
        EventSource::RestApi => MAX_REST_API_TIMEOUT,
        EventSource::LoadBalancer => DEFAULT_ALB_IDLE_TIMEOUT,
        EventSource::VpcLatticeV1 | EventSource::VpcLatticeV2 => DEFAULT_VPC_LATTICE_IDLE_TIMEOUT,
        // This quota cannot be raised (API Gateway quotas, WebSocket APIs).
        EventSource::WebSocketApi => {
            let set = settings
                .front_door_timeout
                .unwrap_or(MAX_WEBSOCKET_API_TIMEOUT);
            return Some(set.min(MAX_WEBSOCKET_API_TIMEOUT));
        }
        EventSource::FunctionUrl { .. }
        | EventSource::WebSocketPush
        | EventSource::Gateway
        | EventSource::PlainJson
        | EventSource::Warmer => return None,
    };
    Some(settings.front_door_timeout.unwrap_or(quota))
}

/// Returns how much of the front door's timeout had passed when the invocation began, on the network and in a cold
/// start. Zero if that is negative or at least the whole timeout: clocks differ, and an old event may be sent again by
/// hand.
fn elapsed(arrived: Option<SystemTime>, now: SystemTime, timeout: Duration) -> Duration {
    let elapsed = arrived.and_then(|arrived| now.duration_since(arrived).ok());
    elapsed
        .filter(|elapsed| *elapsed < timeout)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An invocation that Lambda stops after `remaining`.
    fn context(remaining: Duration) -> lambda_http::Context {
        let end = (SystemTime::now() + remaining)
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        let mut context = lambda_http::Context::default();
        context.deadline = u64::try_from(end.as_millis()).expect("in range");
        context
    }

    /// The time that the Flow has.
    fn flow_time(
        source: EventSource,
        settings: &FunctionConfig,
        lambda: Duration,
        ago: Duration,
    ) -> Duration {
        let arrived = SystemTime::now() - ago;
        let deadline = Deadline::new(source, settings, &context(lambda), Some(arrived));
        assert!(deadline.flow <= deadline.response);
        deadline.flow - Instant::now()
    }

    #[track_caller]
    fn assert_about(found: Duration, expected: Duration) {
        let difference = found.abs_diff(expected);
        assert!(
            difference < Duration::from_millis(100),
            "{found:?}, not {expected:?}"
        );
    }

    #[tokio::test]
    async fn the_earlier_timeout_less_the_margin_applies() {
        let settings = FunctionConfig::default();
        let of = |source, lambda, ago| flow_time(source, &settings, lambda, ago);
        let margin = settings.answer_margin;
        let (none, long) = (Duration::ZERO, 600 * SECOND);
        assert_about(of(EventSource::HttpApi, long, none), 30 * SECOND - margin);
        assert_about(of(EventSource::RestApi, long, none), 29 * SECOND - margin);
        assert_about(
            of(EventSource::LoadBalancer, long, none),
            60 * SECOND - margin,
        );
        assert_about(
            of(EventSource::HttpApi, 3 * SECOND, none),
            3 * SECOND - margin,
        );
        assert_about(of(EventSource::PlainJson, long, none), long - margin);
        assert_about(
            of(EventSource::HttpApi, long, 4 * SECOND),
            26 * SECOND - margin,
        );
        assert_about(of(EventSource::HttpApi, long, long), 30 * SECOND - margin);
        assert_about(of(EventSource::HttpApi, SECOND / 2, none), SECOND / 4);
    }

    /// `cargo lambda watch` sends this deadline.
    #[tokio::test]
    async fn a_deadline_of_lambda_that_has_passed_is_unknown() {
        let mut emulator = lambda_http::Context::default();
        emulator.deadline = 600_000;
        assert_eq!(lambda_end(&emulator), None);
        let settings = FunctionConfig::default();
        let flow_time = |source| {
            let deadline = Deadline::new(source, &settings, &emulator, None);
            deadline.flow - Instant::now()
        };
        let margin = settings.answer_margin;
        assert_about(flow_time(EventSource::HttpApi), 30 * SECOND - margin);
        assert_about(
            flow_time(EventSource::PlainJson),
            MAX_FUNCTION_TIMEOUT - margin,
        );
    }

    #[tokio::test]
    async fn a_raised_quota_extends_the_deadline() {
        let settings = FunctionConfig {
            front_door_timeout: Some(120 * SECOND),
            ..FunctionConfig::default()
        };
        let of = |source| flow_time(source, &settings, 600 * SECOND, Duration::ZERO);
        let margin = settings.answer_margin;
        assert_about(of(EventSource::RestApi), 120 * SECOND - margin);
        assert_about(of(EventSource::WebSocketApi), 29 * SECOND - margin);
        let url = EventSource::FunctionUrl {
            has_authorizer: true,
        };
        assert_about(of(url), 600 * SECOND - margin);
    }

    #[tokio::test(start_paused = true)]
    async fn the_margin_before_lambdas_end_grows_with_the_parts() {
        let mut settings = FunctionConfig {
            answer_margin: SECOND,
            ..FunctionConfig::default()
        };
        settings.websocket.max_parts = 50;
        // Milliseconds for the Flow and for calls of `@connections`.
        let times = |source, lambda| {
            let now = Instant::now();
            let deadline = Deadline::new(source, &settings, &context(lambda), None);
            let deadline = deadline.reserve_for_parts(&settings);
            [deadline.flow, deadline.connections]
                .map(|end| (end - now).as_millis().div_ceil(10) * 10)
        };
        let push = EventSource::WebSocketPush;
        assert_eq!(times(push, 60 * SECOND), [58_500, 59_500]);
        assert_eq!(
            times(EventSource::WebSocketApi, 60 * SECOND),
            [28_000, 59_500]
        );
        assert_eq!(times(push, 10 * SECOND), [8_500, 9_500]);
        assert_eq!(times(push, SECOND), [500, 500], "half of a short time");
    }
}
