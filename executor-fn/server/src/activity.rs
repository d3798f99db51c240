//! Tracks what a connection is doing and when it must end. Its socket, its requests and the task that serves it share this
//! state.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    framing::HeadScan,
    open_connections::{InUse, Usage},
    pace::{MinRate, Pace},
};

/// How long the server reads on and discards before it closes a connection, so that the client can finish writing and then
/// read its response. To close with unread bytes would make the system send a reset, and the client would lose the
/// response. As long as nginx's `lingering_time`.
const MAX_LINGER: Duration = Duration::from_secs(30);

/// How long the client may send nothing meanwhile; one that has read its response closes its side. As long as nginx's
/// `lingering_timeout`.
const LINGER_PERIOD: Duration = Duration::from_secs(5);

/// How long a client may take to send the rest of a head or to close its side, once the server is stopping or has closed a
/// connection that was idle. Far shorter than the time that a stop may take.
const MAX_WAIT_AT_STOP: Duration = Duration::from_secs(2);

/// How long a stopping server waits for a request that a client may have sent before it could know of the stop. Longer than
/// the round trip of most networks.
const LAST_REQUEST_WAIT: Duration = Duration::from_millis(500);

/// Waits until the server is stopping, and then until a request that was already sent would have arrived.
pub async fn wait_for_last_request(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(LAST_REQUEST_WAIT).await;
}

/// How long a connection may take for each step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the head of a request, from its first byte.
    pub(crate) header: Duration,
    /// Until the first byte of the first request; `None` is without limit.
    pub(crate) first_request: Option<Duration>,
    /// From a response to the first byte of the next request.
    pub(crate) idle: Duration,
    /// For a client that does not read.
    pub(crate) min_rate: MinRate,
}

/// The state of one connection. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    timeouts: Timeouts,
    phase: Phase,
    /// The head of the request that arrived last.
    head: HeadScan,
    /// How fast the client takes what is written.
    write: Pace,
    /// Whether some of what is written has not been taken yet.
    is_write_blocked: bool,
    /// Whether a request's body has not been read to its end.
    has_unread_body: bool,
    /// Why the head of a request is answered without hyper.
    head_error: Option<HeadError>,
    is_stopping: bool,
    usage: Usage,
    /// The request, or the protocol that has taken the connection over.
    in_use: Option<InUse>,
}

#[derive(Debug)]
enum Phase {
    /// No byte of a request has arrived.
    Idle { until: Option<Instant> },
    /// The head of a request is arriving.
    Head { until: Instant },
    /// A request is answered.
    Request,
    /// The response is written; what the client still sends is discarded.
    Lingering { until: Instant, read: Pace },
    /// Without a deadline here: the connection has been upgraded, or has ended.
    Unlimited,
}

