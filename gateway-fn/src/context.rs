//! What a request carries beside its content: until when an answer is of use, and the trace that it is part of.

mod record;

use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderValue};
use tokio::time::Instant;

pub use record::{InvocationRecord, RecordSnapshot, Visit};

/// What a request carries beside its content. By default it may take for ever and is part of no trace.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// When nobody waits for the answer any more: no call that the answer needs goes on beyond it.
    pub deadline: Option<Instant>,
    /// When the host itself ends: until then goes on what nobody waits for.
    pub end: Option<Instant>,
    /// Sent along with every call.
    pub trace: Trace,
    /// Where the host wants to find what became of the request.
    pub record: InvocationRecord,
}

/// The headers by which a trace is handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace(Vec<(&'static str, HeaderValue)>);

impl Context {
    /// What the host knows about a request, or else the trace that its headers name.
    #[must_use]
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let told = extensions.get::<Self>().cloned();
        told.unwrap_or_else(|| Self {
            trace: Trace::from_headers(headers),
            ..Self::default()
        })
    }

    /// The longest that a call may take which must not take longer than `limit`.
    #[must_use]
    pub fn time_for(&self, limit: Option<Duration>) -> Option<Duration> {
        match (limit, self.left()) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, left) => limit.or(left),
        }
    }

    /// Nobody waits longer than this either.
    pub fn wait_at_most(&mut self, limit: Duration) {
        // Beyond what a clock holds there is no end.
        let limit = Instant::now().checked_add(limit);
        self.deadline = self.deadline.into_iter().chain(limit).min();
    }

    /// The deadline of a call with so many others to come after it, one behind the other, before the answer is there.
    /// Each of them is left a tenth of the time, but no more than a second, which is what a warm Executor needs; at
    /// least half is for this call.
    #[must_use]
    pub fn deadline_before(&self, others: usize) -> Option<Instant> {
        let left = self.left()?;
        let kept = (left / 10).min(MOST_KEPT);
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let kept = kept.saturating_mul(others).min(left / 2);
        self.deadline.map(|deadline| deadline - kept)
    }

    /// How long until the deadline, if there is one; nothing when it has passed.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

const MOST_KEPT: Duration = Duration::from_secs(1);

impl Trace {
    /// X-Ray's header, in small letters.
    pub const XRAY: &str = "x-amzn-trace-id";

    /// W3C Trace Context's headers and X-Ray's own, in small letters.
    pub const HEADERS: [&str; 3] = ["traceparent", "tracestate", Self::XRAY];

    /// The trace that a client's request names.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::from_pairs(Self::HEADERS.into_iter().filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name, value.to_owned()))
        }))
    }

    /// The trace of these headers; others, and values that no header can carry, are left out.
    #[must_use]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let known = |name: &str| Self::HEADERS.into_iter().find(|header| *header == name);
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = HeaderValue::try_from(value).ok()?;
            Some((known(name)?, value))
        });
        Self(pairs.collect())
    }

    /// This trace with the headers of another, which go before its own of the same name.
    #[must_use]
    pub fn overlaid(mut self, over: Self) -> Self {
        let Self(over) = over;
        let is_over = |name| over.iter().any(|(other, _)| *other == name);
        self.0.retain(|(name, _)| !is_over(*name));
        self.0.extend(over);
        self
    }

    /// The value of X-Ray's header.
    #[must_use]
    pub fn xray(&self) -> Option<&str> {
        let found = self.iter().find(|(name, _)| *name == Self::XRAY);
        found.map(|(_, value)| value)
    }

    /// Each header's name and value.
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
    async fn a_call_has_the_shorter_of_its_own_time_and_what_is_left() {
        let second = Duration::from_secs(1);
        let forever = Context::default();
        assert_eq!(forever.time_for(None), None);
        assert_eq!(forever.time_for(Some(second)), Some(second));
        let context = Context {
            deadline: Some(Instant::now() + 3 * second),
            ..Context::default()
        };
        assert_eq!(context.time_for(Some(second)), Some(second));
        assert_eq!(context.time_for(None), Some(3 * second));
        tokio::time::advance(4 * second).await;
        assert_eq!(context.time_for(Some(second)), Some(Duration::ZERO));
        assert!(context.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_leaves_time_for_those_behind_it() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let left = |whole: Duration, others| {
            let context = Context {
                deadline: Some(start + whole),
                ..Context::default()
            };
            context.deadline_before(others).map(|end| end - start)
        };
        assert_eq!(left(30 * second, 0), Some(30 * second));
        assert_eq!(left(30 * second, 2), Some(28 * second));
        assert_eq!(left(second, 2), Some(second * 8 / 10));
        assert_eq!(left(30 * second, 100), Some(15 * second));
        assert_eq!(Context::default().deadline_before(3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sooner_of_the_hosts_and_the_clients_end_counts() {
        let second = Duration::from_secs(1);
        let mut context = Context::default();
        context.wait_at_most(Duration::MAX);
        context.wait_at_most(3 * second);
        context.wait_at_most(5 * second);
        assert_eq!(context.left(), Some(3 * second));
    }

    #[test]
    fn only_headers_of_a_trace_are_handed_on() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static("00-a-b-01"));
        headers.insert("authorization", HeaderValue::from_static("secret"));
        let trace = Trace::from_headers(&headers);
        assert_eq!(
            trace.iter().collect::<Vec<_>>(),
            [("traceparent", "00-a-b-01")]
        );
        let broken = Trace::from_pairs([("tracestate", "a\nb".to_owned())]);
        assert_eq!(broken, Trace::default());
    }

    #[test]
    fn of_two_traces_each_header_is_handed_on_once() {
        let trace = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            Trace::from_pairs(pairs.map(|(name, value)| (*name, (*value).to_owned())))
        };
        let own = trace(&[("traceparent", "own"), (Trace::XRAY, "own")]);
        let callers = trace(&[("traceparent", "caller's"), ("tracestate", "caller's")]);
        let both = own.overlaid(callers);
        assert_eq!(
            both.iter().collect::<Vec<_>>(),
            [
                (Trace::XRAY, "own"),
                ("traceparent", "caller's"),
                ("tracestate", "caller's")
            ]
        );
    }
}
