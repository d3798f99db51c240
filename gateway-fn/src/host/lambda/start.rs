//! Starts the function `gateway-fn`: initialises everything, then answers Lambda's events until Lambda ends the process.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use executor_fn::{init_panic_message, post_init_error_blocking};
use flowgate_config::{Address, Config, Loaded};
use flowgate_grpc::Budget;
use flowgate_proto::with_causes;
use tokio::runtime::{Builder, Runtime};

use super::{Function, max_concurrency};
use crate::{
    gateway::Registry,
    host::program::{self, Exit, FlowError, env, start_log},
    inbound::{self, Services},
    outbound::Clients,
    status::ProcessInfo,
};

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// A variable is missing that Lambda sets.
    #[error(
        "{0} is not set, and gateway-fn runs on AWS Lambda only: deploy it with `cargo lambda deploy` or `sam deploy`, \
         try it with `cargo lambda watch`, or serve the Flow on this machine with `flowgate serve`"
    )]
    NotOnLambda(&'static str),
    /// The Flow cannot be loaded.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The Flow is valid, and this process cannot serve it.
    #[error(transparent)]
    Services(#[from] inbound::StartError),
    /// The operating system gives no threads.
    #[error("cannot start the async runtime")]
    Runtime(#[source] io::Error),
}

/// Runs the function `gateway-fn`, whose Flow may name the Executors `greet` and `pass_through` by `inproc://`. Otherwise
/// as [`run_with`].
#[must_use]
pub fn run() -> ExitCode {
    run_with(&Registry::default())
}

/// Runs a Gateway function as a whole program, and returns its exit status. The Flow may name the Executors of `registry`
/// by `inproc://NAME`; they are made when the function starts. Why it does not start, a panic included, is also reported
/// to Lambda.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use executor_fn::{Executor, Reply};
/// use gateway::{gateway::Registry, host::lambda::run_with};
///
/// fn echo() -> Executor {
///     Executor::new("Echo").on_default(|_| async { Ok(Reply::unchanged()) })
/// }
///
/// fn main() -> ExitCode {
///     run_with(&Registry::default().with("echo", echo)) // in the Flow: uses: inproc://echo
/// }
/// ```
#[must_use]
pub fn run_with(registry: &Registry) -> ExitCode {
    let started = Instant::now();
    executor_fn::info::record_process_start();
    match catch_unwind(AssertUnwindSafe(|| start(started, registry))) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            let exit = error.print();
            post_init_error_blocking(error.init_error_type(), &with_causes(&error), &env);
            exit
        }
        Err(panic) => {
            post_init_error_blocking(START_FAILED, &init_panic_message(&*panic), &env);
            resume_unwind(panic)
        }
    }
    .code()
}

/// The error type for Lambda of a start that failed in this process, and not by a mistake of the Flow or the environment.
const START_FAILED: &str = "Flowgate.StartFailed";

fn start(started: Instant, registry: &Registry) -> Result<Exit, StartError> {
    let missing = REQUIRED_VARIABLES
        .into_iter()
        .find(|name| env(name).is_none());
    if let Some(missing) = missing {
        return Err(StartError::NotOnLambda(missing));
    }
    start_log();
    let loaded = load_flow()?;
    let runtime = runtime(&loaded.config).map_err(StartError::Runtime)?;
    runtime.block_on(serve(loaded, registry, started))
}

/// One thread is enough for one invocation at a time, and each call of an Executor then costs half the CPU time: its parts do
/// not wake up other threads. Handlers in this process may compute for long, while deadlines pass.
fn runtime(config: &Config) -> io::Result<Runtime> {
    let mut addresses = config
        .executors
        .iter()
        .flat_map(|executor| &executor.addresses);
    let computes = addresses.any(|address| matches!(address, Address::InProcess { .. }));
    let mut runtime = match computes || max_concurrency(&env) > 1 {
        true => Builder::new_multi_thread(),
        false => Builder::new_current_thread(),
    };
    runtime.enable_all().build()
}

impl StartError {
    /// Prints the error, and returns the exit status.
    fn print(&self) -> Exit {
        match self {
            Self::Flow(error) => return error.print(),
            Self::NotOnLambda(_) | Self::Services(_) | Self::Runtime(_) => {
                program::print_error(&with_causes(self));
            }
        }
        match self {
            Self::NotOnLambda(_) | Self::Flow(_) | Self::Services(_) => Exit::Usage,
            Self::Runtime(_) => Exit::Failed,
        }
    }

    const fn init_error_type(&self) -> &'static str {
        match self {
            Self::NotOnLambda(_) => "Flowgate.MissingVariable",
            Self::Flow(_) | Self::Services(_) => "Flowgate.InvalidFlow",
            Self::Runtime(_) => START_FAILED,
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
fn load_flow() -> Result<Loaded, FlowError> {
    let is_set = env("FLOWGATE_FLOW").is_some_and(|flow| !flow.is_empty());
    let bundled = env("LAMBDA_TASK_ROOT").map(|root| Path::new(&root).join("flow.yml"));
    let bundled = bundled.filter(|file| !is_set && file.is_file());
    let bundled = bundled.map(|file| file.to_string_lossy().into_owned());
    program::load_flow(bundled.as_deref())
}

async fn serve(loaded: Loaded, registry: &Registry, started: Instant) -> Result<Exit, StartError> {
    let Loaded { config, warnings } = loaded;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let clients = Clients::new(&config.gateway.invoke);
    let process = ProcessInfo::from_environment(&env);
    let services = Services {
        // Lambda bounds the bytes: it sends one request at a time, and limits its size.
        budget: Budget::new(usize::MAX),
        ..Services::new(&config, registry, &clients, process)?
    };
    services
        .gateway
        .warm_up(config.gateway.invoke.warm_up)
        .await;
    let function = Function::new(services.clone(), &clients, config, &env);
    services.status.process().note_init(started.elapsed());
    Ok(Box::pin(answer_events(function)).await)
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