impl Activity {
    /// A connection without a request. `has_start`: some bytes have already been received.
    pub(crate) fn new(timeouts: Timeouts, usage: Usage, has_start: bool) -> Self {
        let now = Instant::now();
        let phase = if has_start {
            let until = now + timeouts.header;
            Phase::Head { until }
        } else {
            let until = timeouts.first_request.map(|timeout| now + timeout);
            Phase::Idle { until }
        };
        Self(Arc::new(Mutex::new(State {
            timeouts,
            phase,
            head: HeadScan::default(),
            write: Pace::new(timeouts.min_rate),
            is_write_blocked: false,
            has_unread_body: false,
            head_error: None,
            is_stopping: false,
            usage,
            in_use: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the connection must end if nothing happens before, and why.
    pub(crate) fn deadline(&self) -> Option<(Instant, Reason)> {
        let state = self.state();
        let own = match &state.phase {
            Phase::Idle { .. } if state.is_write_blocked => None,
            Phase::Idle { until } => until.map(|until| (until, Reason::Idle)),
            Phase::Head { until } => Some((*until, Reason::Head)),
            Phase::Lingering { until, read } => {
                let slow = read.deadline().unwrap_or(*until);
                Some((slow.min(*until), Reason::Lingering))
            }
            Phase::Request | Phase::Unlimited => None,
        };
        let write = state.write.deadline();
        let write = write.map(|at| (at, Reason::Write(state.timeouts.min_rate)));
        [own, write].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Notes bytes that were received.
    pub(crate) fn note_received(&self, bytes: &[u8]) {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Idle { .. } if !bytes.is_empty() => {
                let until = Instant::now() + state.timeouts.header;
                state.phase = Phase::Head { until };
                state.head = HeadScan::default();
                state.head.read(bytes);
            }
            Phase::Head { .. } => state.head.read(bytes),
            Phase::Lingering { read, .. } => read.progress(bytes.len()),
            Phase::Idle { .. } | Phase::Request | Phase::Unlimited => {}
        }
    }

    /// Notes that the head of a request is complete. Returns whether it may have a `content-length`: always for a pipelined
    /// request, whose head began before the response to the last one and was not read here.
    pub(crate) fn begin_request(&self) -> bool {
        let mut state = self.state();
        state.has_unread_body = false;
        state.in_use = Some(state.usage.begin());
        let before = std::mem::replace(&mut state.phase, Phase::Request);
        !matches!(before, Phase::Head { .. }) || state.head.has_content_length()
    }

    /// Notes that the rest of the request's body will not be read.
    pub(crate) fn note_unread_body(&self) {
        self.state().has_unread_body = true;
    }

    /// Notes that the whole response has been passed to the connection.
    pub(crate) fn end_response(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Request) {
            state.phase = state.idle();
            state.in_use = None;
        }
    }

    /// Ends the deadlines of HTTP/1, because the connection has been upgraded or has ended.
    pub(crate) fn end_phases(&self) {
        let mut state = self.state();
        state.phase = Phase::Unlimited;
        state.in_use = Some(state.usage.begin());
    }

    /// Notes that the client does not take what is written.
    pub(crate) fn note_write_blocked(&self) {
        let mut state = self.state();
        state.is_write_blocked = true;
        state.write.wait();
    }

    /// Notes bytes that the client has taken.
    pub(crate) fn note_written(&self, bytes: usize) {
        self.state().write.progress(bytes);
    }

    /// Notes that the client has taken all that was written. The time in which it may send its next request begins now.
    pub(crate) fn note_flushed(&self) {
        let mut state = self.state();
        state.write.reset();
        let was_blocked = std::mem::take(&mut state.is_write_blocked);
        if was_blocked && matches!(state.phase, Phase::Idle { .. }) {
            state.phase = state.idle();
        }
    }

    /// Whether the client may be writing something that will not be read. Called when the connection is closed.
    pub(crate) fn may_have_unread(&self) -> bool {
        let state = self.state();
        state.has_unread_body
            || state.head_error.is_some()
            || matches!(state.phase, Phase::Head { .. })
    }

    /// Ends a request whose head has not arrived in time. Returns whether it can be answered: not if the client has not
    /// read the response before.
    pub(crate) fn end_late_head(&self) -> bool {
        let mut state = self.state();
        if state.is_write_blocked {
            return false;
        }
        state.head_error = Some(HeadError::Late);
        state.phase = state.lingering(MAX_WAIT_AT_STOP);
        true
    }

    /// Returns why the head that is arriving must be answered here; the connection ends with that answer.
    pub(crate) fn head_error(&self) -> Option<HeadError> {
        let mut state = self.state();
        if state.head_error.is_none()
            && matches!(state.phase, Phase::Head { .. })
            && state.head.is_too_long()
        {
            state.head_error = Some(HeadError::Length);
            state.phase = state.lingering(MAX_LINGER);
        }
        state.head_error
    }

    /// Whether the connection has been taken over by another protocol.
    pub(crate) fn is_unlimited(&self) -> bool {
        matches!(self.state().phase, Phase::Unlimited)
    }

    /// Notes that the discarding read waits for the client.
    pub(crate) fn linger(&self) {
        let mut state = self.state();
        if !matches!(state.phase, Phase::Lingering { .. }) {
            let time = match state.is_stopping {
                true => MAX_WAIT_AT_STOP,
                false => MAX_LINGER,
            };
            state.phase = state.lingering(time);
        }
        if let Phase::Lingering { read, .. } = &mut state.phase {
            read.wait();
        }
    }

    /// Notes that the connection is being closed because it was idle.
    pub(crate) fn close_idle(&self) {
        let mut state = self.state();
        state.phase = state.lingering(MAX_WAIT_AT_STOP);
    }

    /// Shortens the deadlines because the server is stopping. Requests that are in progress or have been sent already are
    /// still answered.
    pub(crate) fn stop(&self) {
        let mut state = self.state();
        state.is_stopping = true;
        let now = Instant::now();
        match &mut state.phase {
            Phase::Idle { until } => {
                let last = now + LAST_REQUEST_WAIT;
                *until = Some(until.map_or(last, |until| until.min(last)));
            }
            Phase::Head { until } | Phase::Lingering { until, .. } => {
                *until = (*until).min(now + MAX_WAIT_AT_STOP);
            }
            Phase::Request | Phase::Unlimited => {}
        }
    }

    /// Returns how to close the connection for another client. A request in progress is finished first, and announces the
    /// end.
    pub(crate) fn evict(&self) -> Evict {
        let mut state = self.state();
        match &state.phase {
            Phase::Idle { .. } if !state.is_write_blocked => {
                state.phase = state.lingering(MAX_WAIT_AT_STOP);
                Evict::Gracefully
            }
            Phase::Head { .. } | Phase::Lingering { .. } => Evict::Now,
            Phase::Idle { .. } | Phase::Request => {
                state.is_stopping = true;
                Evict::Later
            }
            Phase::Unlimited => Evict::Later,
        }
    }

    /// Where the connection notes what it is used for.
    pub(crate) fn usage(&self) -> Usage {
        self.state().usage.clone()
    }

    /// The least that a client must send of a body, or take of a response.
    pub(crate) fn min_rate(&self) -> MinRate {
        self.state().timeouts.min_rate
    }

    /// Whether responses must announce that the connection closes (`connection: close`).
    pub(crate) fn is_stopping(&self) -> bool {
        self.state().is_stopping
    }
}

impl State {
    /// The phase after a response.
    fn idle(&self) -> Phase {
        let timeout = match self.is_stopping {
            true => LAST_REQUEST_WAIT,
            false => self.timeouts.idle,
        };
        let until = Some(Instant::now() + timeout);
        Phase::Idle { until }
    }

    fn lingering(&self, time: Duration) -> Phase {
        Phase::Lingering {
            until: Instant::now() + time,
            read: Pace::new(MinRate {
                period: LINGER_PERIOD,
                ..self.timeouts.min_rate
            }),
        }
    }
}

/// Why the head of a request is answered without hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// It has not arrived in time.
    Late,
    /// Its `content-length` is a number that no body can have.
    Length,
}

/// How a connection is closed for another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evict {
    /// After the request in progress.
    Later,
    /// After what is written has been sent.
    Gracefully,
    Now,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason {
    Idle,
    Head,
    Write(MinRate),
    Lingering,
    Evicted,
}

impl From<Reason> for io::Error {
    fn from(reason: Reason) -> Self {
        let text = match reason {
            Reason::Idle => "no request arrived in time",
            Reason::Head => "the head of a request did not arrive in time",
            Reason::Lingering => "the client did not close its side in time",
            Reason::Evicted => {
                "the limit of connections is reached, and the client had sent no whole request"
            }
            Reason::Write(rate) => return rate.error(),
        };
        Self::new(io::ErrorKind::TimedOut, text)
    }
}
