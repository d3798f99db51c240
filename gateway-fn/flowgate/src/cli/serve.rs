//! `flowgate serve`: a Flow served until the process is told to stop.

use std::io;

use clap::Args;
use flowgate_config::Loaded;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, env, load_flow, say};
use gateway::status::ProcessInfo;
use tokio::sync::oneshot;

use super::banner;
use crate::container::{Container, ContainerError, Ended};

/// Arguments of `flowgate serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The Flow YAML; without it FLOWGATE_FLOW, else an embedded Flow that greets
    #[arg(value_name = "FLOW.yml")]
    flow: Option<String>,
}

pub(super) async fn run(args: &ServeArgs) -> Exit {
    match load_flow(args.flow.as_deref()) {
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
    let process = ProcessInfo::from_environment(&env);
    let container = match Container::bind(&config, &Registry::default(), process).await {
        Ok(container) => container,
        Err(error) => return bind_failed(&error),
    };
    // The handlers are in place before the Gateway says that it is up, so that no signal is lost.
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => {
            say(&with_causes(&error));
            return Exit::Failed;
        }
    };
    banner::print(&config, &container);
    until_stopped(container, stop).await
}

/// A Gateway that does not start: prints why, with every cause.
fn bind_failed(error: &ContainerError) -> Exit {
    say(&with_causes(error));
    match error {
        ContainerError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::PortTaken
        }
        ContainerError::Start(_) | ContainerError::Tls(_) => Exit::Usage,
        ContainerError::Bind { .. } => Exit::Failed,
    }
}

/// Serves until the first signal, then finishes what is under way, unless a second signal comes.
async fn until_stopped(container: Container, stop: impl Future<Output = ()>) -> Exit {
    let (note, noted) = oneshot::channel();
    let first = async move {
        stop.await;
        // The receiver lives as long as the drain.
        let _ = note.send(executor_fn::stop_signal());
    };
    let second = async move {
        match noted.await {
            Ok(Ok(again)) => again.await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = container.serve(first) => match ended {
            Ended::Drained => tracing::info!("stopped"),
            Ended::CutOff => tracing::warn!("stopped before everything was finished"),
        },
        () = second => {
            say("a second signal: stopped with work under way");
            return Exit::Failed;
        }
    }
    Exit::Clean
}
