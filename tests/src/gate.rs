//! An Executor that holds its requests until a test lets them go, so that no test has to wait for time to pass.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use executor_fn::{Executor, Reply};
use gateway::gateway::Registry;
use tokio::sync::Semaphore;

/// What a test and its Executors have in common; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    begun: Semaphore,
    open: Semaphore,
    answered: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Gate {
    /// A gate that lets nobody pass.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(State {
            begun: Semaphore::new(0),
            open: Semaphore::new(0),
            answered: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
        }))
    }

    /// An Executor behind this gate; its documents come back unchanged.
    #[must_use]
    pub fn executor(&self) -> Executor {
        let gate = self.clone();
        Executor::new("Gate").on_default(move |_| {
            let mut passage = Passage::new(&gate);
            async move {
                passage.pass().await;
                Ok(Reply::unchanged())
            }
        })
    }

    /// A registry in which `inproc://gate` is this gate's Executor.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let gate = self.clone();
        Registry::default().with("gate", move || gate.executor())
    }

    /// Waits until so many requests more have come to the gate.
    ///
    /// # Panics
    /// Never: a gate does not go away.
    pub async fn begun(&self, requests: u32) {
        let begun = self.0.begun.acquire_many(requests).await;
        begun.expect("never closed").forget();
    }

    /// Lets so many requests more pass.
    pub fn open(&self, requests: usize) {
        self.0.open.add_permits(requests);
    }

    /// How many have passed.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.0.answered.load(Ordering::SeqCst)
    }

    /// How many were given up before they could pass.
    #[must_use]
    pub fn cancelled(&self) -> usize {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

/// One request's way through the gate.
struct Passage {
    gate: Gate,
    passed: bool,
}

impl Passage {
    fn new(gate: &Gate) -> Self {
        Self {
            gate: gate.clone(),
            passed: false,
        }
    }

    async fn pass(&mut self) {
        let state = &self.gate.0;
        state.begun.add_permits(1);
        state.open.acquire().await.expect("never closed").forget();
        self.passed = true;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let count = match self.passed {
            true => &self.gate.0.answered,
            false => &self.gate.0.cancelled,
        };
        count.fetch_add(1, Ordering::SeqCst);
    }
}
