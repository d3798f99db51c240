//! Starts a function's bootstrap as Lambda starts execution environments: one process for each invocation that finds
//! none idle, each with its own Runtime API; killed with its children when an invocation times out, replaced when it exits.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use flowgate_proto::{limits, with_causes};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    invocation::{Invocation, InvokeError, InvokeResult},
    leftovers,
    log::FunctionLog,
    queue::{ProcessStart, Queue, QueuePolicy},
    runtime_api::RuntimeApi,
    variables::{Endpoints, LOG_STREAM, Variable, directory, variables},
};
use crate::{
    options::{FunctionOptions, RuntimeSource},
    server::Server,
    shutdown::Shutdown,
};

/// Maximum number of a process's connections to its Runtime API: far more than a runtime opens, one for each concurrent
/// invocation.
const MAX_RUNTIME_CONNECTIONS: usize = 64;

/// The time between SIGTERM and SIGKILL (AWS Lambda, Extensions API, "Shutdown phase").
const KILL_DELAY: Duration = Duration::from_millis(500);

/// A function that the emulator runs: its queue and its processes.
#[derive(Debug)]
pub(crate) struct Function {
    options: FunctionOptions,
    queue: Arc<Queue>,
    env: RuntimeEnv,
    log: FunctionLog,
}

/// What every process needs to know about the emulator.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeEnv {
    /// The address of the Invoke API, for functions that invoke each other.
    pub(crate) lambda: Option<SocketAddr>,
    /// The URL of the API Gateway Management API, with the stage.
    pub(crate) connections_url: String,
    pub(crate) shutdown: Shutdown,
}

impl Function {
    pub(super) fn new(options: FunctionOptions, max_queued: usize, env: RuntimeEnv) -> Self {
        let max_processes = match options.runtime {
            RuntimeSource::Bootstrap(_) => Some(options.concurrency),
            RuntimeSource::External => None,
        };
        let log = FunctionLog {
            function: options.name.clone(),
            memory_mib: options.memory_mib,
        };
        let queue = Queue::new(options.timeout, max_queued, max_processes, log.clone());
        Self {
            options,
            queue: Arc::new(queue),
            env,
            log,
        }
    }

    /// Queues an invocation, and starts a process if none is idle. Returns a future of the result.
    pub(crate) fn invoke(
        self: &Arc<Self>,
        invocation: Invocation,
        policy: QueuePolicy,
    ) -> Result<impl Future<Output = Result<InvokeResult, InvokeError>> + use<>, InvokeError> {
        let (result, start) = self.queue.enqueue(invocation, policy)?;
        self.start_process(start);
        Ok(async { result.await.map_err(|_| InvokeError::Stopping) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// Whether the user starts the runtimes.
    pub(crate) const fn is_external(&self) -> bool {
        matches!(self.options.runtime, RuntimeSource::External)
    }

    /// Returns the Runtime API for external runtimes.
    pub(crate) fn external_runtime_api(&self) -> RuntimeApi {
        self.runtime_api(None)
    }

    fn runtime_api(&self, process: Option<usize>) -> RuntimeApi {
        let name = self.options.name.clone();
        RuntimeApi::new(Arc::clone(&self.queue), process, name)
    }

    fn start_process(self: &Arc<Self>, start: Option<ProcessStart>) {
        let (Some(start), RuntimeSource::Bootstrap(path)) = (start, &self.options.runtime) else {
            return;
        };
        let (this, path) = (Arc::clone(self), path.clone());
        self.env.shutdown.tasks.spawn(async move {
            let process = start.process;
            let result = this.run(&path, start).await;
            let next = this.queue.process_exited(process, &result);
            if !this.env.shutdown.stopping.is_cancelled() {
                this.start_process(next);
            }
        });
    }

    /// Runs one process until it exits. Returns the result of an invocation that it was working on.
    async fn run(&self, path: &Path, start: ProcessStart) -> InvokeResult {
        let name = &self.options.name;
        let start_error = |error: &dyn Error| {
            let error = with_causes(error);
            tracing::error!(function = name, error, "start failed");
            let message = format!("cannot start function `{name}`: {error}");
            InvokeResult::function_error("Runtime.InvalidEntrypoint", &message)
        };
        let server = match Server::bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).await {
            Ok(server) => server,
            Err(error) => return start_error(&error),
        };
        let endpoints = Endpoints {
            runtime_api: server.address.to_string(),
            lambda: self.env.lambda.map(|lambda| lambda.to_string()),
            connections_url: &self.env.connections_url,
        };
        let variables = variables(&self.options, &endpoints);
        let mut command = self.command(path, &variables);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return start_error(&error),
        };
        tracing::debug!(function = name, process = start.process, "process started");
        self.log.forward(child.stdout.take());
        self.log.forward(child.stderr.take());
        let api = self.runtime_api(Some(start.process));
        // The Runtime API stays until the process has exited: after SIGTERM the process may still send a response.
        let exited = CancellationToken::new();
        let serving = server.serve(
            MAX_RUNTIME_CONNECTIONS,
            exited.clone(),
            move |request, _| {
                let api = api.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    api.handle(&path, request).await
                }
            },
        );
        self.env.shutdown.tasks.spawn(serving);
        let _exited = exited.drop_guard();
        let result = self.watch(&mut child, start).await;
        let log_stream = variables.iter().rfind(|(name, _)| name == LOG_STREAM);
        if let Some((name, value)) = log_stream {
            leftovers::kill(name, value).await;
        }
        result
    }

