//! The invocations of one function: those that wait for a runtime, and those that one has taken.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{InvokeError, Outcome};
use crate::local::moment::Moment;

/// What is to be invoked.
#[derive(Debug)]
pub(in crate::local) struct Request {
    pub(in crate::local) id: String,
    pub(in crate::local) payload: Bytes,
    pub(in crate::local) trace: Option<String>,
    /// JSON, as the runtime gets it.
    pub(in crate::local) client_context: Option<String>,
}

/// Whether an invocation waits for a runtime that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::local) enum Patience {
    /// It is throttled, as a synchronous one is on Lambda.
    None,
    /// It waits, as an asynchronous one does.
    Waits,
}

/// An invocation that a runtime has taken.
#[derive(Debug)]
pub(in crate::local) struct Taken {
    pub(in crate::local) request: Request,
    pub(in crate::local) deadline: Moment,
}

/// The invocations of one function.
#[derive(Debug)]
pub(in crate::local) struct Queue {
    timeout: Duration,
    most: usize,
    /// Processes at once; none are started for a function whose runtimes are started by hand.
    processes: Option<usize>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Request, oneshot::Sender<Outcome>)>,
    running: HashMap<String, Running>,
    /// Runtimes that wait for an invocation.
    polling: usize,
    processes: HashMap<usize, Process>,
    /// The number of the last process.
    last: usize,
}

#[derive(Debug)]
struct Running {
    answer: oneshot::Sender<Outcome>,
    process: Option<usize>,
    /// Ends the invocation when its time is up.
    _timer: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Process {
    /// It has asked for an invocation.
    is_ready: bool,
    /// What it reported instead.
    init_error: Option<Bytes>,
    kill: CancellationToken,
}

/// A process that is to be started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) number: usize,
    pub(super) kill: CancellationToken,
}

impl Request {
    pub(in crate::local) fn new(payload: Bytes, trace: Option<String>) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            payload,
            trace,
            client_context: None,
        }
    }
}

