//! `flowgate serve`: a Flow served until the process is told to stop.

use clap::Args;

use super::{Exit, banner, flow_source};
use crate::{
    config::Loaded,
    gateway::Registry,
    host::container::{Container, Ended},
};

/// Arguments of `flowgate serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The Flow YAML; without it FLOWGATE_FLOW, else an embedded Flow that greets
    #[arg(value_name = "FLOW.yml")]
    flow: Option<String>,
}

pub(super) async fn run(args: &ServeArgs) -> Exit {
    match flow_source::load(args.flow.as_deref()) {
        Ok(loaded) => serve(loaded).await,
        Err(exit) => exit,
    }
}

/// Serves what was loaded, by whatever command.
pub(super) async fn serve(loaded: Loaded) -> Exit {
    let Loaded { config, warnings } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let container = match Container::bind(&config, &Registry::default()).await {
        Ok(container) => container,
        Err(error) => return Exit::container(&error),
    };
    // The handlers are in place before the Gateway says that it is up, so that no signal is lost.
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => return Exit::failure(&error.to_string()),
    };
    banner::print(&config, &container);
    match container.serve(stop).await {
        Ended::Drained => tracing::info!("stopped"),
        Ended::CutOff => tracing::warn!("stopped before everything was finished"),
    }
    Exit::Clean
}
