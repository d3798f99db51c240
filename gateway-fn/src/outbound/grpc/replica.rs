//! One replica of a deployment. It is left out while it is unreachable or answers no calls, until a probe succeeds.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::field::display;

use super::peer::Peer;

/// The time that the replicas of a deployment share.
#[derive(Debug)]
pub(super) struct Clock {
    created: Instant,
    /// When any replica last answered, in milliseconds after `created`.
    answered: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            created: Instant::now(),
            answered: AtomicU64::new(0),
        }
    }
}

impl Clock {
    /// The milliseconds since this was made, from 1 on: 0 has another meaning in [`Replica`].
    pub(super) fn now(&self) -> u64 {
        millis(self.created.elapsed()).max(1)
    }

    fn note_answer(&self, now: u64) {
        store_if_new(&self.answered, now);
    }
}

/// How long a replica is left out before it is probed, and between probes: long enough that a dead one is not tried again
/// and again, short enough that a restarted one is soon used again.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A replica that answers no calls for this long, while others answer, is left out: a call is in flight all the time, or
/// several have timed out or were cancelled one after the other. No rule is needed before that, because a replica that does
/// not answer soon has the most calls in flight and gets no more.
pub(super) const MAX_SILENCE: Duration = Duration::from_secs(5);

/// How long an address that has never taken a connection is left out between probes. It may never be reachable from here, as
/// an address of IPv6 without a route.
const NEW_PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// One replica of a deployment.
#[derive(Debug)]
pub(super) struct Replica {
    /// The name of the deployment, for the log.
    executor: Arc<str>,
    pub(super) peer: Peer,
    clock: Arc<Clock>,
    in_flight: AtomicUsize,
    /// Since when calls are unanswered, by the clock; 0 after an answer, until the next call. Calls that have timed out are
    /// unanswered too.
    unanswered_since: AtomicU64,
    /// When a call last ended without an answer, by the clock.
    gave_up: AtomicU64,
    /// When the replica is probed next, by the clock; 0 while it is in use.
    probe_at: AtomicU64,
    was_in_use: AtomicBool,
    /// Whether a probe is in progress: one that hangs takes far longer than [`PROBE_INTERVAL`].
    is_probing: AtomicBool,
}

/// Counts a call while it is in flight. If it is dropped before [`InFlight::end`], nothing is known of the replica but that it
/// has not answered until then.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    replica: &'a Replica,
    /// Whether it ended without an answer; a call that is dropped has.
    has_timed_out: bool,
}

/// Marks a probe while it is in progress.
struct Probe(Arc<Replica>);

impl Replica {
    /// A replica that is in use, or one that is probed before that.
    pub(super) fn new(executor: Arc<str>, peer: Peer, clock: Arc<Clock>, is_in_use: bool) -> Self {
        Self {
            executor,
            peer,
            clock,
            in_flight: AtomicUsize::new(0),
            unanswered_since: AtomicU64::new(0),
            gave_up: AtomicU64::new(0),
            probe_at: AtomicU64::new(u64::from(!is_in_use)),
            was_in_use: AtomicBool::new(is_in_use),
            is_probing: AtomicBool::new(false),
        }
    }

    /// `host:port` as in the Flow.
    pub(super) fn authority(&self) -> &str {
        self.peer.address().host().authority().as_str()
    }

    /// Which one of the addresses of a name it is.
    fn ip(&self) -> Option<SocketAddr> {
        let address = self.peer.address();
        address.pin().filter(|_| address.host().is_name())
    }

    /// The number of calls in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it is, or has been, in use.
    pub(super) fn was_in_use(&self) -> bool {
        self.was_in_use.load(Ordering::Relaxed)
    }

