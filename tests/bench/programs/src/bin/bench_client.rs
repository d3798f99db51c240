//! Applies a load that h2load and wrk cannot send, and prints what it measured as one line of JSON.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use flowgate_bench::client::{self, ClientError, Load, idle, start};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Sends messages in `Call` streams, one stream for each connection.
    Call(Load),
    /// Sends messages over WebSockets.
    Websocket(Load),
    /// Opens WebSockets, prints a line, and holds them until standard input ends.
    Idle {
        /// The port of the WebSocket Gateway.
        #[arg(long)]
        port: u16,
        /// The number of WebSockets.
        #[arg(long)]
        connections: usize,
    },
    /// Starts a process, calls it until it answers rightly, prints the microseconds since the start, and ends it.
    Start {
        /// The gRPC port at which the process will listen.
        #[arg(long)]
        port: u16,
        /// A file with one message of `process_single_data`.
        #[arg(long)]
        message: PathBuf,
        /// The command of the process.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: Mode) -> Result<(), ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let line = match mode {
        Mode::Call(load) => runtime.block_on(client::call(&load))?.to_json(),
        Mode::Websocket(load) => runtime.block_on(client::websocket(&load))?.to_json(),
        Mode::Idle { port, connections } => {
            let sockets = runtime.block_on(idle::open(port, connections))?;
            writeln!(std::io::stdout(), "open")?;
            runtime.block_on(idle::hold(sockets))?;
            return Ok(());
        }
        Mode::Start {
            port,
            message,
            command,
        } => {
            let message = std::fs::read(message)?;
            let first_answer = start::first_answer(port, message.into(), &command);
            let microseconds = runtime.block_on(first_answer)?.as_micros();
            format!("{{\"microseconds\":{microseconds}}}")
        }
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
