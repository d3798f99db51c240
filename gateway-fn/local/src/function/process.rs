//! A bootstrap -> processes that poll a Runtime API of their own, started as Lambda starts execution environments: one
//! for each invocation that finds none idle, ended when one takes too long, replaced when they die.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use flowgate_proto::{limits, with_causes};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    InvokeError, Outcome, Surroundings,
    queue::{Patience, Queue, Request, Start},
};
use crate::{
    options::{Function, Source},
    runtime_api::RuntimeApi,
    server::Server,
};

/// Connections of one process to its Runtime API: one for each invocation that it may take at once, and one to spare.
const RUNTIME_CONNECTIONS: usize = 64;

/// Between SIGTERM and SIGKILL (AWS Lambda, Extensions API, "Shutdown phase").
const KILL_AFTER: Duration = Duration::from_millis(500);

/// Bytes of a line of a function's log; a longer one is cut in two.
const LINE_BYTES: u64 = 64 << 10;

/// One function and what runs of it.
#[derive(Debug)]
pub(crate) struct Processes {
    function: Function,
    queue: Arc<Queue>,
    surroundings: Surroundings,
}

impl Processes {
    pub(super) fn new(function: Function, max_queued: usize, surroundings: Surroundings) -> Self {
        let most = match function.source {
            Source::Bootstrap(_) => Some(function.concurrency),
            Source::ByHand => None,
        };
        let queue = Arc::new(Queue::new(function.timeout, max_queued, most));
        Self {
            function,
            queue,
            surroundings,
        }
    }

    /// Takes an invocation in; what comes back waits for its outcome.
    pub(crate) fn invoke(
        self: &Arc<Self>,
        request: Request,
        patience: Patience,
    ) -> Result<impl Future<Output = Result<Outcome, InvokeError>> + use<>, InvokeError> {
        let (answered, start): (oneshot::Receiver<_>, _) = self.queue.submit(request, patience)?;
        self.start(start);
        Ok(async { answered.await.map_err(|_| InvokeError::Stopping) })
    }

    /// Lambda's name for it.
    pub(crate) fn arn(&self) -> String {
        arn(&self.function.name)
    }

    pub(crate) const fn is_by_hand(&self) -> bool {
        matches!(self.function.source, Source::ByHand)
    }

    /// The Runtime API for a runtime that is started by hand.
    pub(crate) fn runtime_api(&self) -> RuntimeApi {
        RuntimeApi::new(Arc::clone(&self.queue), None, self.arn())
    }

    fn start(self: &Arc<Self>, start: Option<Start>) {
        let (Some(start), Source::Bootstrap(path)) = (start, &self.function.source) else {
            return;
        };
        let (this, path) = (Arc::clone(self), path.clone());
        self.surroundings.tasks.spawn(async move {
            let number = start.number;
            let outcome = this.run(&path, start).await;
            let next = this.queue.gone(number, &outcome);
            if !this.surroundings.stopping.is_cancelled() {
                this.start(next);
            }
        });
    }

