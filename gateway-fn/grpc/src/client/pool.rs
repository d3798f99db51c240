//! The connections to one address: every worker thread has its own, so that a call crosses no thread.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Mutex, OnceLock, PoisonError,
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

use super::{
    connect::{Address, ConnectError},
    connection::{self, PingPace},
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
    slots: Box<[Mutex<Slot>]>,
    turn: AtomicUsize,
}

/// The result of opening a connection, for every call that waits for it.
type Opening = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, ConnectError>>>;

#[derive(Default)]
enum Slot {
    #[default]
    Closed,
    /// One task opens the connection; calls that need it wait for the same result.
    Opening(Opening),
    Open {
        sender: SendRequest<Bytes>,
        last_used: SystemTime,
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

    /// Returns the URL of a path at this address.
    pub(super) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.address.scheme());
        parts.authority = Some(self.address.authority().clone());
        parts.path_and_query = Some(path);
        // Cannot fail, because all three parts are present.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Returns an open connection.
    pub(super) async fn connection(&self) -> Result<SendRequest<Bytes>, ConnectError> {
        let slot = self.slots().next();
        let opening = match self.open(slot) {
            Ok(sender) => return Ok(sender),
            Err(opening) => opening,
        };
        let result = opening.await;
        let mut slot = lock(slot);
        if matches!(&*slot, Slot::Opening(_)) {
            *slot = result.clone().map_or(Slot::Closed, Slot::open);
        }
        result
    }

    /// Returns the open connection. If there is none, starts to open one, and returns its future result as the error.
    fn open(&self, slot: &Mutex<Slot>) -> Result<SendRequest<Bytes>, Opening> {
        let mut slot = lock(slot);
        match &mut *slot {
            Slot::Open { sender, last_used } => {
                let mut sender = sender.clone();
                // A connection that has ended says so when it is polled.
                let ready = poll_fn(|context| sender.poll_ready(context)).now_or_never();
                let now = SystemTime::now();
                let idle = now.duration_since(*last_used).unwrap_or_default();
                if let Some(Ok(())) = ready
                    && idle < MAX_IDLE
                {
                    *last_used = now;
                    return Ok(sender);
                }
            }
            Slot::Opening(opening) => return Err(opening.clone()),
            Slot::Closed => {}
        }
        let (address, pace) = (self.address.clone(), self.pace.clone());
        // In a task, so that it goes on when the call that began it is cancelled.
        let task = tokio::spawn(async move { connection::open(&address, pace).await });
        let opening = async move { task.await.unwrap_or(Err(ConnectError::TimedOut)) };
        let opening = opening.boxed().shared();
        *slot = Slot::Opening(opening.clone());
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
                slots: (0..count).map(|_| Mutex::default()).collect(),
                turn: AtomicUsize::new(0),
            }
        })
    }
}

impl Slot {
    fn open(sender: SendRequest<Bytes>) -> Self {
        let last_used = SystemTime::now();
        Self::Open { sender, last_used }
    }
}

impl Slots {
    fn next(&self) -> &Mutex<Slot> {
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
