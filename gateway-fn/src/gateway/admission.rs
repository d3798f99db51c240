//! Limits how many requests are handled at once, with one atomic counter.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The requests that every connection may have in flight, so that a Gateway with a small limit does not serve its clients
/// one request at a time.
const MIN_FAIR_SHARE: usize = 8;

/// How many times the share of a stream the single calls of a connection may take: with the default share of 10 %, nine times
/// as many places as they leave free. Balancers send the calls of all their clients over a few connections, so that one alone
/// may need nine places of ten; ten connections together still leave one of a hundred.
const SINGLE_CALLS_FACTOR: usize = 90;

/// The places for requests that may be handled at once.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    /// The percentage of the free places that one connection may take.
    connection_share: usize,
    in_flight: AtomicUsize,
    freed: Notify,
}

/// A request's place, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Admission>);

impl Admission {
    pub(super) fn new(limit: usize, connection_share: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            connection_share,
            in_flight: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// The number of places.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= self.limit
    }

    /// Returns how many places one connection may hold now for streams, which send as many requests as they may.
    pub(super) fn fair_share(&self) -> usize {
        self.share(1)
    }

    /// Returns how many places one connection may hold now for single calls.
    pub(super) fn share_of_single_calls(&self) -> usize {
        self.share(SINGLE_CALLS_FACTOR)
    }

    fn share(&self, factor: usize) -> usize {
        if self.connection_share >= 100 {
            return self.limit;
        }
        let free = self
            .limit
            .saturating_sub(self.in_flight.load(Ordering::Relaxed));
        let share = free.saturating_mul(self.connection_share * factor) / 100;
        share.max(MIN_FAIR_SHARE)
    }

    /// Takes a place if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let has_room = |in_flight: usize| (in_flight < self.limit).then_some(in_flight + 1);
        self.in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, has_room)
            .ok()
            .map(|_| Place(Arc::clone(self)))
    }

    /// Waits for a free place.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // Registers before the counter is read, so that a place that becomes free in between is not missed.
            freed.as_mut().enable();
            if let Some(place) = self.try_enter() {
                // Another place may have become free for which no request was woken.
                if self.in_flight.load(Ordering::Acquire) < self.limit {
                    self.freed.notify_one();
                }
                return place;
            }
            freed.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        // Requests wait only while all places are taken.
        if before == self.0.limit {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn waiting_requests_get_the_places_that_become_free() {
        let admission = Admission::new(2, 100);
        let first = admission.try_enter().expect("free");
        let second = admission.try_enter().expect("free");
        assert!(admission.try_enter().is_none());
        let waiting = join_all((0..4).map(|_| {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { drop(admission.enter().await) })
        }));
        tokio::task::yield_now().await;
        // Both at once: the second to become free must wake a request too.
        drop((first, second));
        let ended = waiting.await;
        assert!(ended.iter().all(Result::is_ok));
        assert_eq!(admission.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_connection_may_hold_a_share_of_the_free_places() {
        let admission = Admission::new(400, 10);
        assert_eq!(admission.fair_share(), 40);
        let places: Vec<_> = (0..300).map(|_| admission.try_enter()).collect();
        assert_eq!(admission.fair_share(), 10);
        let more: Vec<_> = (0..100).map(|_| admission.try_enter()).collect();
        assert_eq!(admission.fair_share(), MIN_FAIR_SHARE);
        drop((places, more));
        let unlimited = Admission::new(400, 100);
        assert_eq!(unlimited.fair_share(), 400);
        assert_eq!(unlimited.share_of_single_calls(), 400);
    }

    #[test]
    fn single_calls_of_a_connection_may_hold_most_places_but_not_all() {
        for (connections, free) in [(1, 1000), (10, 109), (100, 8)] {
            let admission = Admission::new(10_000, 10);
            let mut held: Vec<usize> = vec![0; connections];
            let mut places = Vec::new();
            loop {
                let before = places.len();
                for held in &mut held {
                    if *held < admission.share_of_single_calls() {
                        places.extend(admission.try_enter());
                        *held += 1;
                    }
                }
                if places.len() == before {
                    break;
                }
            }
            let left = 10_000 - places.len();
            assert!(left.abs_diff(free) <= 10, "{connections}: {left}");
        }
    }
}
