//! The program `executor-fn`: serves a built-in Executor, or a command that serves one, as a Lambda function, and outside
//! of Lambda over gRPC.

use std::{env, future::ready, process::ExitCode};

use executor_fn::{Executor, OPTIONS_HELP, OptionError, builtin, run, run_program, serve_command};

/// The help before the options.
const USAGE: &str = "\
Serves a built-in Executor, or a command that serves one, over gRPC, or as a function on AWS Lambda

Usage: executor-fn [OPTIONS]
       executor-fn [--] COMMAND [ARGUMENT...]

`{port}` in a command is replaced by the port that it has to listen on; the variable PORT has it too.
README.md, \"Executors as functions\", lists the variables of commands.

  FLOWGATE_EXECUTOR          The built-in Executor: `greet` or `pass_through` [default: greet]
  FLOWGATE_EXECUTOR_COMMAND  The command: words separated by blanks, or a JSON list of strings

";

/// What to serve.
enum Program {
    BuiltIn(Executor),
    Command(Vec<String>),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = env::args_os().skip(1);
    let arguments: Vec<_> = arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if arguments.first().is_some_and(|first| is_help(first)) {
        print_help();
        return ExitCode::SUCCESS;
    }
    match program(&arguments, &variable) {
        Ok(Program::BuiltIn(executor)) => run(executor).await,
        Ok(Program::Command(words)) => run_program(serve_command(words, &variable)).await,
        Err(error) => run_program(ready(Err(error.into()))).await,
    }
}

fn is_help(argument: &str) -> bool {
    ["-h", "--help"].contains(&argument)
}

#[expect(clippy::print_stdout, reason = "the user asked for it")]
fn print_help() {
    print!("{USAGE}{OPTIONS_HELP}");
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn program(
    arguments: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Program, OptionError> {
    let words = command(arguments, env)?;
    match words.is_empty() {
        true => executor(env).map(Program::BuiltIn),
        false => Ok(Program::Command(words)),
    }
}

/// Returns the command to run: the arguments after `--`; or all arguments if the first is not an option, as with the
/// CMD of an image whose ENTRYPOINT is this program; or `FLOWGATE_EXECUTOR_COMMAND`, words separated by blanks or a JSON
/// list. Empty without any of these.
fn command(
    arguments: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, OptionError> {
    let words = match arguments.iter().position(|argument| argument == "--") {
        Some(separator) => arguments.get(separator + 1..).unwrap_or_default(),
        None if arguments
            .first()
            .is_some_and(|first| !first.starts_with('-')) =>
        {
            arguments
        }
        None => &[],
    };
    if !words.is_empty() {
        return Ok(words.to_vec());
    }
    let variable = "FLOWGATE_EXECUTOR_COMMAND";
    match env(variable) {
        Some(list) if list.trim_start().starts_with('[') => {
            let words: Vec<String> = serde_json::from_str(&list).map_err(|error| {
                let reason = error.to_string();
                OptionError::CommandList { variable, reason }
            })?;
            match words.is_empty() {
                true => Err(OptionError::CommandList {
                    variable,
                    reason: "the list is empty".to_owned(),
                }),
                false => Ok(words),
            }
        }
        Some(words) => Ok(words.split_whitespace().map(str::to_owned).collect()),
        None => Ok(Vec::new()),
    }
}

/// Returns the Executor that `FLOWGATE_EXECUTOR` names: `greet` (the default) or `pass_through`.
fn executor(env: &dyn Fn(&str) -> Option<String>) -> Result<Executor, OptionError> {
    let variable = "FLOWGATE_EXECUTOR";
    match env(variable) {
        None => Ok(builtin::greeter()),
        Some(name) if name == "greet" => Ok(builtin::greeter()),
        Some(name) if name == "pass_through" => Ok(builtin::pass_through()),
        Some(value) => Err(OptionError::Variable {
            variable,
            value,
            expected: "expected greet or pass_through",
        }),
    }
}
