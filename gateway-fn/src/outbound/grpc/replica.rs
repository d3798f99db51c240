//! One replica: its peer, and whether it was just found gone.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tonic::metadata::MetadataMap;

use super::{ChannelError, GrpcAddress, GrpcOptions, peer::Peer};

/// How long a replica that was found gone is passed over: long enough that a burst does not try it again and again,
/// short enough that one that restarts is back at once.
const COOL_OFF: Duration = Duration::from_secs(1);

/// One replica of a deployment.
#[derive(Debug)]
pub(super) struct Replica {
    authority: String,
    pub(super) peer: Peer,
    born: Instant,
    /// Milliseconds after `born` until which the replica is passed over; 0 while it is there.
    gone_until: AtomicU64,
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
            born: Instant::now(),
            gone_until: AtomicU64::new(0),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether to call it. Of those who ask about a replica that was gone, one is told yes each time the cool-off has
    /// passed, and finds out for all whether it is back.
    pub(super) fn is_there(&self) -> bool {
        let until = self.gone_until.load(Ordering::Relaxed);
        let now = self.age();
        let next = now.saturating_add(millis(COOL_OFF));
        until == 0
            || (now >= until
                && self
                    .gone_until
                    .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok())
    }

    /// Notes that nobody was there.
    pub(super) fn note_gone(&self) {
        let until = self.age().saturating_add(millis(COOL_OFF));
        self.gone_until.store(until, Ordering::Relaxed);
    }

    /// Notes that somebody answered.
    pub(super) fn note_there(&self) {
        if self.gone_until.load(Ordering::Relaxed) != 0 {
            self.gone_until.store(0, Ordering::Relaxed);
        }
    }

    fn age(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
