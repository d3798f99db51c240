//! Runs a host as a whole program: starts the log, and turns the error that ends it into a message, a report to Lambda and
//! an exit status.

use std::process::ExitCode;

use flowgate_proto::with_causes;

use super::{
    environment::is_lambda, error::ServeError, lambda::post_init_error, shutdown::Shutdown,
};
use crate::{info, log, variables};

/// The options of every program that calls [`run`](crate::run), for its help.
pub const OPTIONS_HELP: &str = "\
Options:
      --port <PORT>  Port to listen on [env: PORT] [default: any free port]
      --name <NAME>  Name of the deployment, `exec0`, or of one replica of it, `exec0/rep-1`
                     [env: JINA_DEPLOYMENT_NAME] [default: the Executor's name]
  -h, --help         Print help
  -V, --version      Print version

Environment:
  FLOWGATE_LOG       Filter of the log: `debug`, or `warn,executor_fn=trace` [default: info]

Exit status: 0 stopped cleanly, 64 invalid arguments or variables, 69 the port is taken, 1 any other error.
";

/// Runs `serve` as a whole program, as the last line of `main`: starts the log, unless the program has set up one, warns about misspelled `FLOWGATE_*`
/// variables, and returns the exit status. An error is printed to standard error (on Lambda it is logged, and reported to
/// Lambda if the function has not started yet). The status is 0 after a clean stop, 64 for invalid arguments or variables,
/// 69 for an address that cannot be listened on, and 1 for other errors.
///
/// [`run`](crate::run) does this for an Executor. Use it for a program that has to prepare something first:
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use executor_fn::{ServeOptions, builtin, run_program, serve};
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     run_program(serve(builtin::greeter(), ServeOptions::default())).await
/// }
/// ```
pub async fn run_program(serve: impl Future<Output = Result<Shutdown, ServeError>>) -> ExitCode {
    start_log();
    match serve.await {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error).await;
            ExitCode::from(error.exit_status())
        }
    }
}

fn start_log() {
    log::start(log::Format::for_environment(&variable), &variable);
    variables::warn_about_misspelled(std::env::vars_os().map(|(name, _)| name));
}

#[expect(
    clippy::print_stderr,
    reason = "the user at the terminal reads it, and the log may be off"
)]
async fn report(error: &ServeError) {
    let text = with_causes(error);
    if is_lambda(&variable) {
        tracing::error!(error = %text, "the Executor failed");
        post_init_error(error.init_error_type(), &text, &variable).await;
    } else {
        eprintln!("error: {text}");
    }
}

/// What the arguments of a program ask for instead of serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Information {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

impl Information {
    /// Returns the first of these options among `args`.
    pub(super) fn from_args(args: &[String]) -> Option<Self> {
        args.iter().find_map(|argument| match argument.as_str() {
            "-h" | "--help" => Some(Self::Help),
            "-V" | "--version" => Some(Self::Version),
            _ => None,
        })
    }

    /// The text to print for the Executor of this name.
    pub(super) fn text(self, executor: &str) -> String {
        match self {
            Self::Help => format!(
                "Serves the Executor {executor} over gRPC, or as a function on AWS Lambda\n\n{OPTIONS_HELP}"
            ),
            Self::Version => format!("{executor} (executor-fn {})\n", info::VERSION),
        }
    }
}

/// Returns a variable of the process's environment.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
