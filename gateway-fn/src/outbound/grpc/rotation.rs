//! Which replica is next: round robin past those that were just found gone.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::replica::Replica;

/// The replicas of one deployment and whose turn it is; all requests share the turn (facts of Jina 3.13).
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

    /// The next one, best one that this call has not tried and that is not known to be gone.
    pub(super) fn next(&self, tried: &[&str]) -> &Replica {
        let count = self.replicas.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let from_turn = || (0..count).map(|step| &self.replicas[turn.wrapping_add(step) % count]);
        let fresh = |replica: &&Replica| !tried.contains(&replica.authority());
        from_turn()
            .filter(fresh)
            .find(|replica| replica.is_there())
            .or_else(|| from_turn().find(fresh))
            .unwrap_or(&self.replicas[turn % count])
    }
}
