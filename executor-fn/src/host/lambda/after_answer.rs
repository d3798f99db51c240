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

/// Answers the events until the API fails or the function ends.
async fn run(extension: Extension, mut released: watch::Receiver<VecDeque<String>>) {
    loop {
        let event = match extension.next().await {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&*error),
                    "the extension for background work ends: answers wait for it from now on"
                );
                return;
            }
        };
        wait_until_released(&event, &mut released).await;
    }
}

async fn wait_until_released(
    event: &InvokeEvent,
    released: &mut watch::Receiver<VecDeque<String>>,
) {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(event.deadline_ms));
    let remaining = deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok());
    let limit = remaining.unwrap_or_default().saturating_sub(MARGIN);
    let is_released = |released: &VecDeque<String>| released.contains(&event.request_id);
    if timeout(limit, released.wait_for(is_released))
        .await
        .is_err()
    {
        tracing::warn!(
            request_id = event.request_id,
            "background work is unfinished at the function's timeout and goes on in the next invocation"
        );
    }
}
