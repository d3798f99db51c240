//! Runs a command that serves an Executor over gRPC, such as an unchanged Python Executor, as a Lambda function: the
//! command runs beside this process, and every invocation is forwarded to it on localhost.

mod arguments;

mod child;

mod client;

mod settings;

mod supervisor;

use std::{os::unix::process::CommandExt as _, pin::pin, time::Duration};

use flowgate_proto::with_causes;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::{Instant, timeout},
};

use self::{
    arguments::{CompleteCommand, complete, substitute_port},
    client::CommandClient,
    settings::{CommandSettings, StartMode},
    supervisor::Supervisor,
};
use super::{
    error::{CommandError, ServeError},
    lambda::{self, FunctionSettings, InFlight, raw_payload::RawPayloadLayer},
    shutdown::{Shutdown, stop_signal},
};
use crate::Identity;

/// Replaces this process by the command, which listens on `port`, under the name that was chosen for the process. Returns only
/// when that fails.
pub(super) fn replace_process(
    command: Vec<String>,
    port: &str,
    chosen: Option<Identity>,
) -> CommandError {
    let CompleteCommand { words, .. } = complete(command, chosen);
    let Some((program, arguments)) = words.split_first() else {
        return CommandError::Empty;
    };
    let source = std::process::Command::new(program)
        .args(arguments.iter().map(|word| substitute_port(word, port)))
        .env("PORT", port)
        .exec();
    let program = program.clone();
    CommandError::Start { program, source }
}

/// Starts the command, and forwards invocations to it until a stop signal comes or the command ends too often.
pub(super) async fn serve_on_lambda(
    command: Vec<String>,
    chosen: Option<Identity>,
    env: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<Shutdown, ServeError> {
    let CompleteCommand {
        words,
        default_identity,
    } = complete(command, chosen);
    if words.is_empty() {
        return Err(CommandError::Empty.into());
    }
    let settings = CommandSettings::from_env(&env)?;
    let function = FunctionSettings::from_env(&env)?;
    let signal = stop_signal()?;
    let (stop, stop_deadline) = watch::channel(None);
    let (supervisor, handle) = Supervisor::new(words, settings, stop_deadline);
    let mut supervisor = tokio::spawn(supervisor.run());
    let client = CommandClient::new(handle, function.limits.max_request_bytes, default_identity);
    let in_flight = InFlight::default();
    let mut answering = pin!(async {
        // Without it Lambda would kill this process and the command without SIGTERM.
        lambda::register_for_shutdown().await;
        if let StartMode::DuringInit = settings.start_mode {
            client.wait_until_ready(settings.start_timeout).await?;
        }
        lambda::answer_invocations(client.clone(), &function, RawPayloadLayer::new(&in_flight))
            .await
    });
    let stop_timeout = settings.stop_timeout;
    let result = tokio::select! {
        biased;
        result = &mut supervisor => {
            // Invocations in flight get an error, that the command has ended, before this process exits.
            tokio::select! {
                _ = answering => {}
                _ = in_flight.drain(stop_timeout) => {}
            }
            return supervisor_ended(result);
        }
        result = &mut answering => Some(result),
        () = signal => None,
    };
    let deadline = Instant::now() + stop_timeout;
    let result = match result {
        Some(result) => result,
        // Half of the time is for invocations in flight, and the rest for the command to end.
        None => tokio::select! {
            result = answering => result,
            shutdown = in_flight.drain(stop_timeout / 2) => Ok(shutdown),
        },
    };
    stop.send_replace(Some(deadline));
    wait_for_supervisor(supervisor, stop_timeout).await;
    result
}

fn supervisor_ended(
    result: Result<Result<(), CommandError>, JoinError>,
) -> Result<Shutdown, ServeError> {
    match result {
        Ok(result) => result?,
        Err(error) => tracing::error!(
            error = %with_causes(&error),
            "the command's supervisor panicked"
        ),
    }
    Ok(Shutdown::TimedOut)
}

async fn wait_for_supervisor(
    supervisor: JoinHandle<Result<(), CommandError>>,
    stop_timeout: Duration,
) {
    // The supervisor kills the command after the stop timeout.
    let limit = stop_timeout + Duration::from_secs(1);
    if timeout(limit, supervisor).await.is_err() {
        tracing::warn!("the command did not end");
    }
}
