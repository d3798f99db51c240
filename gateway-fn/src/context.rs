//! What accompanies a request: its deadline, its trace, and the record of its invocation.

mod load;

mod record;

use std::time::Duration;

use executor_fn::LambdaContext;
use http::{Extensions, HeaderMap, HeaderValue};
use tokio::time::Instant;

pub use load::ConnectionLoad;
pub(crate) use load::Counting;
pub use record::{InvocationRecord, RecordSnapshot, Visit};

/// What accompanies a request. By default it has no deadline and no trace.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// When the client stops waiting. Calls that the answer needs end by then.
    pub deadline: Option<Instant>,
    /// End of the invocation; floating work may run until then.
    pub end: Option<Instant>,
    /// Sent with every call.
    pub trace: Trace,
    /// Records what happens to the request, for the host.
    pub record: InvocationRecord,
    /// The invocation, if the Gateway is a Lambda function. Executors in this process can read it.
    pub lambda: Option<LambdaContext>,
    /// The load of the connection, if that can have several requests at once, of which the Gateway takes a share only.
    pub load: Option<ConnectionLoad>,
}

/// The headers that carry a trace from one service to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace(Vec<(&'static str, HeaderValue)>);

impl Context {
    /// Returns the context that the host put into the request's extensions, else one with the load in its extensions and the
    /// trace in its headers.
    #[must_use]
    pub fn from_request(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let of_host = extensions.get::<Self>().cloned();
        of_host.unwrap_or_else(|| Self {
            trace: Trace::from_headers(headers),
            load: extensions.get().cloned(),
            ..Self::default()
        })
    }

    /// Returns the timeout of a call: the shorter of `limit` and the remaining time.
    #[must_use]
    pub fn timeout(&self, limit: Option<Duration>) -> Option<Duration> {
        match (limit, self.remaining()) {
            (Some(limit), Some(remaining)) => Some(limit.min(remaining)),
            (limit, remaining) => limit.or(remaining),
        }
    }

    /// Moves the deadline to `limit` from now, if that is earlier.
    pub fn shorten_deadline(&mut self, limit: Duration) {
        // A limit that the clock cannot represent is no limit.
        let limit = Instant::now().checked_add(limit);
        self.deadline = self.deadline.into_iter().chain(limit).min();
    }

    /// Returns the deadline of a call that is followed by calls to this many Executors, one after the other: the
    /// request's deadline minus a reserve. The reserve is 10 % of the remaining time for each following Executor, at most
    /// 1 s each (enough for a warm one), together at most half of the remaining time.
    #[must_use]
    pub fn deadline_before(&self, executors_behind: usize) -> Option<Instant> {
        let remaining = self.remaining()?;
        let reserve = (remaining / 10).min(MAX_RESERVE);
        let executors_behind = u32::try_from(executors_behind).unwrap_or(u32::MAX);
        let reserve = reserve.saturating_mul(executors_behind).min(remaining / 2);
        self.deadline.map(|deadline| deadline - reserve)
    }

    /// Returns the time until the deadline, zero when it has passed; `None` without a deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.remaining()
            .is_some_and(|remaining| remaining.is_zero())
    }
}

/// The largest reserve for one Executor.
const MAX_RESERVE: Duration = Duration::from_secs(1);

impl Trace {
    /// X-Ray's header, in lower case.
    pub const XRAY: &str = "x-amzn-trace-id";

    /// The headers of W3C Trace Context and of X-Ray, in lower case.
    pub const HEADERS: [&str; 3] = ["traceparent", "tracestate", Self::XRAY];

    /// Returns the trace in the headers of a request.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_pairs(Self::HEADERS.into_iter().filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        }))
    }

    /// Returns the trace in these pairs. Ignores other headers and invalid values.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let known = |name: &str| Self::HEADERS.into_iter().find(|header| *header == name);
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = HeaderValue::try_from(value).ok()?;
            Some((known(name)?, value))
        });
        Self(pairs.collect())
    }

    /// Replaces the headers that another trace has too, and adds its remaining headers.
    #[must_use]
    pub fn overridden_by(mut self, Self(overriding): Self) -> Self {
        self.0
            .retain(|(name, _)| overriding.iter().all(|(other, _)| other != name));
        self.0.extend(overriding);
        self
    }

    /// The value of X-Ray's header.
    #[must_use]
    pub fn xray(&self) -> Option<&str> {
        let found = self.iter().find(|(name, _)| *name == Self::XRAY);
        found.map(|(_, value)| value)
    }

    /// Returns the headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Returns the name and value of each header.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((*name, value.to_str().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_has_the_shorter_of_its_limit_and_the_remaining_time() {
        let second = Duration::from_secs(1);
        let unlimited = Context::default();
        assert_eq!(unlimited.timeout(None), None);
        assert_eq!(unlimited.timeout(Some(second)), Some(second));
        let context = Context {
            deadline: Some(Instant::now() + 3 * second),
            ..Context::default()
        };
        assert_eq!(context.timeout(Some(second)), Some(second));
        assert_eq!(context.timeout(None), Some(3 * second));
        tokio::time::advance(4 * second).await;
        assert_eq!(context.timeout(Some(second)), Some(Duration::ZERO));
        assert!(context.is_expired());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_leaves_time_for_the_executors_behind_it() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let timeout = |whole: Duration, executors_behind| {
            let context = Context {
                deadline: Some(start + whole),
                ..Context::default()
            };
            context
                .deadline_before(executors_behind)
                .map(|end| end - start)
        };
        assert_eq!(timeout(30 * second, 0), Some(30 * second));
        assert_eq!(timeout(30 * second, 2), Some(28 * second));
        assert_eq!(timeout(second, 2), Some(second * 8 / 10));
        assert_eq!(timeout(30 * second, 100), Some(15 * second));
        assert_eq!(Context::default().deadline_before(3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_deadline_applies() {
        let second = Duration::from_secs(1);
        let mut context = Context::default();
        context.shorten_deadline(Duration::MAX);
        context.shorten_deadline(3 * second);
        context.shorten_deadline(5 * second);
        assert_eq!(context.remaining(), Some(3 * second));
    }

    #[test]
    fn only_headers_of_a_trace_are_passed_on() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("00-a-b-01"));
        headers.insert("authorization", HeaderValue::from_static("secret"));
        let trace = Trace::from_headers(&headers);
        assert_eq!(
            trace.iter().collect::<Vec<_>>(),
            [("traceparent", "00-a-b-01")]
        );
        let invalid = Trace::from_pairs([("tracestate", "a\nb".to_owned())]);
        assert_eq!(invalid, Trace::default());
    }

    #[test]
    fn each_header_of_two_traces_is_passed_on_once() {
        let trace = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Trace::from_pairs(pairs.map(|(name, value)| (*name, (*value).to_owned())))
        };
        let own = trace(&[("traceparent", "own"), (Trace::XRAY, "own")]);
        let overriding = trace(&[("traceparent", "overriding"), ("tracestate", "overriding")]);
        let both = own.overridden_by(overriding);
        assert_eq!(
            both.iter().collect::<Vec<_>>(),
            [
                (Trace::XRAY, "own"),
                ("traceparent", "overriding"),
                ("tracestate", "overriding")
            ]
        );
    }
}
