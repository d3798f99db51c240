//! Chooses the replica of a call: round robin, avoiding unhealthy replicas.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::replica::Replica;

/// The replicas of one deployment. All requests share one round robin (facts of Jina 3.13).
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
