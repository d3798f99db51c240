//! `flowgate gateway`: serves a Gateway from the arguments of `jina gateway`, so that a Gateway image exported by Jina
//! can be replaced without changing its command line.

use clap::Args;
use flowgate_config::{Config, GatewayArgs};
use gateway::host::program::{Exit, env, print_config_errors, print_error};

use super::serve;

/// Arguments of `flowgate gateway`.
#[derive(Args, Debug)]
#[command(after_help = ARGUMENTS)]
pub(super) struct GatewayCommand {
    /// The arguments of `jina gateway`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<String>,
}

const ARGUMENTS: &str = "\
The arguments with an effect, as in Jina 3.13:
  --graph-description JSON      names to the names that follow, from start-gateway to end-gateway
  --deployments-addresses JSON  names to lists of addresses
  --graph-conditions JSON, --deployments-metadata JSON, --deployments-no-reduce JSON
  --protocol P [P ...], --port N [N ...], --host ADDRESS
  --timeout-send MS, --retries N, --prefetch N, --compression NAME
  --title TEXT, --description TEXT, --cors, --no-debug-endpoints, --no-crud-endpoints,
  --expose-endpoints JSON, --ssl-certfile PATH, --ssl-keyfile PATH,
  --uvicorn-kwargs KEY:VALUE [KEY:VALUE ...] with the keys that start with ssl_
Jina's other arguments are accepted and have no effect; unknown ones are warned about, as in Jina.";

pub(super) async fn run(command: &GatewayCommand) -> Exit {
    let args = match GatewayArgs::parse(&command.args) {
        Ok(args) => args,
        Err(error) => {
            print_error(&error.to_string());
            return Exit::Usage;
        }
    };
    for argument in args.unknown() {
        tracing::warn!(argument, "ignored an unknown argument");
    }
    match Config::from_gateway_args(&args, &env) {
        Ok(loaded) => serve::serve(loaded).await,
        Err(errors) => {
            print_config_errors(&errors);
            Exit::Usage
        }
    }
}
