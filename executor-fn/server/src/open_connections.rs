//! Knows what each open connection is used for, and closes the least useful ones when a new client needs a place.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long a connection that has served a request must be idle before it may be closed for another client: the next request
/// of a client usually follows soon, and would be lost with the connection.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// The part of the open connections that is closed at once, so that not every new client has to look for one.
const BATCH: usize = 64;

/// How often the log says that connections are closed for others.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The open connections of all listeners that share a limit.
///
/// There is no limit for one address, because a load balancer or a NAT has one address for all of its clients. Only when
/// connections must be closed, the address with the most of those that may be closed loses its own first.
#[derive(Debug, Default)]
pub struct OpenConnections {
    next_id: AtomicU64,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<u64, Arc<Entry>>,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    state: Mutex<State>,
    evicted: CancellationToken,
    /// Wakes the connection when its last request has ended.
    unused: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose head has arrived and whose response has not ended, and protocols that took the connection over.
    in_use: usize,
    /// When the connection was accepted, or when its last request ended.
    idle_since: Instant,
    /// Whether the head of a request has arrived.
    has_begun: bool,
}

impl OpenConnections {
    /// Registers a connection until the returned value is dropped.
    pub(crate) fn register(self: &Arc<Self>, peer: SocketAddr) -> Registered {
        let entry = Arc::new(Entry {
            address: peer.ip().to_canonical(),
            state: Mutex::new(State {
                in_use: 0,
                idle_since: Instant::now(),
                has_begun: false,
            }),
            evicted: CancellationToken::new(),
            unused: Notify::new(),
        });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.entries().by_id.insert(id, Arc::clone(&entry));
        Registered {
            open: Arc::clone(self),
            id,
            entry,
        }
    }

    /// Closes some connections on which no request is in progress: first those on which no whole head of a request has
    /// arrived yet, then those between two requests; of each kind first those of the address that has most of them, and the
    /// oldest. Returns how many.
    pub(crate) fn evict(&self) -> usize {
        let mut entries = self.entries();
        let now = Instant::now();
        let idle = entries.by_id.values().filter_map(|entry| {
            let kind = entry.evictable(now)?;
            Some((kind, Arc::clone(entry)))
        });
        let mut idle: Vec<_> = idle.collect();
        let mut by_kind: HashMap<(bool, IpAddr), usize> = HashMap::new();
        for ((has_begun, _), entry) in &idle {
            *by_kind.entry((*has_begun, entry.address)).or_default() += 1;
        }
        idle.sort_by_cached_key(|((has_begun, since), entry)| {
            let of_address = by_kind.get(&(*has_begun, entry.address)).copied();
            (*has_begun, std::cmp::Reverse(of_address), *since)
        });
        idle.truncate((entries.by_id.len() / BATCH).max(1));
        for (_, entry) in &idle {
            entry.evicted.cancel();
        }
        if !idle.is_empty() && entries.should_log(now) {
            let (open, closed) = (entries.by_id.len(), idle.len());
            tracing::warn!(
                open,
                closed,
                "the limit of connections is reached: idle and unfinished ones are closed for new clients"
            );
        }
        idle.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn should_log(&mut self, now: Instant) -> bool {
        let is_due = self
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }
}

impl Entry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a request has begun on it and since when it is idle; `None` if it must stay, or is closing already.
    fn evictable(&self, now: Instant) -> Option<(bool, Instant)> {
        let state = self.state();
        let (has_begun, since) = (state.has_begun, state.idle_since);
        let is_evictable = state.in_use == 0
            && !self.evicted.is_cancelled()
            && (!has_begun || now.duration_since(since) >= MIN_IDLE);
        is_evictable.then_some((has_begun, since))
    }
}

/// A connection in the list of those that are open, which it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    open: Arc<OpenConnections>,
    id: u64,
    entry: Arc<Entry>,
}

impl Registered {
    pub(crate) fn usage(&self) -> Usage {
        Usage(Some(Arc::clone(&self.entry)))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.open.entries().by_id.remove(&self.id);
    }
}

/// What a connection is used for. Clones share it. The default is a connection that is never closed for another client.
#[derive(Clone, Debug, Default)]
pub struct Usage(Option<Arc<Entry>>);

