//! The invocations of one function: those that wait for a runtime, and those that one has taken.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

use super::{InvokeError, Outcome};
use crate::moment::Moment;

/// What is to be invoked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) payload: Bytes,
    pub(crate) trace: Option<String>,
    /// JSON, as the runtime gets it.
    pub(crate) client_context: Option<String>,
}

/// Whether an invocation waits for a runtime that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It is throttled, as a synchronous one is on Lambda.
    None,
    /// It waits, as an asynchronous one does.
    Waits,
}

/// An invocation that a runtime has taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) request: Request,
    pub(crate) deadline: Moment,
}

/// The invocations of one function.
#[derive(Debug)]
pub(crate) struct Queue {
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
    pub(crate) fn new(payload: Bytes, trace: Option<String>) -> Self {
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
        state.forget_the_gone();
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
    pub(crate) async fn take(self: &Arc<Self>, process: Option<usize>) -> Taken {
        self.note_ready(process);
        let _polling = Polling::new(self);
        loop {
            let mut news = pin!(self.news.notified());
            // It must wait before it looks: of two that look at once, only one would get the one permit that the news
            // of two requests leave.
            news.as_mut().enable();
            if let Some(taken) = self.try_take(process) {
                return taken;
            }
            news.await;
        }
    }

    /// Ends an invocation; false where there is none of this id, perhaps because its time was up.
    pub(crate) fn finish(&self, id: &str, outcome: Outcome) -> bool {
        let running = self.state().running.remove(id);
        let is_known = running.is_some();
        if let Some(running) = running {
            // A caller that has gone wants no answer.
            let _ = running.answer.send(outcome);
        }
        is_known
    }

    /// Whether this invocation is under way.
    pub(crate) fn is_running(&self, id: &str) -> bool {
        self.state().running.contains_key(id)
    }

    /// A process says that it will never ask for an invocation; what waits first hears why when it ends.
    pub(crate) fn init_failed(&self, process: Option<usize>, error: Bytes) {
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
        state.forget_the_gone();
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
    /// Those whose front door has waited long enough and answered by itself: what waits here for them is nobody's.
    fn forget_the_gone(&mut self) {
        self.waiting.retain(|(_, answer)| !answer.is_closed());
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(900);

    fn request() -> Request {
        Request::new(Bytes::from_static(b"1"), None)
    }

    fn with_processes(most: usize) -> Arc<Queue> {
        Arc::new(Queue::new(LONG, 100, Some(most)))
    }

    fn failure(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Failed(error) => String::from_utf8_lossy(error).into_owned(),
            Outcome::Answered(answer) => panic!("an answer: {answer:?}"),
        }
    }

    #[tokio::test]
    async fn a_process_is_started_for_each_request_that_finds_none_idle() {
        let queue = with_processes(2);
        let (first, start) = queue.submit(request(), Patience::None).expect("taken");
        let one = start.expect("a start").number;
        let taken = queue.take(Some(one)).await;
        assert!(queue.is_ready(one));
        let (second, start) = queue.submit(request(), Patience::None).expect("taken");
        assert_ne!(start.expect("a start").number, one);
        let third = queue.submit(request(), Patience::None);
        assert!(matches!(third, Err(InvokeError::Throttled)));
        // What waits needs no process of its own.
        let (third, start) = queue.submit(request(), Patience::Waits).expect("taken");
        assert!(start.is_none());

        let answer = Outcome::Answered(Bytes::from_static(b"2"));
        assert!(queue.finish(&taken.request.id, answer.clone()));
        assert_eq!(first.await.expect("told"), answer);
        for waiting in [second, third] {
            let taken = queue.take(Some(one)).await;
            assert!(queue.finish(&taken.request.id, answer.clone()));
            assert_eq!(waiting.await.expect("told"), answer);
        }
    }

    #[tokio::test]
    async fn an_idle_process_is_taken_again() {
        let queue = with_processes(10);
        let (_first, start) = queue.submit(request(), Patience::None).expect("taken");
        let one = start.expect("a start").number;
        let taken = queue.take(Some(one)).await;
        let done = Outcome::Answered(Bytes::new());
        assert!(queue.finish(&taken.request.id, done));
        let again = Arc::clone(&queue);
        let again = tokio::spawn(async move { again.take(Some(one)).await });
        while queue.state().polling == 0 {
            tokio::task::yield_now().await;
        }
        let (_second, start) = queue.submit(request(), Patience::None).expect("taken");
        assert!(start.is_none());
        again.await.expect("it takes it");
    }

    #[tokio::test]
    async fn the_end_of_a_process_fails_what_it_had_and_starts_another_for_what_waits() {
        let queue = with_processes(1);
        let (had, start) = queue.submit(request(), Patience::None).expect("taken");
        let one = start.expect("a start").number;
        let _taken = queue.take(Some(one)).await;
        let (mut waiting, start) = queue.submit(request(), Patience::Waits).expect("taken");
        assert!(start.is_none());
        let next = queue.gone(one, &Outcome::failed("E", "it ended"));
        assert!(failure(&had.await.expect("told")).contains("it ended"));
        assert!(
            waiting.try_recv().is_err(),
            "a process that was ready fails only its own"
        );
        // One that never asked fails what it was started for, in its own words.
        let two = next.expect("a start").number;
        queue.init_failed(Some(two), Bytes::from_static(b"no flow"));
        assert!(queue.gone(two, &Outcome::failed("E", "it ended")).is_none());
        assert_eq!(failure(&waiting.await.expect("told")), "no flow");
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_whose_time_is_up_costs_its_process() {
        let queue = with_processes(1);
        let (answered, start) = queue.submit(request(), Patience::None).expect("taken");
        let start = start.expect("a start");
        let taken = queue.take(Some(start.number)).await;
        assert!(failure(&answered.await.expect("told")).contains("Sandbox.Timedout"));
        assert!(start.kill.is_cancelled());
        let late = Outcome::Answered(Bytes::new());
        assert!(!queue.finish(&taken.request.id, late));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_run() {
        let queue = Arc::new(Queue::new(LONG, 1, None));
        let (gone, _) = queue.submit(request(), Patience::Waits).expect("taken");
        drop(gone);
        let waiting = queue.submit(request(), Patience::Waits);
        let (mut waiting, _) = waiting.expect("its place is free");
        let taken = queue.take(None).await;
        let answer = Outcome::Answered(Bytes::new());
        assert!(queue.finish(&taken.request.id, answer.clone()));
        assert_eq!(waiting.try_recv().expect("told"), answer);
    }

    /// Two that look at the same moment, and two requests at the same moment: neither is forgotten.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_news_are_lost() {
        let queue = Arc::new(Queue::new(LONG, 100, None));
        for round in 0..2000 {
            let takers: Vec<_> = (0..2)
                .map(|_| {
                    let queue = Arc::clone(&queue);
                    tokio::spawn(async move { queue.take(None).await })
                })
                .collect();
            let submit = || queue.submit(request(), Patience::Waits).expect("taken");
            let _callers = [submit(), submit()];
            for taker in takers {
                let taken = tokio::time::timeout(Duration::from_secs(20), taker).await;
                let taken = taken.unwrap_or_else(|_| panic!("lost in round {round}"));
                queue.finish(
                    &taken.expect("no panic").request.id,
                    Outcome::Answered(Bytes::new()),
                );
            }
        }
    }
}
