//! Counts the requests of one connection that are in flight.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The requests of a connection that are in flight. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct ConnectionLoad(Arc<AtomicUsize>);

/// A request that counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Counting(Arc<AtomicUsize>);

impl ConnectionLoad {
    /// The number of requests in flight.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more request.
    pub(crate) fn enter(&self) -> Counting {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counting(Arc::clone(&self.0))
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
