//! One run of the command: a process group of its own, its output in our log, its end by signals.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{CommandError, logs, words::with_port};

/// How long a pipe is read whose other end should be closed: what it still holds is read in milliseconds.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A running command. When it is dropped its whole group is killed.
pub(super) struct Child {
    process: process::Child,
    group: Group,
    logs: JoinSet<()>,
}

impl Child {
    /// Starts the command, which is to listen on `port`.
    pub(super) fn start(words: &[String], port: u16) -> Result<Self, CommandError> {
        let (program, rest) = words.split_first().ok_or(CommandError::Empty)?;
        let port = port.to_string();
        let mut process = process::Command::new(program)
            .args(rest.iter().map(|word| with_port(word, &port)))
            .env("PORT", &port)
            // One that looks for Lambda, as our own Executors do, is to serve gRPC here.
            .env_remove("AWS_LAMBDA_RUNTIME_API")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Jina starts processes itself: signals are for all of them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CommandError::Start {
                program: program.clone(),
                source,
            })?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let mut forwarded = JoinSet::new();
        if let Some(output) = process.stdout.take() {
            forwarded.spawn(logs::forward(output, "stdout"));
        }
        if let Some(output) = process.stderr.take() {
            forwarded.spawn(logs::forward(output, "stderr"));
        }
        Ok(Self {
            process,
            group: Group(id.and_then(Pid::from_raw)),
            logs: forwarded,
        })
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Ends what it has left behind, and forwards its last lines: they say as a rule why it ended.
    pub(super) async fn bury(self) {
        self.bury_by(Instant::now() + LAST_WORDS).await;
    }

    async fn bury_by(mut self, by: Instant) {
        drop(self.group);
        let forwarded = async { while self.logs.join_next().await.is_some() {} };
        // Who left the group may hold the other end for ever.
        let _ = timeout_at(by, forwarded).await;
    }

    /// Ends it: SIGTERM, and SIGKILL at `by`.
    pub(super) async fn stop(mut self, by: Instant) {
        self.group.signal(Signal::TERM);
        if timeout_at(by, self.process.wait()).await.is_err() {
            tracing::warn!("the command did not end in time after SIGTERM and is killed");
        }
        self.bury_by(by.min(Instant::now() + LAST_WORDS)).await;
    }
}

/// The process group of a command.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // An error says that nobody is left in it.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    /// Also those whom the command started and left behind: they may hold its port.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The port that is set, or one that is free now.
pub(super) fn port(set: u16) -> Result<u16, CommandError> {
    if set != 0 {
        return Ok(set);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|source| CommandError::Port { source })
}
