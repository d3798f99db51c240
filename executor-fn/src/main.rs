//! The function `executor-fn`: an Executor that comes with the library, or a command that is one, on Lambda; the
//! same over gRPC elsewhere.

use std::{env, process::ExitCode};

use executor_fn::{Ended, Executor, ServeError, greet, log, variables};
use flowgate_proto::with_causes;

/// As sysexits.h has them: bad arguments, and a port that is taken.
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    log::start(log::Format::for_environment(&variable), &variable);
    variables::warn_of_misspelt(env::vars_os().map(|(name, _)| name));
    match serve().await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                error = %with_causes(&error),
                "the Executor ended"
            );
            ExitCode::from(match error {
                Failure::Executor(_)
                | Failure::Command(_)
                | Failure::Serve(ServeError::Options(_)) => USAGE,
                Failure::Serve(ServeError::Bind { .. }) => UNAVAILABLE,
                Failure::Serve(_) => 1,
            })
        }
    }
}

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("FLOWGATE_EXECUTOR is {0:?}: expected greet or pass_through")]
    Executor(String),
    #[error("FLOWGATE_EXECUTOR_COMMAND is no list of words")]
    Command(#[source] serde_json::Error),
    #[error("the Executor cannot be served")]
    Serve(#[from] ServeError),
}

async fn serve() -> Result<Ended, Failure> {
    let command = command()?;
    if command.is_empty() {
        return Ok(executor_fn::run(executor()?).await?);
    }
    Ok(executor_fn::serve_command(command, &variable).await?)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The command: the arguments behind `--`, or all of them if the first is no option (the CMD of an image whose
/// ENTRYPOINT this is); else `FLOWGATE_EXECUTOR_COMMAND`, words between blanks or a JSON list.
fn command() -> Result<Vec<String>, Failure> {
    let arguments = env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words = match arguments.iter().position(|argument| argument == "--") {
        Some(place) => arguments.get(place + 1..).unwrap_or_default(),
        None if arguments
            .first()
            .is_some_and(|first| !first.starts_with('-')) =>
        {
            &arguments
        }
        None => &[],
    };
    if !words.is_empty() {
        return Ok(words.to_vec());
    }
    match variable("FLOWGATE_EXECUTOR_COMMAND") {
        Some(list) if list.trim_start().starts_with('[') => {
            serde_json::from_str(&list).map_err(Failure::Command)
        }
        Some(words) => Ok(words.split_whitespace().map(str::to_owned).collect()),
        None => Ok(Vec::new()),
    }
}

/// `FLOWGATE_EXECUTOR`: `greet` unless set, or `pass_through`.
fn executor() -> Result<Executor, Failure> {
    match variable("FLOWGATE_EXECUTOR").as_deref() {
        None | Some("greet") => Ok(greet::greeter()),
        Some("pass_through") => Ok(greet::pass_through()),
        Some(other) => Err(Failure::Executor(other.to_owned())),
    }
}
