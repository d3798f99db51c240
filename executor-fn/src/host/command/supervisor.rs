//! Keeps the command running: starts it, reports when it is ready, and restarts it when it ends, until it is stopped or
//! has ended too often.

use std::{sync::Arc, time::Duration};

use flowgate_proto::jina::jina_discover_endpoints_rpc_client::JinaDiscoverEndpointsRpcClient;
use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::task::TaskTracker;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{
    child::{Child, choose_port},
    settings::CommandSettings,
};
use crate::host::error::CommandError;

/// A run that lasts this much longer than the start timeout is stable: the count of starts begins anew.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The first restart has no delay, because the function is billed while it waits. Then delays double from the first to
/// the maximum.
const FIRST_RESTART_DELAY: Duration = Duration::from_millis(200);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(5);

/// The interval of readiness probes, and how long one may take.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the command may take to answer a probe after a call to it broke. Jina's main process outlives the process
/// that serves; then nothing listens any more.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);

/// The HTTP/2 windows, in bytes: as the Gateway's, for large documents.
const HTTP2_WINDOW_BYTES: u32 = 16 << 20;

/// Whether the command can be called.
#[derive(Clone, Debug)]
pub(super) enum CommandState {
    /// The command cannot be called, for this reason.
    Unavailable(String),
    /// The command can be called on this channel.
    Ready(Channel),
}

/// Keeps the command running.
pub(super) struct Supervisor {
    command: Vec<String>,
    settings: CommandSettings,
    state: watch::Sender<CommandState>,
    broken_call: Arc<Notify>,
    calls: TaskTracker,
    /// The time by which the command must have ended; set when it has to stop.
    stop_deadline: watch::Receiver<Option<Instant>>,
}

/// What the callers of the command share with its supervisor.
#[derive(Clone, Debug)]
pub(super) struct SupervisorHandle {
    pub(super) state: watch::Receiver<CommandState>,
    /// Notified by a caller whose connection broke: the supervisor then probes the command.
    pub(super) broken_call: Arc<Notify>,
    /// The calls in flight.
    pub(super) calls: TaskTracker,
}

/// How a run of the command ended.
enum RunEnd {
    Stopped,
    Failed { reason: String, lasted: Duration },
}

impl Supervisor {
    pub(super) fn new(
        command: Vec<String>,
        settings: CommandSettings,
        stop_deadline: watch::Receiver<Option<Instant>>,
    ) -> (Self, SupervisorHandle) {
        let starting = CommandState::Unavailable("it is being started".to_owned());
        let (state, receiver) = watch::channel(starting);
        let (broken_call, calls) = (Arc::new(Notify::new()), TaskTracker::new());
        let handle = SupervisorHandle {
            state: receiver,
            broken_call: Arc::clone(&broken_call),
            calls: calls.clone(),
        };
        let supervisor = Self {
            command,
            settings,
            state,
            broken_call,
            calls,
            stop_deadline,
        };
        (supervisor, handle)
    }

