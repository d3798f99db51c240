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

    /// The next one that is not known to be gone; when all are, the one whose turn it is.
    pub(super) fn next(&self) -> &Replica {
        let count = self.replicas.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..count)
            .map(|step| &self.replicas[turn.wrapping_add(step) % count])
            .find(|replica| replica.is_there())
            .unwrap_or(&self.replicas[turn % count])
    }
}
