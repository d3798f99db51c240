//! Chooses the replica of a call: the one with the fewest calls in flight, in turn between equals. Replicas that are
//! unreachable or answer no calls are left out until a probe succeeds.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderMap;

use super::{ChannelError, GrpcAddress, GrpcOptions, peer::Peer};

/// The replicas of one deployment, shared by all requests.
#[derive(Debug)]
pub(super) struct Rotation {
    replicas: Vec<Arc<Replica>>,
    turn: AtomicUsize,
    /// When any replica last answered, in milliseconds after `created`.
    answered: Arc<AtomicU64>,
    created: Instant,
}

impl Rotation {
    /// # Errors
    /// When an address is invalid, or TLS to it cannot be set up.
    ///
    /// # Panics
    /// Without an address.
    pub(super) fn new(
        executor: &str,
        addresses: &[GrpcAddress],
        metadata: &HeaderMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        assert!(
            !addresses.is_empty(),
            "a deployment has at least one address"
        );
        let created = Instant::now();
        let answered = Arc::default();
        let replica = |address: &GrpcAddress| -> Result<_, ChannelError> {
            Ok(Arc::new(Replica {
                executor: executor.to_owned(),
                authority: address.authority.clone(),
                peer: Peer::new(address, metadata, options)?,
                created,
                answered_by_any: Arc::clone(&answered),
                in_flight: AtomicUsize::new(0),
                progress: AtomicU64::new(0),
                probe_at: AtomicU64::new(0),
            }))
        };
        let replicas = addresses.iter().map(replica).collect::<Result<_, _>>()?;
        Ok(Self {
            replicas,
            turn: AtomicUsize::new(0),
            answered,
            created,
        })
    }

    /// The number of replicas.
    pub(super) const fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Returns the replica for an attempt: if possible one that this call has not tried and that is in use, else one that it
    /// has not tried, else any.
    pub(super) fn next(&self, tried: &[&str]) -> &Arc<Replica> {
        let count = self.replicas.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if count == 1 {
            return &self.replicas[0];
        }
        let now = millis(self.created.elapsed());
        let answered = self.answered.load(Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| &self.replicas[turn.wrapping_add(step) % count]);
        let is_untried = |replica: &&Arc<Replica>| !tried.contains(&replica.authority());
        in_turn()
            .filter(is_untried)
            .filter(|replica| replica.is_in_use(now, answered))
            .min_by_key(|replica| replica.in_flight.load(Ordering::Relaxed))
            .or_else(|| in_turn().find(is_untried))
            .unwrap_or(&self.replicas[turn % count])
    }
}

/// How long a replica is left out before it is probed, and between probes: long enough that a dead one is not tried again
/// and again, short enough that a restarted one is soon used again.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// A replica with calls in flight that answers none of them for this long, while others answer, is left out. No rule is
/// needed before that, because a replica that does not answer soon has the most calls in flight and gets no more.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// One replica of a deployment.
#[derive(Debug)]
pub(super) struct Replica {
    /// The name of the deployment, for the log.
    executor: String,
    authority: String,
    pub(super) peer: Peer,
    created: Instant,
    answered_by_any: Arc<AtomicU64>,
    in_flight: AtomicUsize,
    /// When the replica last answered, or got its first call after all were answered, in milliseconds after `created`.
    progress: AtomicU64,
    /// When the replica is probed next, in the same unit; 0 while it is in use.
    probe_at: AtomicU64,
}

/// Counts a call while it is in flight.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Replica);

impl Replica {
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Counts a call until the result is dropped.
    pub(super) fn begin(&self) -> InFlight<'_> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) == 0 {
            self.progress.store(self.now(), Ordering::Relaxed);
        }
        InFlight(self)
    }

    /// Whether calls should use this replica. Starts the probe of one that is left out, when it is time.
    fn is_in_use(self: &Arc<Self>, now: u64, answered_by_any: u64) -> bool {
        let probe_at = self.probe_at.load(Ordering::Relaxed);
        if probe_at == 0 {
            if self.is_silent(now, answered_by_any) {
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

    fn is_silent(&self, now: u64, answered_by_any: u64) -> bool {
        let progress = self.progress.load(Ordering::Relaxed);
        self.in_flight.load(Ordering::Relaxed) > 0
            && now.saturating_sub(progress) > millis(MAX_SILENCE)
            && answered_by_any > progress
    }

    /// Sets the time of the next probe. `false` if another caller has done so.
    fn postpone_probe(&self, from: u64, now: u64) -> bool {
        let next = now.saturating_add(millis(PROBE_INTERVAL));
        self.probe_at
            .compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    async fn probe(&self) {
        if self.peer.is_answering().await {
            self.note_answer();
        }
    }

    /// Leaves the replica out until it is probed, because it is unreachable or answers no calls. Only the first of many errors
    /// is logged.
    pub(super) fn leave_out(&self, reason: impl fmt::Display) {
        let next = self.now().saturating_add(millis(PROBE_INTERVAL));
        if self.probe_at.swap(next, Ordering::Relaxed) == 0 {
            let (executor, address) = (&self.executor, &self.authority);
            tracing::warn!(executor, address, error = %reason, "replica left out");
        }
    }

    /// Notes that the replica answered.
    pub(super) fn note_answer(&self) {
        let now = self.now();
        self.progress.store(now, Ordering::Relaxed);
        self.answered_by_any.store(now, Ordering::Relaxed);
        // Read first: a store would take the cache line from the other threads at every call.
        if self.probe_at.load(Ordering::Relaxed) != 0
            && self.probe_at.swap(0, Ordering::Relaxed) != 0
        {
            let (executor, address) = (&self.executor, &self.authority);
            tracing::info!(executor, address, "replica in use again");
        }
    }

    /// Never 0, which means "in use" for `probe_at`.
    fn now(&self) -> u64 {
        millis(self.created.elapsed()).max(1)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