    /// Waits until the process exits, or ends it.
    async fn watch(&self, child: &mut Child, start: ProcessStart) -> InvokeResult {
        let ProcessStart { process, kill } = start;
        let name = &self.options.name;
        let result = tokio::select! {
            status = child.wait() => return exit_result(name, status.ok()),
            () = kill.cancelled() => {
                InvokeResult::function_error("Sandbox.Timedout", "an invocation timed out")
            }
            () = self.env.shutdown.stopping.cancelled() => {
                InvokeResult::function_error("Sandbox.Failure", "flowgate local is stopping")
            }
            () = self.init_timeout(process) => {
                tracing::error!(function = name, "init timed out");
                let message = format!("function `{name}` did not ask for an invocation in time");
                InvokeResult::function_error("Sandbox.Timedout", &message)
            }
        };
        terminate(name, child).await;
        result
    }

    /// Completes if the process has not asked for its first invocation within Lambda's init timeout plus the function's
    /// own timeout.
    async fn init_timeout(&self, process: usize) {
        tokio::time::sleep(limits::INIT_TIMEOUT.saturating_add(self.options.timeout)).await;
        if self.queue.is_ready(process) {
            std::future::pending::<()>().await;
        }
    }

    fn command(&self, path: &Path, variables: &[Variable]) -> Command {
        // The path is relative to the emulator's directory, and the process runs in the bootstrap's directory.
        let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut command = Command::new(&program);
        command
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir(directory(path))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal reaches the process's children too. Ctrl-C reaches only the emulator, which ends the process.
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// Ends a process as Lambda ends a function with an extension: SIGTERM, so that it can end its children, then SIGKILL.
async fn terminate(name: &str, child: &mut Child) {
    signal_group(child, Signal::TERM);
    if timeout(KILL_DELAY, child.wait()).await.is_ok() {
        return;
    }
    signal_group(child, Signal::KILL);
    if let Err(error) = child.kill().await {
        tracing::warn!(function = name, error = %with_causes(&error), "kill failed");
    }
}

/// Sends a signal to the process and its children.
fn signal_group(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(leader) = id.and_then(Pid::from_raw) {
        // Fails if all of them have exited.
        let _ = kill_process_group(leader, signal);
    }
}

fn exit_result(name: &str, status: Option<ExitStatus>) -> InvokeResult {
    let status = status.map_or_else(
        || "unknown exit status".to_owned(),
        |status| status.to_string(),
    );
    tracing::warn!(function = name, status, "process exited");
    let message = format!("Error: Runtime exited with error: {status}");
    InvokeResult::function_error("Runtime.ExitError", &message)
}
