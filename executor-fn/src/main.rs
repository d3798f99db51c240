//! The program `executor-fn`: serves a built-in Executor, or a command that serves one, as a Lambda function, and outside
//! of Lambda over gRPC.

use std::{env, process::ExitCode};

use executor_fn::{Executor, ServeError, Shutdown, builtin, log, variables};
use flowgate_proto::with_causes;

/// The exit status for invalid arguments or variables (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

/// The exit status for a port that is taken (`EX_UNAVAILABLE` of sysexits.h).
const EXIT_UNAVAILABLE: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    log::start(log::Format::for_environment(&variable), &variable);
    variables::warn_about_misspelled(env::vars_os().map(|(name, _)| name));
    match serve().await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                error = %with_causes(&error),
                "the Executor failed"
            );
            ExitCode::from(match error {
                ProgramError::UnknownExecutor(_)
                | ProgramError::CommandList(_)
                | ProgramError::Serve(ServeError::Options(_)) => EXIT_USAGE,
                ProgramError::Serve(ServeError::Bind { .. }) => EXIT_UNAVAILABLE,
                ProgramError::Serve(_) => 1,
            })
        }
    }
}

/// Why the program fails.
#[derive(Debug, thiserror::Error)]
enum ProgramError {
    #[error("FLOWGATE_EXECUTOR is {0:?}: expected greet or pass_through")]
    UnknownExecutor(String),
    #[error(
        "FLOWGATE_EXECUTOR_COMMAND starts with `[` but is not a JSON list of strings, like [\"jina\", \"executor\"]"
    )]
    CommandList(#[source] serde_json::Error),
    #[error("cannot serve the Executor")]
    Serve(#[from] ServeError),
}

async fn serve() -> Result<Shutdown, ProgramError> {
    let command = command()?;
    if command.is_empty() {
        return Ok(executor_fn::run(executor()?).await?);
    }
    Ok(executor_fn::serve_command(command, &variable).await?)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the command to run: the arguments after `--`; or all arguments if the first is not an option, as with the
/// CMD of an image whose ENTRYPOINT is this program; or `FLOWGATE_EXECUTOR_COMMAND`, words separated by blanks or a JSON
/// list. Empty without any of these.
fn command() -> Result<Vec<String>, ProgramError> {
    let arguments = env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let words = match arguments.iter().position(|argument| argument == "--") {
        Some(separator) => arguments.get(separator + 1..).unwrap_or_default(),
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
            serde_json::from_str(&list).map_err(ProgramError::CommandList)
        }
        Some(words) => Ok(words.split_whitespace().map(str::to_owned).collect()),
        None => Ok(Vec::new()),
    }
}

/// Returns the Executor that `FLOWGATE_EXECUTOR` names: `greet` (the default) or `pass_through`.
fn executor() -> Result<Executor, ProgramError> {
    match variable("FLOWGATE_EXECUTOR").as_deref() {
        None | Some("greet") => Ok(builtin::greeter()),
        Some("pass_through") => Ok(builtin::pass_through()),
        Some(other) => Err(ProgramError::UnknownExecutor(other.to_owned())),
    }
}
