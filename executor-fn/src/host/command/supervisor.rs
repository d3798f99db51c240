//! Keeps the command running: starts it, says when it is ready, starts it again when it ends, until it is told to
//! stop or it ends too often.

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
    CommandError, Settings,
    child::{self, Child},
};

/// A run that lasted so much longer than a start may take counts as good: the starts before it are forgiven.
const STEADY: Duration = Duration::from_secs(60);

/// The first restart comes at once, as a function is billed while it waits; then pauses double.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is asked whether it is ready, and how long one answer may take.
const POLL: Duration = Duration::from_millis(25);
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a command may take to answer again when a call to it broke. Jina's main process outlives the one that
/// serves: then nothing listens any more.
const SECOND_CHANCE: Duration = Duration::from_secs(1);

/// As the Gateway's, for large documents.
const WINDOW: u32 = 16 << 20;

/// How it is with the command.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// It is not there, or not yet: why.
    Absent(String),
    /// It answers here.
    Ready(Channel),
}

/// Keeps the command running.
pub(super) struct Supervisor {
    words: Vec<String>,
    settings: Settings,
    state: watch::Sender<State>,
    doubt: Arc<Notify>,
    calls: TaskTracker,
    /// By when it is to have ended, once it is to.
    stop: watch::Receiver<Option<Instant>>,
}

/// What the supervisor tells, and what it is told.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    pub(super) state: watch::Receiver<State>,
    /// That a call broke.
    pub(super) doubt: Arc<Notify>,
    /// The calls under way.
    pub(super) calls: TaskTracker,
}

/// How a run ended.
enum Run {
    Stopped,
    Failed { why: String, lasted: Duration },
}

impl Supervisor {
    pub(super) fn new(
        words: Vec<String>,
        settings: Settings,
        stop: watch::Receiver<Option<Instant>>,
    ) -> (Self, Watch) {
        let starting = State::Absent("it is being started".to_owned());
        let (state, receiver) = watch::channel(starting);
        let (doubt, calls) = (Arc::new(Notify::new()), TaskTracker::new());
        let watch = Watch {
            state: receiver,
            doubt: Arc::clone(&doubt),
            calls: calls.clone(),
        };
        let supervisor = Self {
            words,
            settings,
            state,
            doubt,
            calls,
            stop,
        };
        (supervisor, watch)
    }

    /// Until it is stopped, or the command has ended too often.
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let mut starts = 0;
        loop {
            let (why, lasted) = match self.once(starts + 1 < self.settings.starts).await? {
                Run::Stopped => return Ok(()),
                Run::Failed { why, lasted } => (why, lasted),
            };
            if lasted >= self.settings.start_timeout + STEADY {
                starts = 0;
            }
            starts += 1;
            if starts >= self.settings.starts {
                self.state.send_replace(State::Absent(why.clone()));
                return Err(CommandError::GaveUp { starts, why });
            }
            tracing::warn!(starts, "the command is started again: {why}");
            self.state.send_replace(State::Absent(told(&why, true)));
            tokio::select! {
                () = sleep(pause(starts)) => {}
                _ = self.told_to_stop() => return Ok(()),
            }
        }
    }

    /// `again`: whether it will be started again when it has ended.
    async fn once(&self, again: bool) -> Result<Run, CommandError> {
        let port = child::port(self.settings.port)?;
        let mut child = Child::start(&self.words, port)?;
        let started = Instant::now();
        let patience = self.settings.start_timeout;
        let why = tokio::select! {
            ended = child.ended() => {
                let why = ending(ended);
                self.state.send_replace(State::Absent(told(&why, again)));
                child.bury().await;
                why
            }
            why = self.serving(port, patience) => {
                self.state.send_replace(State::Absent(told(&why, again)));
                child.stop(Instant::now() + self.settings.stop_timeout).await;
                why
            }
            by = self.told_to_stop() => {
                child.stop(by).await;
                return Ok(Run::Stopped);
            }
        };
        let lasted = started.elapsed();
        Ok(Run::Failed { why, lasted })
    }

    /// By when everything is to have ended, as soon as it is to.
    async fn told_to_stop(&self) -> Instant {
        let mut stop = self.stop.clone();
        let told = stop.wait_for(Option::is_some).await;
        let by = told.ok().and_then(|by| *by);
        by.unwrap_or_else(|| Instant::now() + self.settings.stop_timeout)
    }

    /// Says when the command is ready, and looks after it whenever a call broke. Ends, with the reason, when it
    /// does not answer although it runs, and no call runs either: one that is busy may be slow to say that it is
    /// there, and the calls end with their invocations.
    async fn serving(&self, port: u16, mut patience: Duration) -> String {
        let mut is_sign: Sign = is_answer;
        loop {
            let Some(channel) = ready(port, patience, is_sign).await else {
                if !self.calls.is_empty() {
                    continue;
                }
                return format!("it did not answer for {} s", patience.as_secs());
            };
            tracing::info!(port, "the command is ready");
            // What broke before this is no doubt about it.
            let _ = self.doubt.notified().now_or_never();
            self.state.send_replace(State::Ready(channel));
            self.doubt.notified().await;
            (patience, is_sign) = (SECOND_CHANCE, is_word);
        }
    }
}

/// Why the command is not there, for those who call it.
fn told(why: &str, again: bool) -> String {
    match again {
        true => format!("{why}; it is being started again"),
        false => why.to_owned(),
    }
}

fn ending(ended: std::io::Result<std::process::ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("it ended ({status})"),
        Err(error) => format!("it cannot be watched ({error})"),
    }
}

fn pause(starts: u64) -> Duration {
    let Some(doublings) = starts.checked_sub(2) else {
        return Duration::ZERO;
    };
    let factor = 1_u32.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX));
    FIRST_PAUSE
        .saturating_mul(factor.unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE)
}

/// A connection to the command once it answers; none if it does not within so much time of this process's own: a
/// function that nobody calls is frozen, and its clock may go on.
async fn ready(port: u16, patience: Duration, is_sign: Sign) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"));
    let endpoint = endpoint
        .expect("an address of this machine is a URI")
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let mut spent = Duration::ZERO;
    while spent < patience {
        let begin = Instant::now();
        if let Ok(Some(channel)) = timeout(POLL_TIMEOUT, answering(&endpoint, is_sign)).await {
            return Some(channel);
        }
        sleep(POLL).await;
        spent += begin.elapsed().min(POLL_TIMEOUT + POLL);
    }
    None
}

/// Whether a refused call is a sign that the command is at work.
type Sign = fn(&Status) -> bool;

/// One that starts may be there before what it depends on: a Head answers so while its workers load.
fn is_answer(status: &Status) -> bool {
    is_word(status) && !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// Of one that was ready any word will do.
fn is_word(status: &Status) -> bool {
    !is_broken(status)
}

/// A connection, if what is there answers a call: then it is a gRPC server at work.
async fn answering(endpoint: &Endpoint, is_sign: Sign) -> Option<Channel> {
    let channel = endpoint.connect().await.ok()?;
    let mut client = JinaDiscoverEndpointsRpcClient::new(channel.clone());
    match client.endpoint_discovery(()).await {
        Ok(_) => Some(channel),
        Err(status) => is_sign(&status).then_some(channel),
    }
}

/// Whether the call ended without a word of the command: its own UNAVAILABLE says nothing about whether it is there.
pub(super) fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses = [1, 2, 3, 4, 1000].map(|starts| pause(starts).as_millis());
        assert_eq!(pauses, [0, 200, 400, 800, 5000]);
    }
}
