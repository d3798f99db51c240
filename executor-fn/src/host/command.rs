//! A command that is an Executor over gRPC, an unchanged Python one for example, as a Lambda function: the command
//! is kept running beside this process, and every invocation is handed to it on localhost.

mod child;
mod client;
mod extension;
mod logs;
mod settings;
mod supervisor;
mod words;

use std::{os::unix::process::CommandExt as _, pin::pin, time::Duration};

use flowgate_proto::with_causes;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout},
};

use self::{
    client::Client,
    settings::{Settings, Start},
    supervisor::Supervisor,
    words::{with_port, with_port_option},
};
use super::{
    container::{Ended, ServeError, stop_signal},
    lambda,
};

/// Where the command listens outside of Lambda unless the variable `PORT` says so: Flowgate's usual gRPC port.
const PORT: u16 = 50051;

/// Why a command cannot be run as an Executor.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no word in it.
    #[error("the command is empty")]
    Empty,
    /// The system cannot start it.
    #[error("{program:?} cannot be started")]
    Start {
        /// Its first word.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No port was free for it.
    #[error("no port is free for the command")]
    Port {
        /// The system's reason.
        source: std::io::Error,
    },
    /// It did not answer in time.
    #[error("the command was not ready after {}: {why}", seconds(*.after))]
    NotReady {
        /// How long it was waited for.
        after: Duration,
        /// What is known of it.
        why: String,
    },
    /// It ended too often.
    #[error("the command was started {starts} times and did not stay: {why}")]
    GaveUp {
        /// How often.
        starts: u64,
        /// How it ended the last time.
        why: String,
    },
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

/// Serves the command `words` as an Executor. On Lambda it is started, watched and given the invocations until
/// SIGTERM; elsewhere it takes this process's place, so that one image serves both. `{port}` in a word, and the
/// variable `PORT`, tell the command where to listen; `jina executor` reads neither, so that it gets `--port` unless
/// it has it.
///
/// # Errors
/// When the settings do not hold, or the command cannot be started, is not ready in time or does not stay.
pub async fn serve_command(
    words: Vec<String>,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Ended, ServeError> {
    let words = with_port_option(words);
    let Some((program, rest)) = words.split_first() else {
        return Err(CommandError::Empty.into());
    };
    if lambda::is_here(&env) {
        let settings = Settings::from_env(&env)?;
        let function = lambda::Settings::from_env(&env)?;
        return serve_as_function(words, settings, function).await;
    }
    let port = env("PORT").filter(|port| !port.is_empty());
    let port = port.unwrap_or_else(|| PORT.to_string());
    let source = std::process::Command::new(program)
        .args(rest.iter().map(|word| with_port(word, &port)))
        .env("PORT", &port)
        .exec();
    let program = program.clone();
    Err(CommandError::Start { program, source }.into())
}

async fn serve_as_function(
    words: Vec<String>,
    settings: Settings,
    function: lambda::Settings,
) -> Result<Ended, ServeError> {
    let signal = stop_signal()?;
    let (stop, stopping) = watch::channel(None);
    let (supervisor, watch) = Supervisor::new(words, settings, stopping);
    let mut supervised = tokio::spawn(supervisor.run());
    let client = Client::new(watch, function.limits.body_bytes);
    let running = lambda::Running::default();
    let mut served = pin!(async {
        // Without it Lambda would kill this process, and the command with it, without a word.
        extension::register().await;
        if let Start::DuringInit = settings.start {
            client.ready_within(settings.start_timeout).await?;
        }
        lambda::answer_invocations(client.clone(), &function, &running).await
    });
    let patience = settings.stop_timeout;
    let ended = tokio::select! {
        biased;
        ended = &mut supervised => {
            // What is under way is told that the command is gone before this process is too.
            tokio::select! {
                _ = served => {}
                _ = running.drained(patience) => {}
            }
            return ended_by_itself(ended);
        }
        ended = &mut served => Some(ended),
        () = signal => None,
    };
    let by = Instant::now() + patience;
    let ended = match ended {
        Some(ended) => ended,
        // Half of the time is for invocations, and the rest for the command's own end.
        None => tokio::select! {
            ended = served => ended,
            ended = running.drained(patience / 2) => Ok(ended),
        },
    };
    stop.send_replace(Some(by));
    stopped(supervised, patience).await;
    ended
}

fn ended_by_itself(
    ended: Result<Result<(), CommandError>, JoinError>,
) -> Result<Ended, ServeError> {
    match ended {
        Ok(ended) => ended?,
        Err(error) => tracing::error!(
            error = %with_causes(&error),
            "nobody watches the command"
        ),
    }
    Ok(Ended::CutOff)
}

async fn stopped(supervised: JoinHandle<Result<(), CommandError>>, patience: Duration) {
    // The supervisor itself kills the command after that time.
    if timeout(patience + Duration::from_secs(1), supervised)
        .await
        .is_err()
    {
        tracing::warn!("the command did not end");
    }
}
