//! The invocations of one function: those that wait for a runtime, and those that a runtime is working on.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use time::UtcDateTime;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    invocation::{Invocation, InvokeError, InvokeResult, log_error},
    log::{FunctionLog, Report},
};
use crate::aws;

/// What happens to an invocation while every runtime is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePolicy {
    /// It is throttled, as Lambda does with a synchronous invocation.
    Throttle,
    /// It waits, as Lambda does with an asynchronous invocation.
    Wait,
}

/// An invocation that a runtime has fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) invocation: Invocation,
    pub(super) deadline: UtcDateTime,
}

/// The invocations of one function.
#[derive(Debug)]
pub(super) struct Queue {
    /// The timeout of one invocation.
    timeout: Duration,
    max_queued: usize,
    /// Maximum number of concurrent processes; `None` for a function with external runtimes, for which none is started.
    max_processes: Option<usize>,
    log: FunctionLog,
    state: Mutex<State>,
    /// Wakes a polling runtime after an invocation was added.
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<(Invocation, oneshot::Sender<InvokeResult>)>,
    /// The invocations that runtimes have fetched, by request id.
    running: HashMap<String, Running>,
    /// How many runtimes are polling for an invocation.
    polling: usize,
    /// The processes that have been started and have not exited, by number.
    processes: HashMap<usize, Process>,
    /// The number of the process that was started last.
    last_process: usize,
}

#[derive(Debug)]
struct Running {
    result: oneshot::Sender<InvokeResult>,
    /// The process that fetched the invocation; `None` for an external runtime.
    process: Option<usize>,
    start: Instant,
    /// How long the process took to start, if this is its first invocation.
    init: Option<Duration>,
    /// Ends the invocation at its deadline.
    _timer: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Process {
    start: Instant,
    /// Whether it has asked for an invocation yet.
    is_ready: bool,
    /// How long it took to ask for its first invocation, until that is fetched.
    init: Option<Duration>,
    /// The error that it reported instead.
    init_error: Option<Bytes>,
    kill: CancellationToken,
}

/// A process that the caller must start.
#[derive(Debug)]
pub(super) struct ProcessStart {
    /// The process's number in the queue.
    pub(super) process: usize,
    /// Cancelled when the process must be killed.
    pub(super) kill: CancellationToken,
}

impl Queue {
    pub(super) fn new(
        timeout: Duration,
        max_queued: usize,
        max_processes: Option<usize>,
        log: FunctionLog,
    ) -> Self {
        Self {
            timeout,
            max_queued,
            max_processes,
            log,
            state: Mutex::default(),
            added: Notify::new(),
        }
    }

    /// Adds an invocation. Returns the receiver of its result, and a process if one must be started for it.
    pub(super) fn enqueue(
        &self,
        invocation: Invocation,
        policy: QueuePolicy,
    ) -> Result<(oneshot::Receiver<InvokeResult>, Option<ProcessStart>), InvokeError> {
        let mut state = self.state();
        state.remove_abandoned();
        let capacity = match (self.max_processes, policy) {
            // The free processes, and those that can still be started.
            (Some(max), QueuePolicy::Throttle) => {
                state.free_processes() + max - state.processes.len()
            }
            (None, _) | (_, QueuePolicy::Wait) => self.max_queued,
        };
        if state.queued.len() >= capacity.min(self.max_queued) {
            return Err(InvokeError::Throttled);
        }
        let (sender, receiver) = oneshot::channel();
        state.queued.push_back((invocation, sender));
        let start = self.process_to_start(&mut state);
        drop(state);
        self.added.notify_one();
        Ok((receiver, start))
    }

    /// Waits for the next invocation. Its timeout begins when this returns.
    pub(super) async fn fetch(self: &Arc<Self>, process: Option<usize>) -> Fetched {
        self.mark_ready(process);
        let _polling = PollingGuard::new(self);
        loop {
            let mut added = pin!(self.added.notified());
            // Registers for the notification before the queue is checked: Notify stores a single permit, so that of
            // two runtimes that find the queue empty at once, one would miss the second of two invocations.
            added.as_mut().enable();
            if let Some(fetched) = self.try_fetch(process) {
                return fetched;
            }
            added.await;
        }
    }

    /// Ends a running invocation. Returns false if no invocation with this id is running, for example because it has
    /// timed out.
    pub(super) fn complete(&self, request_id: &str, result: InvokeResult) -> bool {
        let running = self.state().running.remove(request_id);
        let is_known = running.is_some();
        if let Some(running) = running {
            let status = matches!(result, InvokeResult::FunctionError(_)).then_some("error");
            self.finish(request_id, running, result, status);
        }
        is_known
    }

    /// Reports an invocation and hands over its result.
    fn finish(
        &self,
        request_id: &str,
        running: Running,
        result: InvokeResult,
        status: Option<&'static str>,
    ) {
        self.log.report(&Report {
            request_id,
            duration: running.start.elapsed(),
            init: running.init,
            status,
        });
        // Fails if the caller has disconnected.
        let _ = running.result.send(result);
    }

    pub(super) fn is_running(&self, request_id: &str) -> bool {
        self.state().running.contains_key(request_id)
    }

