//! Parses and runs the command line `flowgate`. Images install it under the name `jina` too, because Kubernetes manifests
//! and compose files exported by Jina call it so.

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
    host::program::{Exit, print_error, start_log},
};
use clap::{Parser, Subcommand};

/// Serves a Jina 3.x Flow to gRPC, HTTP and WebSocket clients.
#[derive(Debug, Parser)]
#[command(name = "flowgate", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

const AFTER_HELP: &str = "\
Without a subcommand, `flowgate [FLOW.yml]` means `flowgate serve [FLOW.yml]`.

Environment:
  FLOWGATE_FLOW   the Flow: a path or the YAML itself, used without the argument FLOW.yml;
                  with neither, the built-in Flow is served
  FLOWGATE_LOG    the log filter, such as `debug` or `gateway=debug,warn`
  JINA_LOG_LEVEL  DEBUG, INFO, SUCCESS, WARNING, ERROR or CRITICAL; used if FLOWGATE_LOG is not set

Exit status:
  0   stopped cleanly
  64  invalid arguments or an invalid Flow
  69  a port is already in use
  1   any other failure";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a Flow until SIGTERM or SIGINT (the default command)
    Serve(serve::ServeArgs),
    /// Check a Flow and report its errors, without serving it (--strict: treat warnings as errors;
    /// --print: print the Flow with every setting)
    Check(check::CheckArgs),
    /// Serve one of the built-in Executors over gRPC
    Executor(executor::ExecutorArgs),
    /// Serve a Gateway with the arguments of `jina gateway`, which Kubernetes manifests and compose files exported by
    /// Jina use
    Gateway(gateway::GatewayCommand),
    /// Serve an HTTP API and a WebSocket API in front of a Lambda function: a local API Gateway
    Local(Box<local::LocalArgs>),
    /// Check whether an Executor, a Gateway or a whole Flow is ready, with the arguments of `jina ping`
    Ping(ping::PingArgs),
}

/// Runs the command line and returns the exit status.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    executor_fn::info::record_process_start();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return print_clap(&error).code(),
    };
    aws::set_source(Source::DEFAULT_CHAIN);
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            print_error(&format!("cannot start the async runtime: {error}"));
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
    // Work that has outlived the shutdown deadline must not keep the process alive.
    runtime.shutdown_background();
    exit.code()
}

/// Prints help, the version, or what is wrong with the arguments.
fn print_clap(error: &clap::Error) -> Exit {
    // Fails only if the output is closed, and then the error cannot be printed either.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Clean
    }
}
