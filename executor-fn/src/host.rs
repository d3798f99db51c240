//! Serves an Executor, or a command that serves one, as a complete program. This module chooses the host: `lambda` if the
//! variable `AWS_LAMBDA_RUNTIME_API` is set (with `command` for a command), otherwise `container`, the gRPC server.

mod command;

mod container;

mod environment;

mod error;

mod lambda;

mod program;

mod shutdown;

use std::process::ExitCode;

use self::{
    environment::{is_lambda, non_empty},
    program::{Information, variable},
};
use crate::{Executor, Identity};

pub use self::{
    container::{ServeOptions, serve_on},
    error::{CommandError, OptionError, ServeError},
    lambda::{
        AfterAnswer, InvocationHold, init_panic_message, post_init_error, post_init_error_blocking,
        raw_payload,
    },
    program::{OPTIONS_HELP, run_program},
    shutdown::{Shutdown, stop_signal},
};

/// Where a command listens outside of Lambda unless the variable `PORT` is set: Flowgate's usual gRPC port.
const DEFAULT_COMMAND_PORT: u16 = 50051;

/// Runs an Executor as a complete program, as the last line of `main`: starts the log, reads
/// [`ServeOptions::from_args_and_env`], prints one line with the address once it listens, and serves until SIGTERM or
/// SIGINT. On Lambda it answers invocations instead, as [`serve`] does there. `--help` and `--version` print what they say
/// and end the program. Errors and the exit status are those of [`run_program`].
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use executor_fn::{Executor, Reply};
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     let executor = Executor::new("Echo").on_default(|_| async { Ok(Reply::unchanged()) });
///     executor_fn::run(executor).await
/// }
/// ```
#[expect(
    clippy::print_stdout,
    reason = "the person who started the program asked for it"
)]
pub async fn run(executor: Executor) -> ExitCode {
    let args = std::env::args_os().skip(1);
    let args = args.map(|argument| argument.to_string_lossy().into_owned());
    let args: Vec<_> = args.collect();
    match Information::from_args(&args) {
        Some(information) => {
            print!("{}", information.text(executor.name()));
            ExitCode::SUCCESS
        }
        None => run_program(serve_with(args, executor)).await,
    }
}

/// Serves `executor` as the arguments and the environment say.
#[expect(
    clippy::print_stdout,
    reason = "the address is for the person who started the program"
)]
async fn serve_with(args: Vec<String>, executor: Executor) -> Result<Shutdown, ServeError> {
    let options = ServeOptions::from_args_and_env(args, variable)?;
    if is_lambda(&variable) {
        return lambda::serve(executor, options.identity, &variable).await;
    }
    let listener = container::bind(options.address).await?;
    let stop = stop_signal()?;
    if let Ok(address) = listener.local_addr() {
        println!("{} listens on {address}", executor.name());
    }
    serve_on(listener, executor, options, stop).await
}

/// Serves `executor` until SIGTERM or SIGINT: over gRPC, or on Lambda (where `AWS_LAMBDA_RUNTIME_API` is set) by
/// answering invocations as `proto/INVOKE.md` describes. Lambda uses only the identity of `options`; its limits come
/// from the environment variables `FLOWGATE_MEMORY_PERCENT` and `FLOWGATE_DEADLINE_MARGIN`.
///
/// # Errors
/// When the address cannot be listened on, the server fails, or a variable of Lambda's environment is invalid.
pub async fn serve(executor: Executor, options: ServeOptions) -> Result<Shutdown, ServeError> {
    if is_lambda(&variable) {
        return lambda::serve(executor, options.identity, &variable).await;
    }
    let listener = container::bind(options.address).await?;
    let stop = stop_signal()?;
    serve_on(listener, executor, options, stop).await
}