    /// Records the error with which a runtime failed to initialise. When its process exits, the error is the result of
    /// the invocation that fails with it.
    pub(super) fn record_init_error(&self, process: Option<usize>, error: Bytes) {
        let mut state = self.state();
        match process.and_then(|process| state.processes.get_mut(&process)) {
            Some(process) => process.init_error = Some(error),
            None => log_error("runtime failed to initialise", &error),
        }
    }

    pub(super) fn is_ready(&self, process: usize) -> bool {
        let state = self.state();
        state
            .processes
            .get(&process)
            .is_some_and(|process| process.is_ready)
    }

    /// Fails the invocations that an exited process was working on. Returns a process if one must be started for the
    /// invocations that are still queued.
    pub(super) fn process_exited(
        &self,
        process: usize,
        result: &InvokeResult,
    ) -> Option<ProcessStart> {
        let mut state = self.state();
        let exited = state.processes.remove(&process);
        let is_ready = exited.as_ref().is_some_and(|exited| exited.is_ready);
        let result = exited
            .and_then(|exited| exited.init_error)
            .map_or_else(|| result.clone(), InvokeResult::FunctionError);
        let running = state
            .running
            .extract_if(|_, running| running.process == Some(process));
        for (request_id, running) in running {
            self.finish(&request_id, running, result.clone(), Some("error"));
        }
        // A process that never became ready fails one queued invocation, so that a bootstrap that always fails is not
        // restarted forever.
        if !is_ready && let Some((_, sender)) = state.queued.pop_front() {
            let _ = sender.send(result);
        }
        self.process_to_start(&mut state)
    }

    fn process_to_start(&self, state: &mut State) -> Option<ProcessStart> {
        let max_processes = self.max_processes?;
        let is_covered = state.queued.len() <= state.available_runtimes();
        if is_covered || state.processes.len() >= max_processes {
            return None;
        }
        state.last_process += 1;
        let number = state.last_process;
        let kill = CancellationToken::new();
        let process = Process {
            start: Instant::now(),
            is_ready: false,
            init: None,
            init_error: None,
            kill: kill.clone(),
        };
        state.processes.insert(number, process);
        Some(ProcessStart {
            process: number,
            kill,
        })
    }

    fn mark_ready(&self, process: Option<usize>) {
        let mut state = self.state();
        if let Some(process) = process.and_then(|process| state.processes.get_mut(&process)) {
            if !process.is_ready {
                process.init = Some(process.start.elapsed());
            }
            process.is_ready = true;
        }
    }

    fn try_fetch(self: &Arc<Self>, process: Option<usize>) -> Option<Fetched> {
        let mut state = self.state();
        state.remove_abandoned();
        let (invocation, result) = state.queued.pop_front()?;
        let (queue, timeout) = (Arc::downgrade(self), self.timeout);
        let request_id = invocation.request_id.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            if let Some(queue) = queue.upgrade() {
                queue.time_out(&request_id);
            }
        });
        let started = process.and_then(|process| state.processes.get_mut(&process));
        let running = Running {
            result,
            process,
            start: Instant::now(),
            init: started.and_then(|process| process.init.take()),
            _timer: AbortOnDropHandle::new(timer),
        };
        state.running.insert(invocation.request_id.clone(), running);
        Some(Fetched {
            invocation,
            deadline: aws::deadline(timeout),
        })
    }

    /// Fails an invocation at its deadline and kills its process, as Lambda does.
    fn time_out(&self, request_id: &str) {
        let mut state = self.state();
        let Some(running) = state.running.remove(request_id) else {
            return;
        };
        let process = running
            .process
            .and_then(|process| state.processes.get(&process));
        if let Some(process) = process {
            process.kill.cancel();
        }
        let seconds = self.timeout.as_secs_f64();
        let message =
            format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds");
        let error = InvokeResult::function_error("Sandbox.Timedout", &message);
        self.finish(request_id, running, error, Some("timeout"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes queued invocations whose caller has timed out or disconnected.
    fn remove_abandoned(&mut self) {
        self.queued.retain(|(_, sender)| !sender.is_closed());
    }

    /// Returns how many runtimes are polling or starting: each of them takes a queued invocation.
    fn available_runtimes(&self) -> usize {
        let starting = self.processes.values().filter(|process| !process.is_ready);
        self.polling + starting.count()
    }

    /// Returns how many runtimes can take an invocation soon. This includes processes that have just responded and
    /// have not polled again yet.
    fn free_processes(&self) -> usize {
        let is_working = |number: usize| {
            let mut running = self.running.values();
            running.any(|running| running.process == Some(number))
        };
        let idle = self.processes.keys().filter(|&&number| !is_working(number));
        self.available_runtimes().max(idle.count())
    }
}

/// Counts a runtime as polling until it is dropped.
struct PollingGuard<'a>(&'a Queue);

impl<'a> PollingGuard<'a> {
    fn new(queue: &'a Queue) -> Self {
        queue.state().polling += 1;
        Self(queue)
    }
}

impl Drop for PollingGuard<'_> {
    fn drop(&mut self) {
        self.0.state().polling -= 1;
    }
}

#[cfg(test)]
mod tests;
