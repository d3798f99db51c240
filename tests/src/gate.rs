//! An Executor that holds its requests until a test releases them, so that no test needs to sleep.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use executor_fn::{Executor, Reply};
use gateway::gateway::Registry;
use tokio::sync::Semaphore;

/// Connects a test to the Executors whose requests it holds. Clones share the same state.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    arrived: Semaphore,
    released: Semaphore,
    completed: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Gate {
    /// Creates a gate that holds all requests.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(State {
            arrived: Semaphore::new(0),
            released: Semaphore::new(0),
            completed: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        }))
    }

    /// Creates an Executor behind this gate, which returns its documents unchanged.
    #[must_use]
    pub fn executor(&self) -> Executor {
        let gate = self.clone();
        Executor::new("Gate").on_default(move |_| {
            let mut request = HeldRequest::new(&gate);
            async move {
                request.wait_for_release().await;
                Ok(Reply::unchanged())
            }
        })
    }

    /// Creates a registry in which `inproc://gate` is this gate's Executor.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let gate = self.clone();
        Registry::default().with("gate", move || gate.executor())
    }

    /// Waits until this many more requests have arrived.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn wait_for_requests(&self, requests: u32) {
        let arrived = self.0.arrived.acquire_many(requests).await;
        arrived.expect("never closed").forget();
    }

    /// Releases this many more requests.
    pub fn release(&self, requests: usize) {
        self.0.released.add_permits(requests);
    }

    /// Returns how many requests were completed.
    #[must_use]
    pub fn completed(&self) -> usize {
        self.0.completed.load(Ordering::SeqCst)
    }

    /// Returns how many requests were cancelled before their release.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

/// A request at the gate.
struct HeldRequest {
    gate: Gate,
    is_released: bool,
}

impl HeldRequest {
    fn new(gate: &Gate) -> Self {
        Self {
            gate: gate.clone(),
            is_released: false,
        }
    }

    async fn wait_for_release(&mut self) {
        let state = &self.gate.0;
        state.arrived.add_permits(1);
        state
            .released
            .acquire()
            .await
            .expect("never closed")
            .forget();
        self.is_released = true;
    }
}

impl Drop for HeldRequest {
    fn drop(&mut self) {
        let count = match self.is_released {
            true => &self.gate.0.completed,
            false => &self.gate.0.cancelled,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}
