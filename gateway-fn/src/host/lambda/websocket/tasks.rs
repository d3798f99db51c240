//! The work of this process by connection: cancelled when the client has disconnected, awaited before the connection is
//! closed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// The requests under way, by connection. There is more than one at a time only where a function takes several events at
/// once.
#[derive(Debug, Default)]
pub(super) struct ConnectionTasks(Mutex<HashMap<String, Tasks>>);

/// The requests of one connection.
#[derive(Debug, Default)]
struct Tasks {
    cancellation: CancellationToken,
    running: TaskTracker,
}

/// One request under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct TaskGuard<'a> {
    tasks: &'a ConnectionTasks,
    connection_id: &'a str,
    cancellation: CancellationToken,
    token: Option<TaskTrackerToken>,
}

impl ConnectionTasks {
    pub(super) fn start<'a>(&'a self, connection_id: &'a str) -> TaskGuard<'a> {
        let mut connections = self.lock();
        let tasks = connections.entry(connection_id.to_owned()).or_default();
        TaskGuard {
            tasks: self,
            connection_id,
            cancellation: tasks.cancellation.clone(),
            token: Some(tasks.running.token()),
        }
    }

    /// Cancels the work for a client that has disconnected.
    pub(super) fn cancel(&self, connection_id: &str) {
        if let Some(tasks) = self.lock().get(connection_id) {
            tasks.cancellation.cancel();
        }
    }

    /// Waits until there is no work for this connection.
    pub(super) async fn wait_until_idle(&self, connection_id: &str) {
        let running = self
            .lock()
            .get(connection_id)
            .map(|tasks| tasks.running.clone());
        if let Some(running) = running {
            running.close();
            running.wait().await;
        }
    }

    /// A poisoned lock is used as well: nothing that runs under it leaves the map half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tasks>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskGuard<'_> {
    /// Completes when the client has disconnected.
    pub(super) async fn cancelled(&self) {
        self.cancellation.cancelled().await;
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        let mut connections = self.tasks.lock();
        self.token = None;
        if let Some(tasks) = connections.get(self.connection_id)
            && tasks.running.is_empty()
        {
            connections.remove(self.connection_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_cancelled_by_connection_and_forgotten_when_done() {
        let tasks = ConnectionTasks::default();
        let (first, second) = (tasks.start("a"), tasks.start("a"));
        let other = tasks.start("b");
        tasks.cancel("a");
        first.cancelled().await;
        second.cancelled().await;
        assert!(!other.cancellation.is_cancelled());
        drop(first);
        assert!(tasks.lock().contains_key("a"));
        drop((second, other));
        assert!(tasks.lock().is_empty());
        tasks.wait_until_idle("a").await;
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_its_last_request_is_done() {
        let tasks = ConnectionTasks::default();
        let task = tasks.start("a");
        let mut idle = Box::pin(tasks.wait_until_idle("a"));
        assert!(futures_util::poll!(&mut idle).is_pending());
        drop(task);
        idle.await;
    }
}
