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
}

/// How long a replica is left out before it is probed, and between probes: long enough that a dead one is not tried again
/// and again, short enough that a restarted one is soon used again.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A replica with calls in flight that answers none of them for this long, while others answer, is left out. No rule is
/// needed before that, because a replica that does not answer soon has the most calls in flight and gets no more.
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
    /// When the replica last answered, or got its first call after all were answered, by the clock.
    progress: AtomicU64,
    /// When the replica is probed next, by the clock; 0 while it is in use.
    probe_at: AtomicU64,
    was_in_use: AtomicBool,
}

/// Counts a call while it is in flight.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Replica);

impl Replica {
    /// A replica that is in use, or one that is probed before that.
    pub(super) fn new(executor: Arc<str>, peer: Peer, clock: Arc<Clock>, is_in_use: bool) -> Self {
        Self {
            executor,
            peer,
            clock,
            in_flight: AtomicUsize::new(0),
            progress: AtomicU64::new(0),
            probe_at: AtomicU64::new(u64::from(!is_in_use)),
            was_in_use: AtomicBool::new(is_in_use),
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
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress.store(self.clock.now(), Ordering::Relaxed);
        }
        InFlight(self)
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
        if now >= probe_at && self.postpone_probe(probe_at, now) {
            let replica = Arc::clone(self);
            tokio::spawn(async move { replica.probe().await });
        }
        false
    }

    fn is_silent(&self, now: u64) -> bool {
        let progress = self.progress.load(Ordering::Relaxed);
        self.in_flight.load(Ordering::Relaxed) > 0
            && now.saturating_sub(progress) > millis(MAX_SILENCE)
            && self.clock.answered.load(Ordering::Relaxed) > progress
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
        self.progress.store(now, Ordering::Relaxed);
        self.clock.answered.store(now, Ordering::Relaxed);
        // Read first: a store would take the cache line from the other threads at every call.
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

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
