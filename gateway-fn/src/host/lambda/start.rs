//! Starts the function `gateway-fn`: initialises everything, then answers Lambda's events until Lambda ends the process.

use std::{path::Path, process::ExitCode, time::Instant};

use flowgate_config::Loaded;
use flowgate_grpc::Budget;
use flowgate_proto::with_causes;

use super::Function;
use crate::{
    gateway::Registry,
    host::program::{self, Exit, env, start_log},
    inbound::Services,
    outbound::Clients,
    status::ProcessInfo,
};

/// Runs the function and returns its exit status.
#[must_use]
pub fn run() -> ExitCode {
    let started = Instant::now();
    executor_fn::info::record_process_start();
    if let Some(missing) = REQUIRED_VARIABLES
        .into_iter()
        .find(|name| env(name).is_none())
    {
        program::print_error(&format!(
            "{missing} is not set, and gateway-fn runs on AWS Lambda only: deploy it with `cargo lambda deploy` or \
             `sam deploy`, try it with `cargo lambda watch`, or serve the Flow on this machine with `flowgate serve`"
        ));
        return Exit::Usage.code();
    }
    start_log();
    let loaded = match load_flow() {
        Ok(loaded) => loaded,
        Err(exit) => return exit.code(),
    };
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(serve(loaded, started)).code(),
        Err(error) => {
            program::print_error(&format!("cannot start the async runtime: {error}"));
            Exit::Failed.code()
        }
    }
}

/// The variables that Lambda always sets and that its runtime library requires (AWS Lambda, "Defined runtime
/// environment variables").
const REQUIRED_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// Loads the Flow in `FLOWGATE_FLOW`, else `flow.yml` beside the function's program, else the embedded one.
fn load_flow() -> Result<Loaded, Exit> {
    let is_set = env("FLOWGATE_FLOW").is_some_and(|flow| !flow.is_empty());
    let bundled = env("LAMBDA_TASK_ROOT").map(|root| Path::new(&root).join("flow.yml"));
    let bundled = bundled.filter(|file| !is_set && file.is_file());
    let bundled = bundled.map(|file| file.to_string_lossy().into_owned());
    program::load_flow(bundled.as_deref())
}

async fn serve(loaded: Loaded, started: Instant) -> Exit {
    let Loaded { config, warnings } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let clients = Clients::new(&config.gateway.invoke);
    let process = ProcessInfo::from_environment(&env);
    let services = match Services::new(&config, &Registry::default(), &clients, process) {
        // Lambda bounds the bytes: it sends one request at a time, and limits its size.
        Ok(services) => Services {
            budget: Budget::new(usize::MAX),
            ..services
        },
        Err(error) => {
            program::print_error(&with_causes(&error));
            return Exit::Usage;
        }
    };
    services
        .gateway
        .warm_up(config.gateway.invoke.warm_up)
        .await;
    let function = Function::new(services.clone(), &clients, config, &env);
    services.status.process().note_init(started.elapsed());
    Box::pin(answer_events(function)).await
}

async fn answer_events(function: Function) -> Exit {
    match function.run().await {
        Ok(()) => Exit::Clean,
        Err(error) => {
            program::print_error(&with_causes(&*error));
            Exit::Failed
        }
    }
}
