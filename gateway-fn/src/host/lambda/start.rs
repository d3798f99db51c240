//! The function `gateway-fn`: INIT, then the events of Lambda until it ends the process.

use std::{path::Path, process::ExitCode, time::Instant};

use flowgate_config::Loaded;
use flowgate_proto::with_causes;

use super::Function;
use crate::{
    gateway::Registry,
    host::program::{self, Exit, env, start_log},
    inbound::Services,
    outbound::Clients,
    status::ProcessInfo,
};

/// Runs the function and says how it ended.
#[must_use]
pub fn run() -> ExitCode {
    let started = Instant::now();
    executor_fn::info::note_start();
    if let Some(missing) = OF_LAMBDA.into_iter().find(|name| env(name).is_none()) {
        program::say(&format!(
            "gateway-fn is a function for AWS Lambda, and {missing} is not set: deploy it with `cargo lambda deploy` \
             or `sam deploy`, try it with `cargo lambda watch`, or serve the Flow here with `flowgate serve`"
        ));
        return Exit::Usage.code();
    }
    start_log();
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit.code(),
    };
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(serve(loaded, started)).code(),
        Err(error) => {
            program::say(&format!("no runtime: {error}"));
            Exit::Failed.code()
        }
    }
}

/// What Lambda always sets, and its runtime library cannot do without (AWS Lambda, "Defined runtime environment
/// variables").
const OF_LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// `FLOWGATE_FLOW`, else the file that is bundled with the function, else the embedded Flow.
fn load() -> Result<Loaded, Exit> {
    let is_named = env("FLOWGATE_FLOW").is_some_and(|flow| !flow.is_empty());
    let bundled = env("LAMBDA_TASK_ROOT").map(|root| Path::new(&root).join("flow.yml"));
    let bundled = bundled.filter(|file| !is_named && file.is_file());
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
        Ok(services) => services,
        Err(error) => {
            program::say(&with_causes(&error));
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
            program::say(&with_causes(&*error));
            Exit::Failed
        }
    }
}