    /// Counts a call until the result is dropped.
    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if self.unanswered_since.load(Ordering::Relaxed) == 0 {
            let now = self.clock.now();
            // Fails if another call has begun meanwhile.
            let _ = self.unanswered_since.compare_exchange(
                0,
                now,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
        InFlight {
            replica: self,
            has_timed_out: true,
        }
    }

    /// Whether calls should use this replica. Starts the probe of one that is left out, when it is time.
    pub(super) fn is_in_use(self: &Arc<Self>, now: u64) -> bool {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 {
            if self.is_silent(now) {
                let silent = MAX_SILENCE;
                self.leave_out(format_args!("it has answered no calls for {silent:?}"));
                return false;
            }
            return true;
        }
        if now >= probe_at
            && !self.is_probing.load(Ordering::Relaxed)
            && self.postpone_probe(probe_at, now)
            && !self.is_probing.swap(true, Ordering::Relaxed)
        {
            let probe = Probe(Arc::clone(self));
            tokio::spawn(async move { probe.0.probe().await });
        }
        false
    }

    fn is_silent(&self, now: u64) -> bool {
        let since = self.unanswered_since.load(Ordering::Relaxed);
        // Without calls the replica has nothing to answer: one that timed out long ago does not make it silent until now.
        let until = match self.in_flight() {
            0 => self.gave_up.load(Ordering::Relaxed),
            _ => now,
        };
        since != 0
            && until.saturating_sub(since) > millis(MAX_SILENCE)
            && self.clock.answered.load(Ordering::Relaxed) > since
    }

    /// Sets the time of the next probe. `false` if another caller has done so.
    fn postpone_probe(&self, from: u64, now: u64) -> bool {
        let next = now.saturating_add(millis(self.probe_interval()));
        self.probe_at
            .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    fn probe_interval(&self) -> Duration {
        match self.was_in_use() {
            true => PROBE_INTERVAL,
            false => NEW_PROBE_INTERVAL,
        }
    }

    async fn probe(&self) {
        let is_good = match self.was_in_use() {
            true => self.peer.is_answering().await,
            false => self.peer.is_reachable().await,
        };
        if is_good {
            self.note_answer();
        }
    }

    /// Leaves the replica out until it is probed, because it is unreachable or answers no calls; the only replica stays in
    /// use. Only the first of many errors is logged.
    pub(super) fn leave_out(&self, reason: impl fmt::Display) {
        let now = self.clock.now();
        let next = now.saturating_add(millis(self.probe_interval()));
        if self.probe_at.swap(next, Ordering::Relaxed) == 0 {
            let (executor, address) = (&*self.executor, self.authority());
            let ip = self.ip().map(display);
            tracing::warn!(executor, address, ip, error = %reason, "executor unavailable");
        }
    }

    /// Notes that the replica answered.
    pub(super) fn note_answer(&self) {
        let now = self.clock.now();
        let since = match self.in_flight() {
            0 => 0,
            _ => now,
        };
        store_if_new(&self.unanswered_since, since);
        self.clock.note_answer(now);
        if self.probe_at.load(Ordering::Relaxed) != 0
            && self.probe_at.swap(0, Ordering::Relaxed) != 0
        {
            let is_again = self.was_in_use.swap(true, Ordering::Relaxed);
            let (executor, address) = (&*self.executor, self.authority());
            let ip = self.ip().map(display);
            tracing::info!(executor, address, ip, is_again, "executor available");
        }
    }
}

impl InFlight<'_> {
    /// Ends the call with a result, which is no answer if the call has timed out.
    pub(super) fn end(mut self, has_timed_out: bool) {
        self.has_timed_out = has_timed_out;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.has_timed_out {
            let now = self.replica.clock.now();
            store_if_new(&self.replica.gave_up, now);
        }
        self.replica.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.is_probing.store(false, Ordering::Relaxed);
    }
}

/// Stores a value unless it is there already: a store takes the cache line from all other threads, a load does not.
fn store_if_new(place: &AtomicU64, value: u64) {
    if place.load(Ordering::Relaxed) != value {
        place.store(value, Ordering::Relaxed);
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
