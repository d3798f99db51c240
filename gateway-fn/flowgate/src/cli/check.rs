//! `flowgate check`: reports the errors and warnings of a Flow without serving it.

use std::error::Error;

use clap::Args;
use flowgate_config::Config;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, load_flow, say};
use gateway::inbound::Services;
use gateway::outbound::Clients;
use gateway::status::ProcessInfo;

use crate::container::tls;

/// Arguments of `flowgate check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Flow YAML
    #[arg(value_name = "FLOW.yml")]
    flow: String,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of the check is the command's output"
)]
pub(super) fn run(args: &CheckArgs) -> Exit {
    let loaded = match load_flow(Some(&args.flow)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if let Err(error) = check_startable(&loaded.config) {
        say(&format!("{}: {}", args.flow, with_causes(&*error)));
        return Exit::Usage;
    }
    for warning in &loaded.warnings {
        eprintln!("{}{warning}", if args.strict { "" } else { "warning: " });
    }
    if args.strict && !loaded.warnings.is_empty() {
        return Exit::Usage;
    }
    println!(
        "{}: the Flow is valid: {}",
        args.flow,
        super::banner::graph(&loaded.config)
    );
    Exit::Clean
}

/// Checks what depends on this process and machine: built-in Executors, and the files that the Flow names.
fn check_startable(config: &Config) -> Result<(), Box<dyn Error>> {
    let clients = Clients::new(&config.gateway.invoke);
    Services::new(
        config,
        &Registry::default(),
        &clients,
        ProcessInfo::default(),
    )?;
    if let Some(files) = &config.gateway.tls {
        tls::acceptor(files)?;
    }
    Ok(())
}
