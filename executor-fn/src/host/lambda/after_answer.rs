//! Lets a function answer first and go on working before Lambda freezes it: an internal extension asks for its next event only
//! when that work is done.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use flowgate_proto::with_causes;
use tokio::{sync::watch, time::timeout};
use tracing::Instrument as _;

use super::extension::{Extension, InvokeEvent};

/// How long before the function's timeout the work is left unfinished. Lambda would otherwise end the process with it.
pub(super) const MARGIN: Duration = Duration::from_millis(200);

/// How many released invocations are remembered until their events come. One runs at a time; the others are those whose
/// event never came.
const MAX_RELEASED: usize = 16;

/// Keeps the process running after an answer until work is done. Clones share it. A default one keeps nothing running.
///
/// For each invocation, call [`hold`](Self::hold) when it begins, and drop the hold, or hand work to it, when the
/// answer is ready. An invocation without a hold keeps the process running until the function's timeout.
#[derive(Clone, Debug, Default)]
pub struct AfterAnswer(Option<Released>);

/// The request ids of invocations that need the process no longer.
type Released = Arc<watch::Sender<VecDeque<String>>>;

/// An invocation during which Lambda does not freeze the process. Dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping it lets Lambda freeze the process"]
pub struct InvocationHold(Option<(Released, String)>);

impl AfterAnswer {
    /// Registers the extension. It must be called before the first invocation is asked for, and only where one invocation
    /// runs at a time: on Managed Instances nothing is frozen, and extensions get no events. If it fails, which is logged,
    /// [`is_enabled`](Self::is_enabled) is false.
    pub async fn register() -> Self {
        match Extension::register("flowgate-after-answer", &["INVOKE"]).await {
            Ok(extension) => {
                let (released, events) = watch::channel(VecDeque::new());
                tokio::spawn(run(extension, events));
                Self(Some(Arc::new(released)))
            }
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&*error),
                    "cannot register the extension that lets answers go before background work"
                );
                Self(None)
            }
        }
    }

    /// Whether the extension runs, so that work can go on after the answer. Otherwise a function has to do it first.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        // The channel closes when the extension ends.
        self.0
            .as_ref()
            .is_some_and(|released| !released.is_closed())
    }

    /// Begins an invocation with this request id.
    pub fn hold(&self, request_id: &str) -> InvocationHold {
        let released = self.0.clone();
        InvocationHold(released.map(|released| (released, request_id.to_owned())))
    }
}

impl InvocationHold {
    /// Runs `work` and then lets Lambda freeze the process. Returns at once.
    pub fn release_after(self, work: impl Future<Output = ()> + Send + 'static) {
        let work = async move {
            // Held while the work runs, and also released if it panics.
            let _hold = self;
            work.await;
        };
        tokio::spawn(work.in_current_span());
    }
}

impl Drop for InvocationHold {
    fn drop(&mut self) {
        if let Some((released, request_id)) = self.0.take() {
            released.send_modify(|released| {
                if released.len() == MAX_RELEASED {
                    released.pop_front();
                }
                released.push_back(request_id);
            });
        }
    }
}

/// The first pause after a request that failed, as one does whose connection broke while the process was frozen. Each further
/// pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Answers the events until the function ends. It never gives up: Lambda waits for a registered extension in each invocation,
/// until the function's timeout.
async fn run(extension: Extension, mut released: watch::Receiver<VecDeque<String>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match extension.next().await {
            Ok(event) => {
                pause = FIRST_PAUSE;
                if let Some(event) = event {
                    let limit = time_limit(&event);
                    wait_until_released(&event.request_id, limit, &mut released).await;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&*error),
                    ?pause,
                    "the extension for background work got no event, and asks again"
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

/// The time for the work of an invocation.
fn time_limit(event: &InvokeEvent) -> Duration {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(event.deadline_ms));
    let remaining = deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok());
    remaining.unwrap_or_default().saturating_sub(MARGIN)
}

/// Waits until the invocation is released, at most for `limit`. Returns whether it is.
async fn wait_until_released(
    request_id: &str,
    limit: Duration,
    released: &mut watch::Receiver<VecDeque<String>>,
) -> bool {
    let is_released = |released: &VecDeque<String>| released.iter().any(|id| id == request_id);
    let in_time = timeout(limit, released.wait_for(is_released)).await;
    if in_time.is_err() {
        tracing::warn!(
            request_id,
            "background work is unfinished at the function's timeout and goes on in the next invocation"
        );
    }
    in_time.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    fn after_answer() -> (AfterAnswer, watch::Receiver<VecDeque<String>>) {
        let (released, events) = watch::channel(VecDeque::new());
        (AfterAnswer(Some(Arc::new(released))), events)
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_is_over_when_its_work_is_done_or_at_the_limit() {
        let (after_answer, mut events) = after_answer();
        for (seconds, expected) in [(2, true), (4, false)] {
            let id = seconds.to_string();
            let work = tokio::time::sleep(Duration::from_secs(seconds));
            after_answer.hold(&id).release_after(work);
            assert_eq!(wait_until_released(&id, LIMIT, &mut events).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_invocation_may_be_released_before_its_event_comes() {
        let (after_answer, mut events) = after_answer();
        drop(after_answer.hold("early"));
        drop(after_answer.hold("another"));
        assert!(wait_until_released("early", LIMIT, &mut events).await);
        let panics = async { panic!("in a test") };
        after_answer.hold("panicked").release_after(panics);
        assert!(wait_until_released("panicked", LIMIT, &mut events).await);
        assert!(!wait_until_released("unknown", LIMIT, &mut events).await);
    }

    #[test]
    fn only_the_last_invocations_are_remembered() {
        let (after_answer, events) = after_answer();
        for id in 0..MAX_RELEASED + 5 {
            drop(after_answer.hold(&id.to_string()));
        }
        assert_eq!(events.borrow().len(), MAX_RELEASED);
    }

    #[test]
    fn without_an_extension_nothing_is_held() {
        let none = AfterAnswer::default();
        assert!(!none.is_enabled());
        drop(none.hold("r"));
        let (ended, events) = after_answer();
        assert!(ended.is_enabled());
        drop(events);
        assert!(!ended.is_enabled());
    }

    #[test]
    fn the_time_ends_before_the_functions_timeout() {
        let event = |deadline_ms| InvokeEvent {
            request_id: "r".to_owned(),
            deadline_ms,
        };
        assert_eq!(time_limit(&event(600_000)), Duration::ZERO);
        let in_a_minute = SystemTime::now() + Duration::from_secs(60);
        let since = in_a_minute.duration_since(SystemTime::UNIX_EPOCH);
        let milliseconds = since.expect("after 1970").as_millis();
        let limit = time_limit(&event(u64::try_from(milliseconds).expect("this era")));
        assert!(limit <= Duration::from_secs(60) - MARGIN, "{limit:?}");
    }
}
