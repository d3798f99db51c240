//! `flowgate serve`: serves a Flow until the process receives a stop signal.

use std::io;

use clap::Args;
use flowgate_config::Loaded;
use flowgate_proto::with_causes;
use gateway::gateway::Registry;
use gateway::host::program::{Exit, env, load_flow, print_config_errors, print_error};
use gateway::status::ProcessInfo;
use tokio::sync::oneshot;

use super::banner;
use crate::container::{Container, ContainerError, Shutdown};

/// Arguments of `flowgate serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The Flow YAML [default: FLOWGATE_FLOW, or else an embedded example Flow]
    #[arg(value_name = "FLOW.yml")]
    flow: Option<String>,
}

pub(super) async fn run(args: &ServeArgs) -> Exit {
    match load_flow(args.flow.as_deref()) {
        Ok(loaded) => serve(loaded).await,
        Err(error) => error.print(),
    }
}

/// Serves a loaded Flow.
pub(super) async fn serve(loaded: Loaded) -> Exit {
    let Loaded { config, warnings } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let process = ProcessInfo::from_environment(&env);
    let container = match Container::bind(&config, &Registry::default(), process).await {
        Ok(container) => container,
        Err(error) => return report_start_error(&error),
    };
    // Before the banner, so that a signal sent as soon as it appears is not lost.
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => {
            print_error(&with_causes(&error));
            return Exit::Failed;
        }
    };
    banner::print(&config, &container);
    serve_until_stopped(container, stop).await
}

/// Prints why a Gateway cannot start and returns the exit status.
fn report_start_error(error: &ContainerError) -> Exit {
    match error {
        ContainerError::Tls(error) => print_config_errors(&error.0),
        _ => print_error(&with_causes(error)),
    }
    match error {
        ContainerError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::PortTaken
        }
        ContainerError::Start(_) | ContainerError::Tls(_) => Exit::Usage,
        ContainerError::Bind { .. } | ContainerError::Threads(_) => Exit::Failed,
    }
}

/// Serves until the first signal and then finishes the requests in flight; a second signal stops at once.
async fn serve_until_stopped(container: Container, stop: impl Future<Output = ()>) -> Exit {
    let (sender, receiver) = oneshot::channel();
    let first = async move {
        stop.await;
        // Fails only after the Gateway has stopped.
        let _ = sender.send(executor_fn::stop_signal());
    };
    let second = async move {
        match receiver.await {
            Ok(Ok(second_signal)) => second_signal.await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        shutdown = container.serve(first) => match shutdown {
            Shutdown::Drained => tracing::info!("stopped"),
            Shutdown::CutOff => {
                print_error("stopped with unfinished work: shutdown_timeout has passed");
                return Exit::Failed;
            }
        },
        () = second => {
            print_error("second signal: stopped with unfinished work");
            return Exit::Failed;
        }
    }
    Exit::Clean
}