    /// Runs the command again and again until it is stopped, or has ended too often.
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let mut starts = 0;
        loop {
            let will_restart = starts + 1 < self.settings.max_starts;
            let (reason, lasted) = match self.run_once(will_restart).await? {
                RunEnd::Stopped => return Ok(()),
                RunEnd::Failed { reason, lasted } => (reason, lasted),
            };
            if lasted >= self.settings.start_timeout + STABLE_AFTER {
                starts = 0;
            }
            starts += 1;
            if starts >= self.settings.max_starts {
                self.set_unavailable(&reason, false);
                return Err(CommandError::TooManyStarts { starts, reason });
            }
            tracing::warn!(starts, reason, "restarting the command");
            self.set_unavailable(&reason, true);
            tokio::select! {
                () = sleep(restart_delay(starts)) => {}
                _ = self.wait_for_stop() => return Ok(()),
            }
        }
    }

    async fn run_once(&self, will_restart: bool) -> Result<RunEnd, CommandError> {
        let port = choose_port(self.settings.port)?;
        let mut child = Child::start(&self.command, port)?;
        let started = Instant::now();
        let reason = tokio::select! {
            result = child.wait() => {
                let reason = describe_end(result);
                self.set_unavailable(&reason, will_restart);
                child.clean_up().await;
                reason
            }
            reason = self.watch_readiness(port) => {
                self.set_unavailable(&reason, will_restart);
                child.stop(Instant::now() + self.settings.stop_timeout).await;
                reason
            }
            deadline = self.wait_for_stop() => {
                child.stop(deadline).await;
                return Ok(RunEnd::Stopped);
            }
        };
        let lasted = started.elapsed();
        Ok(RunEnd::Failed { reason, lasted })
    }

    fn set_unavailable(&self, reason: &str, will_restart: bool) {
        let reason = match will_restart {
            true => format!("{reason}; it is being restarted"),
            false => reason.to_owned(),
        };
        self.state.send_replace(CommandState::Unavailable(reason));
    }

    /// Waits until the command has to stop. Returns the time by which it must have ended.
    async fn wait_for_stop(&self) -> Instant {
        let mut stop_deadline = self.stop_deadline.clone();
        let deadline = stop_deadline.wait_for(Option::is_some).await;
        let deadline = deadline.ok().and_then(|deadline| *deadline);
        deadline.unwrap_or_else(|| Instant::now() + self.settings.stop_timeout)
    }

    /// Reports when the command is ready, and probes it again whenever a call broke. Returns the reason when it does not
    /// answer although its process runs. As long as calls are in flight it gets more time: a busy command may be slow to
    /// answer a probe, and the calls end with their invocations.
    async fn watch_readiness(&self, port: u16) -> String {
        let mut limit = self.settings.start_timeout;
        let mut is_alive: IsAlive = is_started;
        loop {
            let Some(channel) = wait_until_answering(port, limit, is_alive).await else {
                if !self.calls.is_empty() {
                    continue;
                }
                return format!("it did not answer for {} s", limit.as_secs());
            };
            tracing::info!(port, "the command is ready");
            // A call that broke before this probe says nothing about the command now.
            let _ = self.broken_call.notified().now_or_never();
            self.state.send_replace(CommandState::Ready(channel));
            self.broken_call.notified().await;
            (limit, is_alive) = (LIVENESS_TIMEOUT, is_status_of_command);
        }
    }
}

fn describe_end(result: std::io::Result<std::process::ExitStatus>) -> String {
    match result {
        Ok(status) => format!("it ended ({status})"),
        Err(error) => format!("its process cannot be watched ({error})"),
    }
}

fn restart_delay(starts: u64) -> Duration {
    let Some(doublings) = starts.checked_sub(2) else {
        return Duration::ZERO;
    };
    let factor = 1_u32.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX));
    FIRST_RESTART_DELAY
        .saturating_mul(factor.unwrap_or(u32::MAX))
        .min(MAX_RESTART_DELAY)
}

/// Returns a channel to the command once it answers; `None` if it does not within `limit`. Counts only time in which
/// this process runs: between invocations Lambda freezes it, and the clock goes on.
async fn wait_until_answering(port: u16, limit: Duration, is_alive: IsAlive) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
    let endpoint = endpoint
        .expect("a loopback address is a valid URI")
        .tcp_nodelay(true)
        .initial_stream_window_size(HTTP2_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_WINDOW_BYTES);
    let mut elapsed = Duration::ZERO;
    while elapsed < limit {
        let start = Instant::now();
        if let Ok(Some(channel)) = timeout(PROBE_TIMEOUT, probe(&endpoint, is_alive)).await {
            return Some(channel);
        }
        sleep(PROBE_INTERVAL).await;
        elapsed += start.elapsed().min(PROBE_TIMEOUT + PROBE_INTERVAL);
    }
    None
}

/// Whether an error status shows that the command works.
type IsAlive = fn(&Status) -> bool;

/// Whether a starting command is ready. It may answer before what it depends on: a Head answers UNAVAILABLE or
/// DEADLINE_EXCEEDED while its workers load.
fn is_started(status: &Status) -> bool {
    is_status_of_command(status)
        && !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// Whether the status came from the command. For a command that was ready before, any such status shows that it works.
fn is_status_of_command(status: &Status) -> bool {
    !is_broken(status)
}

/// Returns a channel if the command answers a call, with success or an error that `is_alive` accepts.
async fn probe(endpoint: &Endpoint, is_alive: IsAlive) -> Option<Channel> {
    let channel = endpoint.connect().await.ok()?;
    let mut client = JinaDiscoverEndpointsRpcClient::new(channel.clone());
    match client.endpoint_discovery(()).await {
        Ok(_) => Some(channel),
        Err(status) => is_alive(&status).then_some(channel),
    }
}

/// Whether the connection broke, in contrast to an error status that the command sent: its own UNAVAILABLE does not mean
/// that it has ended.
pub(super) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_delays_double_up_to_the_maximum() {
        let delays = [1, 2, 3, 4, 1000].map(|starts| restart_delay(starts).as_millis());
        assert_eq!(delays, [0, 200, 400, 800, 5000]);
    }
}
