//! Threads that each run the tasks of their own connections, so that a request crosses no thread.

use std::{
    cell::Cell,
    future::Future,
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::blocking;

thread_local! {
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Returns the index of the worker on whose thread this is called; `None` on any other thread.
#[must_use]
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// Returns how many workers there are by default: one for each core that this process may use.
#[must_use]
pub fn default_count() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Worker threads. They end when this is dropped, and tasks that are still running with them.
#[derive(Debug)]
pub struct Workers {
    workers: Box<[Worker]>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// The number of tasks that were given to it and have not ended.
    tasks: Arc<AtomicUsize>,
    /// Dropped to end the thread. The process does not wait for it, because a task that does not yield must not delay the
    /// end of the process.
    _running: oneshot::Sender<()>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system refuses a thread or a poll.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let workers: io::Result<_> = (0..count.get()).map(Worker::start).collect();
        Ok(Self {
            workers: workers?,
            turn: AtomicUsize::new(0),
        })
    }

    /// Runs a task on the worker with the fewest tasks. Workers with equally few take turns.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.workers.len();
        let in_turn = (0..count).map(|step| &self.workers[turn.wrapping_add(step) % count]);
        if let Some(worker) = in_turn.min_by_key(|worker| worker.tasks.load(Ordering::Relaxed)) {
            worker.spawn(task);
        }
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking::max_threads())
            .build()?;
        let handle = runtime.handle().clone();
        let (running, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                CURRENT.set(Some(index));
                // Ends with an error when the sender is dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            runtime: handle,
            tasks: Arc::default(),
            _running: running,
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.tasks));
        self.runtime.spawn(async move {
            let _counted = counted;
            task.await;
        });
    }
}

/// Counts a task until it ends, also when it is aborted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

    #[tokio::test]
    async fn tasks_are_spread_evenly_over_the_workers() {
        let workers = Workers::start(TWO).expect("threads");
        assert_eq!(current(), None);
        let (sender, mut receiver) = mpsc::channel(8);
        for _ in 0..8 {
            let sender = sender.clone();
            workers.spawn(async move {
                let _ = sender.send(current()).await;
                std::future::pending().await
            });
        }
        let mut counts = [0; 2];
        for _ in 0..8 {
            let worker = receiver.recv().await.flatten().expect("a worker");
            counts[worker] += 1;
        }
        assert_eq!(counts, [4, 4]);
    }

    #[tokio::test]
    async fn unfinished_tasks_end_with_the_workers() {
        let workers = Workers::start(TWO).expect("threads");
        let (sender, receiver) = oneshot::channel::<()>();
        workers.spawn(async move {
            let _sender = sender;
            std::future::pending().await
        });
        drop(workers);
        receiver.await.expect_err("the task was dropped");
    }
}