    /// Runs one process to its end, and says what became of an invocation that it had.
    async fn run(&self, path: &Path, start: Start) -> Outcome {
        let name = &self.function.name;
        let failed = |error: &dyn Error| {
            let said = format!("{name} cannot be started: {error}");
            tracing::error!("{said}");
            Outcome::failed("Runtime.InvalidEntrypoint", &said)
        };
        let server = match Server::bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).await {
            Ok(server) => server,
            Err(error) => return failed(&error),
        };
        let mut child = match self.command(path, &server).spawn() {
            Ok(child) => child,
            Err(error) => return failed(&error),
        };
        tracing::debug!(function = %name, number = start.number, "started");
        forward(name, child.stdout.take());
        forward(name, child.stderr.take());
        let api = RuntimeApi::new(Arc::clone(&self.queue), Some(start.number), self.arn());
        // The Runtime API ends with the process and no sooner: one that is told to end may still answer.
        let ended = CancellationToken::new();
        let serving = server.serve_until(RUNTIME_CONNECTIONS, ended.clone(), move |request, _| {
            let api = api.clone();
            async move { api.answer(request).await }
        });
        self.surroundings.tasks.spawn(serving);
        let _ends = ended.drop_guard();
        self.watch(&mut child, start).await
    }

    async fn watch(&self, child: &mut Child, start: Start) -> Outcome {
        let Start { number, kill } = start;
        let name = &self.function.name;
        let outcome = tokio::select! {
            status = child.wait() => return exited(name, status.ok()),
            () = kill.cancelled() => Outcome::failed("Sandbox.Timedout", "an invocation took too long"),
            () = self.surroundings.stopping.cancelled() => {
                Outcome::failed("Sandbox.Failure", "flowgate local is stopping")
            }
            () = self.late(number) => {
                let said = format!("{name} asked for no invocation in the time of INIT");
                tracing::error!("{said}");
                Outcome::failed("Sandbox.Timedout", &said)
            }
        };
        end(name, child).await;
        outcome
    }

    /// Comes true when the process has not asked for its first invocation in time: INIT's, and the function's own.
    async fn late(&self, number: usize) {
        tokio::time::sleep(limits::INIT_TIMEOUT.saturating_add(self.function.timeout)).await;
        if self.queue.is_ready(number) {
            std::future::pending::<()>().await;
        }
    }

    /// The process with the environment that Lambda gives it (AWS Lambda, defined runtime environment variables), and
    /// with this machine in the place of AWS. The credentials are nobody's.
    fn command(&self, path: &Path, server: &Server) -> Command {
        // Relative to where it was named, not to the folder that it runs in.
        let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let root = program.parent().unwrap_or_else(|| Path::new("/"));
        let mut command = Command::new(&program);
        command
            .env_clear()
            .env("LAMBDA_TASK_ROOT", root)
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Signals are for all that it starts, and a Ctrl-C for us, who end it.
            .process_group(0)
            .kill_on_drop(true);
        self.describe(&mut command, server);
        let own = self.function.env.iter();
        command.envs(own.map(|(name, value)| (name, value)));
        command
    }

    /// The variables that are the same wherever the bootstrap lies.
    fn describe(&self, command: &mut Command, server: &Server) {
        let Function { name, memory, .. } = &self.function;
        command
            .env("AWS_LAMBDA_RUNTIME_API", server.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env("AWS_SESSION_TOKEN", "local")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("TZ", ":UTC")
            .env("_HANDLER", "bootstrap");
        // The SDKs take the name from the service's id, which ends in API; the shorter one is easily expected.
        for name in [
            "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI",
            "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENT",
        ] {
            command.env(name, &self.surroundings.connections);
        }
        if let Some(lambda) = self.surroundings.lambda {
            command.env("AWS_ENDPOINT_URL_LAMBDA", format!("http://{lambda}"));
        }
    }
}

const REGION: &str = "us-east-1";

/// An account of nobody's.
pub(crate) const ACCOUNT: &str = "000000000000";

pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// Ends it as Lambda does a function with an extension: SIGTERM, so that it ends what it has started, and SIGKILL.
async fn end(name: &str, child: &mut Child) {
    signal(child, Signal::TERM);
    if timeout(KILL_AFTER, child.wait()).await.is_ok() {
        return;
    }
    signal(child, Signal::KILL);
    if let Err(error) = child.kill().await {
        tracing::warn!(function = %name, error = %with_causes(&error), "not killed");
    }
}

/// To the whole of its process group.
fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(leader) = id.and_then(Pid::from_raw) {
        // An error says that nobody is left in it.
        let _ = kill_process_group(leader, signal);
    }
}

fn exited(name: &str, status: Option<ExitStatus>) -> Outcome {
    let how = status.map_or_else(
        || "for no known reason".to_owned(),
        |status| status.to_string(),
    );
    tracing::warn!(function = %name, "the process ended: {how}");
    Outcome::failed(
        "Runtime.ExitError",
        &format!("Error: Runtime exited with error: {how}"),
    )
}

/// Passes a function's log on, line by line.
fn forward(name: &str, log: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(log) = log else { return };
    let name = name.to_owned();
    tokio::spawn(async move {
        let mut log = BufReader::new(log);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = tokio::io::AsyncReadExt::take(&mut log, LINE_BYTES);
            match bounded.read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => say(&name, &String::from_utf8_lossy(&line)),
            }
        }
    });
}

#[expect(
    clippy::print_stderr,
    reason = "a function's log is for the person at the terminal, as it stands"
)]
fn say(name: &str, line: &str) {
    eprintln!("[{name}] {}", line.trim_end());
}
