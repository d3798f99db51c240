//! How the emulator stops: a signal to every task, and a wait until all of them have ended.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The stop signal and the tasks that follow it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    /// Cancelled when the emulator stops.
    pub(crate) stopping: CancellationToken,
    /// The tasks that a stop waits for.
    pub(crate) tasks: TaskTracker,
}

impl Shutdown {
    /// Signals the stop and waits for the tasks.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
