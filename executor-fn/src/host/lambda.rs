//! An AWS Lambda function: the invocations of the runtime's loop, one at a time or, on Managed Instances,
//! several, to the answers or errors that go back.

mod carry;
mod running;
mod settings;

use std::{
    fmt,
    pin::pin,
    time::{Duration, SystemTime},
};

use flowgate_proto::invoke::{FunctionError, FunctionErrorKind};
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;
use tracing::Instrument as _;

use self::carry::Carry;
use super::container::{Ended, ServeError, service, stop_signal};
use crate::{
    Executor, Identity,
    inbound::invoke::{Callee, Function, fault},
};

pub(super) use self::{
    running::Running,
    settings::{Settings, number},
};

/// How long invocations under way may take once the function is told to stop: Lambda kills 500 ms after SIGTERM.
const GRACE: Duration = Duration::from_millis(400);

/// Whether this process is a Lambda function.
pub(crate) fn is_here(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty())
}

/// Serves `executor` as a function.
pub(crate) async fn serve(
    executor: Executor,
    identity: Option<Identity>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Ended, ServeError> {
    let settings = Settings::from_env(env)?;
    let service = service(executor, identity);
    if settings.at_once == 1 {
        // The next request comes when this one is answered: a batch would wait for nothing.
        service.close();
    }
    let stop = stop_signal()?;
    let running = Running::default();
    let mut answering = pin!(answer_invocations(service.clone(), &settings, &running));
    tokio::select! {
        ended = &mut answering => return ended,
        () = stop => {}
    }
    service.close();
    tokio::select! {
        ended = answering => ended,
        ended = running.drained(GRACE) => Ok(ended),
    }
}

/// Answers invocations until the runtime fails.
pub(super) async fn answer_invocations(
    callee: impl Callee,
    settings: &Settings,
    running: &Running,
) -> Result<Ended, ServeError> {
    let function = Function::new(callee, settings.limits);
    let handler = service_fn(move |event: LambdaEvent<serde::de::IgnoredAny>| {
        let span = tracing::info_span!(
            "invocation",
            aws_request_id = event.context.request_id,
            xray_trace_id = event.context.xray_trace_id,
        );
        answer(function.clone(), event.context).instrument(span)
    });
    let runtime = Runtime::new(handler).layer(Carry {
        running: running.clone(),
    });
    let ended = runtime.run_concurrent().await;
    ended
        .map(|()| Ended::Drained)
        .map_err(|source| ServeError::Lambda { source })
}

async fn answer<C: Callee>(
    function: Function<C>,
    context: lambda_runtime::Context,
) -> Result<Box<RawValue>, Failed> {
    let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(context.deadline));
    // Nobody is invoked after the end: `cargo lambda watch` says 600000, ten minutes after 1970.
    let end = end.filter(|end| *end > SystemTime::now());
    let text = function.answer(carry::payload(), end).await?;
    // Its writers make JSON only.
    RawValue::from_string(text)
        .map_err(|error| Failed(fault(FunctionErrorKind::Failed, error.to_string())))
}

/// A function error on its way to Lambda.
struct Failed(FunctionError);

/// As the runtime logs it.
impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(fault) = self;
        write!(f, "{}: {}", fault.error_type, fault.error_message)
    }
}

impl From<FunctionError> for Failed {
    fn from(fault: FunctionError) -> Self {
        Self(fault)
    }
}

impl From<Failed> for Diagnostic {
    fn from(Failed(fault): Failed) -> Self {
        Self {
            error_type: fault.error_type,
            error_message: fault.error_message,
        }
    }
}
