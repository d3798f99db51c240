//! Chooses the replica of a call: round robin, avoiding unhealthy replicas.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use tonic::metadata::MetadataMap;

use super::{ChannelError, GrpcAddress, GrpcOptions, peer::Peer};

/// The replicas of one deployment. All requests share one round robin (Jina 3.13).
#[derive(Debug)]
pub(super) struct Rotation {
    replicas: Vec<Replica>,
    turn: AtomicUsize,
}

impl Rotation {
    /// # Panics
    /// Without a replica.
    pub(super) fn new(replicas: Vec<Replica>) -> Self {
        assert!(
            !replicas.is_empty(),
            "a deployment has at least one address"
        );
        Self {
            replicas,
            turn: AtomicUsize::new(0),
        }
    }

    /// Returns the next replica: if possible one that this call has not tried and that is healthy, else one that it has
    /// not tried, else any.
    pub(super) fn next(&self, tried: &[&str]) -> &Replica {
        let count = self.replicas.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..count).map(|step| &self.replicas[turn.wrapping_add(step) % count]);
        let is_untried = |replica: &&Replica| !tried.contains(&replica.authority());
        in_turn()
            .filter(is_untried)
            .find(|replica| replica.should_try())
            .or_else(|| in_turn().find(is_untried))
            .unwrap_or(&self.replicas[turn % count])
    }
}

/// How long calls avoid an unhealthy replica before one of them probes it: long enough that a burst of requests does not
/// try it again and again, short enough that a restarted replica is back at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One replica of a deployment.
#[derive(Debug)]
pub(super) struct Replica {
    authority: String,
    pub(super) peer: Peer,
    created: Instant,
    /// Milliseconds after `created` until which the replica is avoided; 0 while it is healthy.
    unhealthy_until: AtomicU64,
}

impl Replica {
    pub(super) fn new(
        address: &GrpcAddress,
        metadata: &MetadataMap,
        options: &GrpcOptions,
    ) -> Result<Self, ChannelError> {
        Ok(Self {
            authority: address.authority.clone(),
            peer: Peer::new(address, metadata, options)?,
            created: Instant::now(),
            unhealthy_until: AtomicU64::new(0),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether a call should use this replica. After [`RETRY_AFTER`] exactly one caller probes an unhealthy replica.
    pub(super) fn should_try(&self) -> bool {
        let until = self.unhealthy_until.load(Ordering::Relaxed);
        let now = self.age_millis();
        let next = now.saturating_add(millis(RETRY_AFTER));
        until == 0
            || (now >= until
                && self
                    .unhealthy_until
                    .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok())
    }

    /// Notes that the replica could not be reached.
    pub(super) fn mark_unhealthy(&self) {
        let until = self.age_millis().saturating_add(millis(RETRY_AFTER));
        self.unhealthy_until.store(until, Ordering::Relaxed);
    }

    /// Notes that the replica answered.
    pub(super) fn mark_healthy(&self) {
        // Read first: a store would take the cache line from the other threads at every call.
        if self.unhealthy_until.load(Ordering::Relaxed) != 0 {
            self.unhealthy_until.store(0, Ordering::Relaxed);
        }
    }

    fn age_millis(&self) -> u64 {
        millis(self.created.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
