//! `flowgate executor`: one of the Executors that are compiled in, served over gRPC.

use clap::Args;
use executor_fn::{Identity, ServeError, ServeOptions};
use flowgate_config::Protocol;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, say};

use super::banner;

/// Arguments of `flowgate executor`.
#[derive(Args, Debug)]
pub(super) struct ExecutorArgs {
    /// The address to listen at
    #[arg(long, default_value = "0.0.0.0")]
    host: String,
    /// The port to listen at; 0 takes a free one
    #[arg(long, default_value_t = 50052)]
    port: u16,
    /// The deployment's name, as it stands in routes
    #[arg(long, default_value = "executor0")]
    name: String,
    /// Which Executor: greet or pass_through
    #[arg(long, default_value = "greet")]
    uses: String,
}

#[expect(
    clippy::print_stdout,
    reason = "the address is for the person who started the Executor"
)]
pub(super) async fn run(args: &ExecutorArgs) -> Exit {
    let registry = Registry::default();
    let Some(executor) = registry.make(&args.uses) else {
        let known: Vec<_> = registry.names().collect();
        say(&format!(
            "no executor {:?} is compiled in; there are: {}",
            args.uses,
            known.join(", ")
        ));
        return Exit::Usage;
    };
    let socket = match tokio::net::TcpListener::bind((args.host.as_str(), args.port)).await {
        Ok(socket) => socket,
        Err(error) => {
            say(&format!(
                "port {} of {} cannot be had: {error}",
                args.port, args.host
            ));
            return match error.kind() {
                std::io::ErrorKind::AddrInUse => Exit::PortTaken,
                _ => Exit::Failed,
            };
        }
    };
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => return failed(&error),
    };
    if let Ok(address) = socket.local_addr() {
        println!(
            "Executor {} ({}) at {}",
            args.name,
            executor.name(),
            banner::url(Protocol::Grpc, false, address)
        );
    }
    let options = ServeOptions {
        identity: Some(Identity::of(&args.name)),
        ..ServeOptions::default()
    };
    match executor_fn::serve_on(socket, executor, options, stop).await {
        // What was cut off has been logged.
        Ok(_) => Exit::Clean,
        Err(error) => failed(&error),
    }
}

fn failed(error: &ServeError) -> Exit {
    say(&with_causes(error));
    Exit::Failed
}
