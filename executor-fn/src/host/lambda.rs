//! Runs as an AWS Lambda function: takes invocations from the Runtime API, one at a time or several on Managed
//! Instances, and returns answers or function errors.

mod after_answer;

mod background;

mod extension;

mod in_flight;

mod init_error;

pub mod raw_payload;

mod settings;

use std::{fmt, pin::pin, time::Duration};

use flowgate_proto::invoke::FunctionError;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use tokio::time::Instant;
use tracing::Instrument as _;

use self::{
    background::Background,
    raw_payload::{RawPayloadLayer, raw_payload},
};
use super::{
    error::ServeError,
    shutdown::{Shutdown, stop_signal},
};
use crate::{
    Executor, Identity, LambdaContext,
    inbound::invoke::{InvokeHandler, InvokeServer, RawAnswer},
};

pub use self::{
    after_answer::{AfterAnswer, InvocationHold},
    init_error::{init_panic_message, post_init_error, post_init_error_blocking},
};
pub(super) use self::{
    extension::register_for_shutdown, in_flight::InFlight, settings::FunctionSettings,
};

/// How long invocations in flight may take after SIGTERM: Lambda kills the process 500 ms after it.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(400);

/// Serves `executor` as a function until the runtime fails or a stop signal comes.
pub(super) async fn serve(
    executor: Executor,
    identity: Option<Identity>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Shutdown, ServeError> {
    let settings = FunctionSettings::from_env(env)?;
    let service = executor.into_process_service(identity);
    if settings.max_concurrency == 1 {
        // The next invocation comes after the answer to this one, so waiting for a larger batch is useless.
        service.flush_batches();
    }
    let stop = stop_signal()?;
    let in_flight = InFlight::default();
    let background = Background::of(&service, &settings).await;
    let layer = RawPayloadLayer::new(&in_flight).with_background(&background);
    let mut answering = pin!(answer_invocations(service.clone(), &settings, layer));
    tokio::select! {
        result = &mut answering => return result,
        () = stop => {}
    }
    service.flush_batches();
    tokio::select! {
        result = answering => result,
        shutdown = drain(&in_flight, &background) => Ok(shutdown),
    }
}

/// Waits for invocations in flight and then for background work, together at most for [`DRAIN_TIMEOUT`].
async fn drain(in_flight: &InFlight, background: &Background) -> Shutdown {
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    let shutdown = in_flight.drain(DRAIN_TIMEOUT).await;
    let remaining = deadline.saturating_duration_since(Instant::now());
    if background.drain(remaining).await {
        return shutdown;
    }
    tracing::warn!("background work is unfinished at the end of the drain timeout");
    Shutdown::TimedOut
}

/// Answers invocations until the runtime fails.
pub(super) async fn answer_invocations(
    handler: impl InvokeHandler + Clone + 'static,
    settings: &FunctionSettings,
    layer: RawPayloadLayer,
) -> Result<Shutdown, ServeError> {
    let server = InvokeServer::new(handler, settings.limits);
    let report = settings.report;
    let service = service_fn(move |event: LambdaEvent<serde::de::IgnoredAny>| {
        let span = tracing::info_span!(
            "invocation",
            aws_request_id = event.context.request_id,
            xray_trace_id = event.context.xray_trace_id,
        );
        let server = server.clone();
        async move {
            let _report = report.map(|report| report.begin(&event.context.request_id));
            answer(server, event.context).await
        }
        .instrument(span)
    });
    let result = Runtime::new(service).layer(layer).run_concurrent().await;
    result
        .map(|()| Shutdown::Drained)
        .map_err(|source| ServeError::Lambda { source })
}

async fn answer<H: InvokeHandler + Clone + 'static>(
    server: InvokeServer<H>,
    context: lambda_runtime::Context,
) -> Result<RawAnswer, InvokeError> {
    let context = LambdaContext::from_runtime(&context);
    Ok(server.answer(raw_payload(), Some(context)).await?)
}

/// A function error, in the types that the runtime client asks for.
struct InvokeError(FunctionError);

/// The text that the runtime client logs.
impl fmt::Debug for InvokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(error) = self;
        write!(f, "{}: {}", error.error_type, error.error_message)
    }
}

impl From<FunctionError> for InvokeError {
    fn from(error: FunctionError) -> Self {
        Self(error)
    }
}

impl From<InvokeError> for Diagnostic {
    fn from(InvokeError(error): InvokeError) -> Self {
        Self {
            error_type: error.error_type,
            error_message: error.error_message,
        }
    }
}
