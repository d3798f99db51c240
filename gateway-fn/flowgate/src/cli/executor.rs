//! `flowgate executor`: serves one of the built-in Executors over gRPC.

use clap::Args;
use executor_fn::{Identity, ServeError, ServeOptions};
use flowgate_config::Protocol;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, print_error};

use super::banner;

/// Arguments of `flowgate executor`.
#[derive(Args, Debug)]
pub(super) struct ExecutorArgs {
    /// The address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    host: String,
    /// The port to listen on; 0 chooses a free one
    #[arg(long, default_value_t = 50052)]
    port: u16,
    /// The deployment's name, which appears in the `routes` of answers
    #[arg(long, default_value = "executor0")]
    name: String,
    /// The Executor: greet or pass_through
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
        let names: Vec<_> = registry.names().collect();
        print_error(&format!(
            "--uses: no executor {:?} is compiled in (known: {})",
            args.uses,
            names.join(", ")
        ));
        return Exit::Usage;
    };
    let socket = match tokio::net::TcpListener::bind((args.host.as_str(), args.port)).await {
        Ok(socket) => socket,
        Err(error) => {
            print_error(&format!(
                "cannot listen on {}:{}: {error}",
                args.host, args.port
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
        identity: Some(Identity::first_replica(&args.name)),
        ..ServeOptions::default()
    };
    match executor_fn::serve_on(socket, executor, options, stop).await {
        // A shutdown that cut off work has logged it.
        Ok(_) => Exit::Clean,
        Err(error) => failed(&error),
    }
}

fn failed(error: &ServeError) -> Exit {
    print_error(&with_causes(error));
    Exit::Failed
}
