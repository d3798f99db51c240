//! What this process does for which connection: stopped when the client is gone, waited for before it is sent away.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// The work under way, by connection. There is more than one at a time only where a function takes several events at
/// once.
#[derive(Debug, Default)]
pub(super) struct Work(Mutex<HashMap<String, Of>>);

#[derive(Debug, Default)]
struct Of {
    gone: CancellationToken,
    running: TaskTracker,
}

/// One piece of work; over when dropped.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    all: &'a Work,
    connection: &'a str,
    gone: CancellationToken,
    token: Option<TaskTrackerToken>,
}

impl Work {
    pub(super) fn begin<'a>(&'a self, connection: &'a str) -> Piece<'a> {
        let mut held = self.lock();
        let of = held.entry(connection.to_owned()).or_default();
        Piece {
            all: self,
            connection,
            gone: of.gone.clone(),
            token: Some(of.running.token()),
        }
    }

    /// The client is gone: nobody wants what is being done for it.
    pub(super) fn stop(&self, connection: &str) {
        if let Some(of) = self.lock().get(connection) {
            of.gone.cancel();
        }
    }

    /// Waits until nothing is being done for this connection.
    pub(super) async fn idle(&self, connection: &str) {
        let running = self.lock().get(connection).map(|of| of.running.clone());
        if let Some(running) = running {
            running.close();
            running.wait().await;
        }
    }

    /// Never poisoned for long: nothing under the lock panics.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Of>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece<'_> {
    /// Comes when the client is gone.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Piece<'_> {
    fn drop(&mut self) {
        let mut held = self.all.lock();
        self.token = None;
        if let Some(of) = held.get(self.connection)
            && of.running.is_empty()
        {
            held.remove(self.connection);
        }
    }
}

/// The asynchronous events that were taken on lately, the oldest first.
#[derive(Debug, Default)]
pub(super) struct TakenOn(Mutex<VecDeque<String>>);

impl TakenOn {
    /// Whether this one is new. AWS may deliver an event again, also when nothing failed.
    pub(super) fn is_new(&self, id: &str) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.iter().any(|taken| taken == id) {
            return false;
        }
        if held.len() == REMEMBERED {
            held.pop_front();
        }
        held.push_back(id.to_owned());
        true
    }
}

/// More events than a function has within the minutes in which AWS tries again.
const REMEMBERED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_stopped_by_connection_and_forgotten_when_done() {
        let work = Work::default();
        let (first, second) = (work.begin("a"), work.begin("a"));
        let other = work.begin("b");
        work.stop("a");
        first.gone().await;
        second.gone().await;
        assert!(!other.gone.is_cancelled());
        drop(first);
        assert!(work.lock().contains_key("a"));
        drop((second, other));
        assert!(work.lock().is_empty());
        work.idle("a").await;
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_the_last_piece_is_done() {
        let work = Work::default();
        let piece = work.begin("a");
        let mut idle = Box::pin(work.idle("a"));
        assert!(futures_util::poll!(&mut idle).is_pending());
        drop(piece);
        idle.await;
    }

    #[test]
    fn an_event_is_new_once() {
        let taken = TakenOn::default();
        assert!(taken.is_new("a") && !taken.is_new("a"));
        for number in 0..REMEMBERED {
            assert!(taken.is_new(&number.to_string()));
        }
        assert!(taken.is_new("a"), "as many are remembered, and no more");
    }
}
