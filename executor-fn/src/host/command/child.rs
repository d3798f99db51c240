//! One run of the command: a process group of its own, whose output goes to the log and which is ended by signals.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use flowgate_proto::with_causes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::arguments::substitute_port;
use crate::host::error::CommandError;

/// How long to read the rest of the output after the end of the process. It takes milliseconds unless another process
/// still holds the pipe.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest line of output in one log event; the rest of a longer one is the next event. A Python traceback's lines
/// fit.
const MAX_LINE_BYTES: u64 = 16 << 10;

/// A running command. Dropping it kills its process group.
pub(super) struct Child {
    process: process::Child,
    group: ProcessGroup,
    output: JoinSet<()>,
}

impl Child {
    /// Starts the command, which is to listen on `port`.
    pub(super) fn start(command: &[String], port: u16) -> Result<Self, CommandError> {
        let (program, arguments) = command.split_first().ok_or(CommandError::Empty)?;
        let port = port.to_string();
        let mut process = process::Command::new(program)
            .args(arguments.iter().map(|word| substitute_port(word, &port)))
            .env("PORT", &port)
            // Without this variable a program that can also run on Lambda, such as Flowgate's Executors, serves gRPC.
            .env_remove("AWS_LAMBDA_RUNTIME_API")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Jina starts further processes, and signals are for all of them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CommandError::Start {
                program: program.clone(),
                source,
            })?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let mut output = JoinSet::new();
        if let Some(stdout) = process.stdout.take() {
            output.spawn(log_lines(stdout, "stdout"));
        }
        if let Some(stderr) = process.stderr.take() {
            output.spawn(log_lines(stderr, "stderr"));
        }
        Ok(Self {
            process,
            group: ProcessGroup(id.and_then(Pid::from_raw)),
            output,
        })
    }

    /// Waits until the process ends.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Kills the processes that an ended command has left behind, and logs its last lines, which as a rule say why it
    /// ended.
    pub(super) async fn clean_up(self) {
        self.clean_up_by(Instant::now() + OUTPUT_TIMEOUT).await;
    }

    async fn clean_up_by(mut self, deadline: Instant) {
        drop(self.group);
        let output = async { while self.output.join_next().await.is_some() {} };
        // A process that has left the group may hold the pipe for ever.
        let _ = timeout_at(deadline, output).await;
    }

    /// Ends the command: SIGTERM, and SIGKILL at `deadline`.
    pub(super) async fn stop(mut self, deadline: Instant) {
        self.group.signal(Signal::TERM);
        if timeout_at(deadline, self.process.wait()).await.is_err() {
            tracing::warn!("the command did not end after SIGTERM and is killed");
        }
        self.clean_up_by(deadline.min(Instant::now() + OUTPUT_TIMEOUT))
            .await;
    }
}

/// The process group of a command.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // Fails when the group has no process left.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for ProcessGroup {
    /// Kills every process of the group: those that the command has left behind may hold its port.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Logs each line of `output` until it is closed. The target is `command`, for filters. The level is always `info`,
/// because Python writes every level to one stream.
async fn log_lines(output: impl AsyncRead + Unpin, stream: &'static str) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut output).take(MAX_LINE_BYTES);
        match limited.read_until(b'\n', &mut line).await {
            Ok(1..) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if !text.is_empty() {
                    tracing::info!(target: "command", stream, "{text}");
                }
            }
            Ok(0) => return,
            Err(error) => {
                tracing::warn!(
                    error = %with_causes(&error),
                    stream,
                    "cannot read the command's output"
                );
                return;
            }
        }
    }
}

/// Returns the configured port, or a free one where it is 0.
pub(super) fn choose_port(configured: u16) -> Result<u16, CommandError> {
    if configured != 0 {
        return Ok(configured);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|source| CommandError::Port { source })
}
