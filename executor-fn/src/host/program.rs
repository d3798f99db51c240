//! Runs a host as a whole program: starts the log, and turns the error that ends it into a message, a report to Lambda and
//! an exit status.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, resume_unwind},
    process::ExitCode,
};

use flowgate_proto::with_causes;
use futures_util::FutureExt as _;

use super::{
    environment::is_lambda,
    error::ServeError,
    lambda::{init_panic_message, post_init_error},
    shutdown::Shutdown,
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

/// Runs `serve` as a whole program, as the last line of `main`: starts the log, unless the program has set up one, warns
/// about misspelled `FLOWGATE_*` variables, and returns the exit status. An error is printed to standard error (on Lambda
/// it is logged, and reported to Lambda if the function has not started yet). The status is 0 after a clean stop, 64 for
/// invalid arguments or variables, 69 for an address that cannot be listened on, and 1 for other errors. A panic is
/// reported to Lambda too, and then goes on.
///
/// [`run`](crate::run) does this for an Executor. Use this function for a program that has to prepare something first, and
/// prepare it inside: Lambda learns nothing of an error or a panic before.
///
/// ```no_run
/// use std::{env, fs, process::ExitCode};
///
/// use executor_fn::{
///     Executor, Reply, ServeError, ServeOptions, run_program, serve, struct_from_json,
/// };
///
/// #[tokio::main]
/// async fn main() -> ExitCode {
///     run_program(async {
///         let words = fs::read_to_string("words.txt").map_err(ServeError::prepare)?;
///         let count = words.lines().count();
///         let executor = Executor::new("Words").on_default(move |_| async move {
///             Ok(Reply::results(struct_from_json(serde_json::json!({"words": count}))?))
///         });
///         let arguments = env::args().skip(1);
///         let options = ServeOptions::from_args_and_env(arguments, |name| env::var(name).ok())?;
///         serve(executor, options).await
///     })
///     .await
/// }
/// ```
pub async fn run_program(serve: impl Future<Output = Result<Shutdown, ServeError>>) -> ExitCode {
    start_log();
    match AssertUnwindSafe(serve).catch_unwind().await {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            report(&error).await;
            ExitCode::from(error.exit_status())
        }
        Err(panic) => {
            report_panic(&*panic).await;
            resume_unwind(panic)
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

/// Reports a panic to Lambda; the panic itself has written its message and its place to standard error.
async fn report_panic(panic: &(dyn Any + Send)) {
    let message = init_panic_message(panic);
    post_init_error("Flowgate.StartFailed", &message, &variable).await;
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
