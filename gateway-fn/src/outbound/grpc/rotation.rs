//! Chooses the replica of a call: the one with the fewest calls in flight, in turn between equals. Each address to which a
//! name resolves is a replica.

use std::{
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use flowgate_grpc::client::Address;
use http::HeaderMap;

use super::{
    ChannelError, GrpcAddress, GrpcOptions, channel,
    peer::{Peer, PeerOptions},
    replica::{Clock, Replica, millis},
};

/// How often names are resolved while they are in use, so that new addresses are used: Kubernetes adds those of new Pods to a
/// headless Service. Addresses that are gone are noticed earlier, because names are also resolved for each new connection.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// The replicas of one deployment, shared by all requests.
#[derive(Debug)]
pub(super) struct Rotation {
    executor: Arc<str>,
    options: Arc<PeerOptions>,
    /// The hosts in the Flow, each as an address that may be any of the host's.
    hosts: Vec<Address>,
    /// Whether a host is a name, whose addresses may change.
    has_names: bool,
    /// At least one for each host.
    replicas: RwLock<Vec<Arc<Replica>>>,
    /// The changes of the hosts that `replicas` has taken over.
    changes: AtomicU64,
    /// When names are resolved next, in milliseconds of the clock.
    resolve_at: AtomicU64,
    turn: AtomicUsize,
    clock: Arc<Clock>,
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
        let addresses = addresses.iter();
        let hosts = addresses.map(|address| channel::address(address, options));
        let hosts: Vec<Address> = hosts.collect::<Result<_, _>>()?;
        let rotation = Self {
            executor: executor.into(),
            options: Arc::new(PeerOptions::new(metadata, options)),
            has_names: hosts.iter().any(|address| address.host().is_name()),
            hosts,
            replicas: RwLock::default(),
            changes: AtomicU64::new(0),
            resolve_at: AtomicU64::new(millis(RESOLVE_INTERVAL)),
            turn: AtomicUsize::new(0),
            clock: Arc::default(),
        };
        let hosts = rotation.hosts.iter();
        let replicas = hosts.map(|host| rotation.replica(host.clone(), true));
        let replicas = replicas.collect();
        Ok(Self {
            replicas: RwLock::new(replicas),
            ..rotation
        })
    }

    /// The number of hosts in the Flow.
    pub(super) const fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Returns the replica for an attempt: if possible one that this call has not tried and that is in use, else one that it
    /// has not tried, else any.
    pub(super) fn next(&self, tried: &[Arc<Replica>]) -> Arc<Replica> {
        if self.has_names {
            self.resolve_if_due(self.clock.now());
            self.take_over_changes();
        }
        let replicas = self.replicas.read().unwrap_or_else(PoisonError::into_inner);
        if let [only] = &replicas[..] {
            return Arc::clone(only);
        }
        let now = self.clock.now();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let untried = || {
            let is_tried = |replica| tried.iter().any(|tried| Arc::ptr_eq(tried, replica));
            replicas.iter().filter(move |replica| !is_tried(replica))
        };
        // Read once, because other threads change the numbers meanwhile.
        let in_use = untried().filter(|replica| replica.is_in_use(now));
        let in_use: Vec<_> = in_use
            .map(|replica| (replica.in_flight(), replica))
            .collect();
        let fewest = in_use.iter().map(|(in_flight, _)| *in_flight).min();
        let equals = || {
            let equals = in_use.iter().filter(|place| Some(place.0) == fewest);
            equals.map(|(_, replica)| *replica)
        };
        // The turn is among the equals: those next to one that is left out would get its share otherwise.
        let chosen = equals()
            .nth(turn % equals().count().max(1))
            // One that was in use is a better guess than an address that has never taken a connection.
            .or_else(|| untried().min_by_key(|replica| !replica.was_in_use()));
        Arc::clone(chosen.unwrap_or(&replicas[turn % replicas.len()]))
    }

    /// Resolves the names in the background, if it is time.
    fn resolve_if_due(&self, now: u64) {
        let due = self.resolve_at.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let next = now.saturating_add(millis(RESOLVE_INTERVAL));
        let is_first =
            self.resolve_at
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if is_first.is_err() {
            return;
        }
        for host in self.hosts.iter().map(Address::host) {
            if host.is_name() {
                let host = Arc::clone(host);
                tokio::spawn(async move {
                    if let Err(error) = host.resolve().await {
                        tracing::debug!(%error, "name not resolved: its addresses stay in use");
                    }
                });
            }
        }
    }

    /// Adds replicas for new addresses of the names, and removes those whose address is gone.
    fn take_over_changes(&self) {
        let changes = self.hosts.iter().map(|host| host.host().changes()).sum();
        if self.changes.load(Ordering::Acquire) == changes {
            return;
        }
        let mut replicas = self
            .replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        self.changes.store(changes, Ordering::Release);
        for host in &self.hosts {
            let addresses = host.host().addresses();
            if host.host().is_name() && !addresses.is_empty() {
                self.update(host, &addresses, &mut replicas);
            }
        }
    }

    /// Brings the replicas of a name up to date with its addresses. While one replica still looks for the first address that
    /// takes a connection, it stands for all of them. New addresses are left out until they take a connection: a name may
    /// have addresses that cannot be reached from here, such as those of IPv6.
    fn update(&self, host: &Address, addresses: &[SocketAddr], replicas: &mut Vec<Arc<Replica>>) {
        let mut missing = addresses.to_vec();
        let (mut is_looking, mut is_empty) = (false, true);
        replicas.retain(|replica| {
            let address = replica.peer.address();
            if !Arc::ptr_eq(address.host(), host.host()) {
                return true;
            }
            let is_kept = match address.pin() {
                None => {
                    is_looking = true;
                    true
                }
                Some(pin) => {
                    let place = missing.iter().position(|address| *address == pin);
                    place.map(|place| missing.swap_remove(place)).is_some()
                }
            };
            is_empty &= !is_kept;
            is_kept
        });
        if is_empty {
            replicas.push(self.replica(host.sibling(None), true));
        } else if !is_looking {
            let new = missing.into_iter();
            replicas.extend(new.map(|address| self.replica(host.sibling(Some(address)), false)));
        }
    }

    fn replica(&self, address: Address, is_in_use: bool) -> Arc<Replica> {
        let (executor, clock) = (Arc::clone(&self.executor), Arc::clone(&self.clock));
        let peer = Peer::new(address, &self.options);
        Arc::new(Replica::new(executor, peer, clock, is_in_use))
    }
}

#[cfg(test)]
mod tests;
