//! One replica of a deployment, and whether it is healthy.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tonic::metadata::MetadataMap;

use super::{ChannelError, GrpcAddress, GrpcOptions, peer::Peer};

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
