//! `flowgate check`: a Flow read and judged, nothing served.

use std::error::Error;

use crate::container::tls;
use clap::Args;
use flowgate_config::Config;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, load_flow, say};
use gateway::inbound::Services;
use gateway::outbound::Clients;
use gateway::status::ProcessInfo;

/// Arguments of `flowgate check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Flow YAML
    #[arg(value_name = "FLOW.yml")]
    flow: String,
    /// Take what Jina would only warn about or ignore for a fault
    #[arg(long)]
    strict: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the verdict is what the command is for"
)]
pub(super) fn run(args: &CheckArgs) -> Exit {
    let loaded = match load_flow(Some(&args.flow)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if let Err(error) = startable(&loaded.config) {
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
        "{}: the Flow holds: {}",
        args.flow,
        super::banner::graph(&loaded.config)
    );
    Exit::Clean
}

/// What only this process can know: whether it has the Executors that the Flow names, and the files.
fn startable(config: &Config) -> Result<(), Box<dyn Error>> {
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
