//! The command `flowgate`, which also answers to the name `jina` for the arguments that Jina's images run it with.

mod banner;

mod check;

mod executor;

mod exit;

mod flow_source;

mod function;

mod gateway;

mod local;

mod ping;

mod serve;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};
use executor_fn::{log, variables};

pub use exit::Exit;
pub use function::run_function;

use crate::aws::{self, Source};

/// Serves a Jina 3.x Flow: one Flow YAML in, a Gateway for gRPC, HTTP and WebSocket clients out.
#[derive(Debug, Parser)]
#[command(name = "flowgate", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

const AFTER_HELP: &str = "\
Without a subcommand, `flowgate [FLOW.yml]` is `flowgate serve [FLOW.yml]`.

Environment:
  FLOWGATE_FLOW   the Flow: a path, or the YAML itself (an argument goes before it)
  FLOWGATE_LOG    what is logged: a level, or several for parts of it: `debug`, `gateway=debug,warn`
  JINA_LOG_LEVEL  Jina's level names, where FLOWGATE_LOG is not set

Exit status:
  0 stopped cleanly   64 bad arguments or a Flow that does not hold   69 a port that is taken   1 anything else";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a Flow until SIGTERM or SIGINT (the default)
    Serve(serve::ServeArgs),
    /// Read a Flow and say what is wrong with it, without serving it
    Check(check::CheckArgs),
    /// Serve an Executor that is compiled in, over gRPC
    Executor(executor::ExecutorArgs),
    /// Serve a Gateway by the arguments of `jina gateway`, as Jina's Kubernetes and compose exports call it
    Gateway(gateway::GatewayCommand),
    /// Serve an HTTP API and a WebSocket API in front of a Lambda function, as API Gateway does
    Local(Box<local::LocalArgs>),
    /// Ask an Executor, a Gateway or a whole Flow whether it is ready, by the arguments of `jina ping`
    Ping(ping::PingArgs),
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    executor_fn::info::note_start();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return Exit::from_clap(&error).code(),
    };
    aws::take_from(Source::EVERYTHING);
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            exit::say(&format!("no runtime: {error}"));
            return Exit::Failed.code();
        }
    };
    let exit = runtime.block_on(async {
        match cli.command.unwrap_or(Command::Serve(cli.serve)) {
            Command::Serve(args) => serve::run(&args).await,
            Command::Check(args) => check::run(&args),
            Command::Executor(args) => executor::run(&args).await,
            Command::Gateway(args) => gateway::run(&args).await,
            Command::Local(args) => local::run(&args).await,
            Command::Ping(args) => ping::run(&args).await,
        }
    });
    // Work that outlived its deadline must not hold the process.
    runtime.shutdown_background();
    exit.code()
}

/// Starts the log, and says in it first which variables are misspelt.
fn start_log() {
    log::start(log::Format::for_environment(&env), &env);
    variables::warn_of_misspelt(std::env::vars_os().map(|(name, _)| name));
}

/// The process's environment, in the form in which everything below takes it.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