impl Usage {
    /// Notes the begin of a request, which ends when the returned value is dropped.
    #[must_use]
    pub fn begin(&self) -> InUse {
        if let Some(entry) = &self.0 {
            let mut state = entry.state();
            state.in_use += 1;
            state.has_begun = true;
        }
        InUse(self.0.clone())
    }

    /// Whether a request has begun on the connection.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|entry| entry.state().has_begun)
    }

    /// Whether a request is in progress.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|entry| entry.state().in_use > 0)
    }

    /// Whether the requests of the connection are counted.
    pub(crate) const fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until no request is in progress. Only the connection itself may wait.
    pub(crate) async fn unused(&self) {
        while let Some(entry) = self.0.as_ref().filter(|_| self.is_in_use()) {
            entry.unused.notified().await;
        }
    }

    /// Waits until the connection must be closed for another client, as soon as it serves no request.
    pub async fn evicted(&self) {
        match &self.0 {
            Some(entry) => entry.evicted.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

/// A request in progress on a connection.
#[derive(Debug)]
pub struct InUse(Option<Arc<Entry>>);

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(entry) = &self.0 {
            let mut state = entry.state();
            state.in_use -= 1;
            state.idle_since = Instant::now();
            if state.in_use == 0 {
                // Kept if the connection does not wait yet.
                entry.unused.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u8) -> SocketAddr {
        ([127, 0, 0, host], 1000).into()
    }

    fn evicted(connections: &[Registered]) -> Vec<usize> {
        let is_evicted = |connection: &Registered| connection.entry.evicted.is_cancelled();
        let all = connections.iter().enumerate();
        all.filter(|(_, connection)| is_evicted(connection))
            .map(|(n, _)| n)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_connections_are_closed_before_idle_ones_and_the_oldest_first() {
        let open = Arc::new(OpenConnections::default());
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(open.register(peer(1)));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        // 0 has served a request, 1 is serving one.
        drop(connections[0].usage().begin());
        let serving = connections[1].usage().begin();
        for expected in [&[2][..], &[2, 3]] {
            assert_eq!(open.evict(), 1);
            assert_eq!(evicted(&connections), expected);
        }
        assert_eq!(open.evict(), 0, "the others have been idle for a moment");
        tokio::time::advance(MIN_IDLE).await;
        assert_eq!(open.evict(), 1);
        assert_eq!(evicted(&connections), [0, 2, 3]);
        drop(serving);
        tokio::time::advance(MIN_IDLE).await;
        connections.remove(0);
        assert_eq!(open.evict(), 1);
        assert_eq!(open.entries().by_id.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_with_the_most_idle_connections_loses_its_own_first() {
        let open = Arc::new(OpenConnections::default());
        let hosts = [1, 2, 3, 2, 3, 2];
        let mut connections = Vec::new();
        for host in hosts {
            connections.push(open.register(peer(host)));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        for expected in [&[1][..], &[1, 2]] {
            assert_eq!(open.evict(), 1);
            assert_eq!(evicted(&connections), expected);
        }
    }

    /// The idle connections of an address that is used much do not count against its new ones.
    #[tokio::test(start_paused = true)]
    async fn an_address_loses_connections_of_a_kind_that_it_has_most_of() {
        let open = Arc::new(OpenConnections::default());
        let mut connections = Vec::new();
        for (host, is_served) in [(1, true), (1, true), (1, false), (2, false), (2, false)] {
            connections.push(open.register(peer(host)));
            if is_served {
                drop(connections[connections.len() - 1].usage().begin());
            }
            tokio::time::advance(MIN_IDLE).await;
        }
        for expected in [&[3][..], &[2, 3], &[2, 3, 4], &[0, 2, 3, 4]] {
            assert_eq!(open.evict(), 1);
            assert_eq!(evicted(&connections), expected);
        }
    }

    #[tokio::test]
    async fn many_connections_are_closed_at_once() {
        let open = Arc::new(OpenConnections::default());
        let connections: Vec<_> = (0..640).map(|_| open.register(peer(1))).collect();
        assert_eq!(open.evict(), 10);
        assert_eq!(evicted(&connections).len(), 10);
        let usage = Usage::default();
        assert!(!usage.is_in_use());
        drop(usage.begin());
    }
}
