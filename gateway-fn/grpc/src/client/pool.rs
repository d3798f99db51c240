//! The connections to one address: every worker thread has its own, so that a call crosses no thread.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use flowgate_server::workers;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, poll_fn},
};
use h2::client::SendRequest;
use http::{Uri, uri::PathAndQuery};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Connection,
    connect::{Address, ConnectError},
    connection::{self, MAX_PAUSE, PingPace},
};

/// The connections to one address, which are opened when they are first needed, and again when they are lost.
pub struct Pool {
    address: Address,
    pace: PingPace,
    /// The connections of each worker thread, and at the end those of all other threads.
    by_worker: Box<[OnceLock<Slots>]>,
    connections: NonZeroUsize,
}

/// The connections of one thread, used in turn.
struct Slots {
    slots: Box<[Arc<Mutex<Slot>>]>,
    turn: AtomicUsize,
}

/// The result of opening a connection, for every call that waits for it.
type Opening = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, ConnectError>>>;

#[derive(Default)]
enum Slot {
    #[default]
    Closed,
    /// An [`Attempt`] opens the connection, and replaces this at its end; calls that need it wait for the same result.
    Opening(Opening),
    Open {
        sender: SendRequest<Bytes>,
        last_used: SystemTime,
        /// Since when calls find that the peer allows no requests.
        paused_since: Option<Instant>,
    },
}

/// A connection that was not used for this long is replaced. A load balancer on the way may have dropped it (some do after
/// a few minutes), or the process was frozen as a Lambda function: a call on it would break, and could not be repeated.
/// Measured by the time of day, because no other clock runs while a function is frozen.
const MAX_IDLE: Duration = Duration::from_secs(60);

impl Pool {
    /// Prepares about `connections` connections, at least one for each worker thread that calls. None is opened yet.
    #[must_use]
    pub fn new(address: Address, connections: NonZeroUsize) -> Self {
        let shards = workers::default_count().get() + 1;
        Self {
            address,
            pace: PingPace::default(),
            by_worker: (0..shards).map(|_| OnceLock::new()).collect(),
            connections,
        }
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the URL of a path at this address.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.address.scheme());
        parts.authority = Some(self.address.host().authority().clone());
        parts.path_and_query = Some(path);
        // Cannot fail, because all three parts are present.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Returns an open connection for a call. If none is open, waits until one is; dropping the future does not stop that.
    ///
    /// # Errors
    /// When no connection can be opened.
    pub async fn connection(&self) -> Result<Connection, ConnectError> {
        let slot = self.slots().next();
        let sender = match self.open(slot) {
            Ok(sender) => sender,
            Err(opening) => opening.await?,
        };
        Ok(Connection(sender))
    }

    /// Returns the open connection. If there is none, starts to open one, and returns its future result as the error.
    fn open(&self, place: &Arc<Mutex<Slot>>) -> Result<SendRequest<Bytes>, Opening> {
        let mut slot = lock(place);
        match &mut *slot {
            Slot::Open {
                sender,
                last_used,
                paused_since,
            } => {
                let mut sender = sender.clone();
                let is_paused = sender.current_max_send_streams() == 0;
                *paused_since = is_paused.then(|| paused_since.unwrap_or_else(Instant::now));
                let is_usable = paused_since.is_none_or(|since| since.elapsed() < MAX_PAUSE);
                // A connection that has ended says so when it is polled.
                let ready = poll_fn(|context| sender.poll_ready(context)).now_or_never();
                let now = SystemTime::now();
                let idle = now.duration_since(*last_used).unwrap_or_default();
                if let Some(Ok(())) = ready
                    && idle < MAX_IDLE
                    && is_usable
                {
                    *last_used = now;
                    return Ok(sender);
                }
            }
            Slot::Opening(opening) => return Err(opening.clone()),
            Slot::Closed => {}
        }
        let (report, result) = oneshot::channel();
        let result = async move { result.await.unwrap_or(Err(ConnectError::TimedOut)) };
        let opening = result.boxed().shared();
        *slot = Slot::Opening(opening.clone());
        // The attempt locks the slot when it is dropped, which a runtime that ends does at once.
        drop(slot);
        let mut attempt = Attempt {
            slot: Arc::clone(place),
            opened: None,
        };
        let (address, pace) = (self.address.clone(), self.pace.clone());
        // In a task, so that it goes on when the call that began it is cancelled.
        tokio::spawn(async move {
            let result = connection::open(&address, pace).await;
            attempt.opened = result.as_ref().ok().cloned();
            drop(attempt);
            // Fails if all calls that waited were cancelled.
            let _ = report.send(result);
        });
        Err(opening)
    }

    fn slots(&self) -> &Slots {
        let last = self.by_worker.len() - 1;
        let worker = workers::current();
        let index = worker.map_or(last, |worker| worker % last);
        self.by_worker[index].get_or_init(|| {
            let count = match worker {
                Some(_) => self.connections.get().div_ceil(last),
                None => self.connections.get(),
            };
            Slots {
                slots: (0..count).map(|_| Arc::default()).collect(),
                turn: AtomicUsize::new(0),
            }
        })
    }
}

/// An attempt to open the connection of a slot. Puts its result there when it is dropped, whether calls still wait for it or
/// not.
struct Attempt {
    slot: Arc<Mutex<Slot>>,
    opened: Option<SendRequest<Bytes>>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        *lock(&self.slot) = self.opened.take().map_or(Slot::Closed, Slot::open);
    }
}

impl Slot {
    fn open(sender: SendRequest<Bytes>) -> Self {
        let last_used = SystemTime::now();
        Self::Open {
            sender,
            last_used,
            paused_since: None,
        }
    }
}

impl Slots {
    fn next(&self) -> &Arc<Mutex<Slot>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.slots[turn % self.slots.len()]
    }
}

fn lock(slot: &Mutex<Slot>) -> std::sync::MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::client::{Host, SystemResolver};

    #[tokio::test]
    async fn an_attempt_whose_callers_were_cancelled_is_not_used_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let host = Host::new(&format!("127.0.0.1:{port}"), Arc::new(SystemResolver));
        let address = Address::new(Arc::new(host.expect("valid")), None).expect("valid");
        let pool = Pool::new(address, NonZeroUsize::MIN);
        let accepted = tokio::select! {
            _ = pool.connection() => panic!("the peer does not answer"),
            accepted = listener.accept() => accepted.expect("a connection"),
        };
        let slot = pool.slots().next();
        assert!(matches!(*lock(slot), Slot::Opening(_)));
        drop(accepted);
        // The attempt fails, and no call waits for it any more.
        let ended = async {
            while matches!(*lock(slot), Slot::Opening(_)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ended);
        ended.await.expect("the attempt has left its place");
        // The next call opens another connection.
        tokio::select! {
            _ = pool.connection() => panic!("the result of the attempt before"),
            accepted = listener.accept() => accepted.expect("a connection"),
        };
    }
}
