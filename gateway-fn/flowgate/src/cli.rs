//! The command `flowgate`, which also answers to the name `jina` for the arguments that Jina's images run it with.

mod banner;

mod check;

mod executor;

mod gateway;

mod local;

mod ping;

mod serve;

use std::{ffi::OsString, process::ExitCode};

use ::gateway::{
    aws::{self, Source},
    host::program::{Exit, say, start_log},
};
use clap::{Parser, Subcommand};

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
        Err(error) => return from_clap(&error).code(),
    };
    aws::take_from(Source::EVERYTHING);
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("no runtime: {error}"));
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

/// Help and version are printed as asked for; anything else is a mistake in the arguments.
fn from_clap(error: &clap::Error) -> Exit {
    // When standard output is closed there is nothing left to report to.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Clean
    }
}