impl Queue {
    pub(super) fn new(timeout: Duration, most: usize, processes: Option<usize>) -> Self {
        Self {
            timeout,
            most,
            processes,
            state: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Takes a request in, and says whether a process is to be started for it.
    pub(super) fn submit(
        &self,
        request: Request,
        patience: Patience,
    ) -> Result<(oneshot::Receiver<Outcome>, Option<Start>), InvokeError> {
        let mut state = self.state();
        let free = match (self.processes, patience) {
            (Some(most), Patience::None) => state.room() + most - state.processes.len(),
            (None, _) | (_, Patience::Waits) => self.most,
        };
        if state.waiting.len() >= free.min(self.most) {
            return Err(InvokeError::Throttled);
        }
        let (answer, answered) = oneshot::channel();
        state.waiting.push_back((request, answer));
        let start = self.start_if_needed(&mut state);
        drop(state);
        self.news.notify_one();
        Ok((answered, start))
    }

    /// Waits for an invocation; its time runs from here.
    pub(in crate::local) async fn take(self: &Arc<Self>, process: Option<usize>) -> Taken {
        self.note_ready(process);
        let _polling = Polling::new(self);
        loop {
            let news = self.news.notified();
            if let Some(taken) = self.try_take(process) {
                return taken;
            }
            news.await;
        }
    }

    /// Ends an invocation; false where there is none of this id, perhaps because its time was up.
    pub(in crate::local) fn finish(&self, id: &str, outcome: Outcome) -> bool {
        let running = self.state().running.remove(id);
        let is_known = running.is_some();
        if let Some(running) = running {
            // A caller that has gone wants no answer.
            let _ = running.answer.send(outcome);
        }
        is_known
    }

    /// Whether this invocation is under way.
    pub(in crate::local) fn is_running(&self, id: &str) -> bool {
        self.state().running.contains_key(id)
    }

    /// A process says that it will never ask for an invocation; what waits first hears why when it ends.
    pub(in crate::local) fn init_failed(&self, process: Option<usize>, error: Bytes) {
        let mut state = self.state();
        match process.and_then(|number| state.processes.get_mut(&number)) {
            Some(process) => process.init_error = Some(error),
            None => {
                tracing::warn!(error = %String::from_utf8_lossy(&error), "a runtime failed to start")
            }
        }
    }

    pub(super) fn is_ready(&self, process: usize) -> bool {
        let state = self.state();
        state
            .processes
            .get(&process)
            .is_some_and(|process| process.is_ready)
    }

    /// A process has ended: what it had taken has failed, and what it was started for too. Says whether another is to
    /// be started for what still waits.
    pub(super) fn gone(&self, number: usize, outcome: &Outcome) -> Option<Start> {
        let mut state = self.state();
        let process = state.processes.remove(&number).unwrap_or_default();
        let outcome = process
            .init_error
            .map_or_else(|| outcome.clone(), Outcome::Failed);
        let taken: Vec<_> = state
            .running
            .extract_if(|_, running| running.process == Some(number))
            .collect();
        for (_, running) in taken {
            let _ = running.answer.send(outcome.clone());
        }
        // Each process that never came up fails one invocation, so that they cannot be started for ever.
        if !process.is_ready
            && let Some((_, answer)) = state.waiting.pop_front()
        {
            let _ = answer.send(outcome);
        }
        self.start_if_needed(&mut state)
    }

    fn start_if_needed(&self, state: &mut State) -> Option<Start> {
        let most = self.processes?;
        if state.waiting.len() <= state.expected() || state.processes.len() >= most {
            return None;
        }
        state.last += 1;
        let (number, process) = (state.last, Process::default());
        let kill = process.kill.clone();
        state.processes.insert(number, process);
        Some(Start { number, kill })
    }

    fn note_ready(&self, process: Option<usize>) {
        let mut state = self.state();
        if let Some(process) = process.and_then(|number| state.processes.get_mut(&number)) {
            process.is_ready = true;
        }
    }

    fn try_take(self: &Arc<Self>, process: Option<usize>) -> Option<Taken> {
        let mut state = self.state();
        let (request, answer) = state.waiting.pop_front()?;
        let (queue, id, timeout) = (Arc::downgrade(self), request.id.clone(), self.timeout);
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(queue) = queue.upgrade() {
                queue.expire(&id);
            }
        });
        let running = Running {
            answer,
            process,
            _timer: AbortOnDropHandle::new(timer),
        };
        state.running.insert(request.id.clone(), running);
        let deadline = Moment::now().later(timeout);
        Some(Taken { request, deadline })
    }

    /// Lambda ends the whole process when an invocation takes too long.
    fn expire(&self, id: &str) {
        let mut state = self.state();
        let Some(running) = state.running.remove(id) else {
            return;
        };
        let seconds = self.timeout.as_secs_f64();
        let said = format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
        if let Some(process) = running
            .process
            .and_then(|number| state.processes.get(&number))
        {
            process.kill.cancel();
        }
        let _ = running
            .answer
            .send(Outcome::failed("Sandbox.Timedout", &said));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Runtimes that will take an invocation: those that wait for one, and those that are coming up.
    fn expected(&self) -> usize {
        let starting = self.processes.values().filter(|process| !process.is_ready);
        self.polling + starting.count()
    }

    /// Those, and the runtimes that have just answered and are about to ask again.
    fn room(&self) -> usize {
        let is_idle = |number: &&usize| {
            !self
                .running
                .values()
                .any(|running| running.process == Some(**number))
        };
        self.expected()
            .max(self.processes.keys().filter(is_idle).count())
    }
}

/// A runtime that waits for an invocation, for as long as this lives.
struct Polling<'a>(&'a Queue);

impl<'a> Polling<'a> {
    fn new(queue: &'a Queue) -> Self {
        queue.state().polling += 1;
        Self(queue)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.0.state().polling -= 1;
    }
}
