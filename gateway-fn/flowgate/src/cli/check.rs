//! `flowgate check`: reports the errors and warnings of a Flow without serving it.

use std::error::Error;

use clap::Args;
use flowgate_config::{Config, print};
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, env, print_config_errors, print_error, read_flow};
use gateway::inbound::Services;
use gateway::outbound::Clients;
use gateway::status::ProcessInfo;

use crate::container::tls::Tls;

/// Arguments of `flowgate check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Flow YAML
    #[arg(value_name = "FLOW.yml")]
    flow: String,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// Print the Flow as normalized YAML: every setting with its value or default, references resolved. Values from the
    /// environment stay ${{ ENV.NAME }}; literal API keys and grpc_metadata are redacted
    #[arg(long)]
    print: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the result of the check is the command's output"
)]
pub(super) fn run(args: &CheckArgs) -> Exit {
    let (text, file) = match read_flow(Some(&args.flow)) {
        Ok(flow) => flow,
        Err(error) => return error.print(),
    };
    let loaded = match Config::from_yaml(&text, &file, &env) {
        Ok(loaded) => loaded,
        Err(errors) => {
            print_config_errors(&errors);
            return Exit::Usage;
        }
    };
    if let Err(error) = check_startable(&loaded.config) {
        print_error(&format!("{}: {}", args.flow, with_causes(&*error)));
        return Exit::Usage;
    }
    let mut warnings = loaded.warnings;
    match loaded.config.gateway.tls.as_ref().map(Tls::load) {
        Some(Ok(tls)) => warnings.extend(tls.expiry_warning()),
        Some(Err(error)) => {
            print_config_errors(&error.0);
            return Exit::Usage;
        }
        None => {}
    }
    for warning in &warnings {
        eprintln!("{}{warning}", if args.strict { "" } else { "warning: " });
    }
    if args.strict && !warnings.is_empty() {
        return Exit::Usage;
    }
    if args.print {
        return match print::normalized_yaml(&text, &file, &env) {
            Ok(yaml) => {
                print!("{yaml}");
                Exit::Clean
            }
            Err(errors) => {
                print_config_errors(&errors);
                Exit::Usage
            }
        };
    }
    println!(
        "{}: the Flow is valid: {}",
        args.flow,
        super::banner::graph(&loaded.config)
    );
    Exit::Clean
}

/// Checks what depends on this process and machine: built-in Executors, and the files with keys of callers.
fn check_startable(config: &Config) -> Result<(), Box<dyn Error>> {
    let clients = Clients::new(&config.gateway.invoke);
    Services::new(
        config,
        &Registry::default(),
        &clients,
        ProcessInfo::default(),
    )?;
    Ok(())
}
