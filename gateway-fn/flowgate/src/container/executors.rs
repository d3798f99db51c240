//! The threads on which the Executors of this process run, whose handlers may compute for long. They accept no connections
//! and handle no signals, so that handlers on all of them hold up nothing else.

use std::io;

use flowgate_config::{Address, Config};
use flowgate_server::workers;
use tokio::runtime::{Builder, Handle, Runtime};

/// The threads, one for each core, and none if the Flow has no such Executors. They end when this is dropped; the process
/// does not wait for a handler that does not yield.
#[derive(Debug)]
pub(super) struct ExecutorThreads(Option<Runtime>);

impl ExecutorThreads {
    /// Starts the threads if the Flow needs them.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn start(config: &Config) -> io::Result<Self> {
        let mut addresses = config.executors.iter().flat_map(|e| &e.addresses);
        if !addresses.any(|address| matches!(address, Address::InProcess { .. })) {
            return Ok(Self(None));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers::default_count().get())
            .thread_name("executors")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Where to run the Executors.
    pub(super) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }
}

impl Drop for ExecutorThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