/// Serves a command that serves an Executor over gRPC, such as `jina executor --uses config.yml`. On Lambda this
/// process starts the command, supervises it and forwards the invocations to it until SIGTERM. Elsewhere the command
/// replaces this process, so that one image serves both.
///
/// The command learns its port in two ways: `{port}` in a word is replaced by it, and the environment variable `PORT` is
/// set to it. `jina executor` uses neither, so `--port` is appended to it unless it has a port option, and `--name` unless
/// it has a name: the variable `JINA_DEPLOYMENT_NAME`, else a default, in whose place answers have the name in the caller's
/// Flow.
///
/// # Errors
/// When a variable is invalid, or the command cannot be started, is not ready in time or ends too often.
pub async fn serve_command(
    command: Vec<String>,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Shutdown, ServeError> {
    let chosen = non_empty(&env, "JINA_DEPLOYMENT_NAME").map(identity);
    if is_lambda(&env) {
        return command::serve_on_lambda(command, chosen, env).await;
    }
    let port = non_empty(&env, "PORT");
    let port = port.unwrap_or_else(|| DEFAULT_COMMAND_PORT.to_string());
    Err(command::replace_process(command, &port, chosen).into())
}

impl ServeOptions {
    /// Reads the options of a program; the others keep their defaults:
    /// - `--port P`, else the variable `PORT`, else any free port;
    /// - `--name N`, else the variable `JINA_DEPLOYMENT_NAME`, which Jina's Kubernetes manifests set: the name of the
    ///   deployment (`exec0`) or of one of its replicas (`exec0/rep-1`).
    ///
    /// `args` does not include the program's name; `env` looks up an environment variable.
    ///
    /// # Errors
    /// When there is another argument, a value is missing, or the port is not a number from 0 to 65535.
    pub fn from_args_and_env(
        args: impl IntoIterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let mut port = non_empty(&env, "PORT");
        let mut name = non_empty(&env, "JINA_DEPLOYMENT_NAME");
        let mut args = args.into_iter();
        while let Some(argument) = args.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let target = match option {
                "--port" => &mut port,
                "--name" => &mut name,
                _ => return Err(OptionError::Unexpected { argument }),
            };
            let value = value.or_else(|| args.next());
            *target = Some(value.ok_or_else(|| OptionError::Missing {
                option: option.to_owned(),
            })?);
        }
        let port = port.map_or(Ok(0), |value| {
            let port = value.parse();
            port.map_err(|source| OptionError::Port { value, source })
        })?;
        let default = Self::default();
        Ok(Self {
            address: (default.address.ip(), port).into(),
            identity: name.map(identity),
            ..default
        })
    }
}

fn identity(name: String) -> Identity {
    match name.split_once('/') {
        Some((deployment, _)) => Identity {
            deployment: deployment.to_owned(),
            runtime: name,
        },
        None => Identity::first_replica(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(u16, Option<Identity>), OptionError> {
        let args = args.iter().map(|argument| (*argument).to_owned());
        let options = ServeOptions::from_args_and_env(args, |key| {
            let variable = env.iter().find(|(name, _)| *name == key)?;
            Some(variable.1.to_owned())
        })?;
        Ok((options.address.port(), options.identity))
    }

    #[test]
    fn arguments_override_variables() {
        assert_eq!(options(&[], &[]), Ok((0, None)));
        let env = [("PORT", "9000"), ("JINA_DEPLOYMENT_NAME", "exec0/rep-1")];
        let replica = Identity {
            deployment: "exec0".to_owned(),
            runtime: "exec0/rep-1".to_owned(),
        };
        assert_eq!(options(&[], &env), Ok((9000, Some(replica))));
        let exec1 = Some(Identity::first_replica("exec1"));
        let args = ["--port", "9001", "--name=exec1"];
        assert_eq!(options(&args, &env), Ok((9001, exec1)));
    }

    #[test]
    fn help_and_version_are_printed_instead_of_serving() {
        let information = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(|&argument| argument.to_owned()).collect();
            Information::from_args(&args).map(|information| information.text("Echo"))
        };
        for argument in ["-h", "--help"] {
            let help = information(&["--port", "1", argument]).expect("help");
            for part in [
                "Echo",
                "--port",
                "--name",
                "JINA_DEPLOYMENT_NAME",
                "--version",
            ] {
                assert!(help.contains(part), "{part} is not in {help}");
            }
        }
        for argument in ["-V", "--version"] {
            let version = information(&[argument]).expect("a version");
            assert!(
                version.starts_with("Echo (executor-fn 3.13.2+"),
                "{version}"
            );
        }
        assert_eq!(information(&["--port", "1"]), None);
    }

    #[test]
    fn an_error_reports_the_invalid_argument() {
        for (args, message) in [
            (&["--port"][..], "--port needs a value"),
            (
                &["--port", "70000"],
                "port \"70000\" is invalid: expected a number from 0 to 65535",
            ),
            (
                &["9000"],
                "unexpected argument \"9000\": expected --port, --name, --help or --version",
            ),
        ] {
            let error = options(args, &[]).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
    }
}
