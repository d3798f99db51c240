//! The Gateway as a Lambda function: one event in, one answer out, with the routes of the container.
//!
//! `event` tells who sent it; `http` makes a request of it, which the same routers answer as in the container, and
//! `answer` or `stream` makes of that what the front door takes; `direct` answers what comes with no front door.

mod answer;

mod deadline;

mod direct;

mod event;

mod http;

mod invocation;

mod routes;

mod stream;

mod websocket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lambda_runtime::{Diagnostic, FunctionResponse, LambdaEvent, service_fn};
use serde_json::value::RawValue;

use self::{
    answer::{Coding, Form},
    event::Sender,
    http::HttpEvent,
    invocation::Invocation,
    routes::Routes,
    stream::Chunks,
    websocket::WebSocketEvents,
};
use crate::{
    config::Config,
    gateway::Gateway,
    telemetry::{emf::Metrics, xray::XRay},
};

/// A Gateway that serves the events of one function. Clones share it.
#[derive(Clone, Debug)]
pub struct Function(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Gateway,
    config: Config,
    routes: Routes,
    websocket: WebSocketEvents,
    metrics: Option<Metrics>,
    xray: Option<XRay>,
    /// Whether the process is frozen between invocations, and with it what is still under way.
    freezes: bool,
}

/// What Lambda is given back.
type Response = FunctionResponse<Box<RawValue>, Chunks>;

impl Function {
    /// Prepares the function. `env` is the environment that Lambda gives it.
    #[must_use]
    pub fn new(gateway: Gateway, config: Config, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let named = |name: &String| Metrics {
            namespace: name.clone(),
            function: env("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            flow: config.name.clone().unwrap_or_else(|| "Flow".to_owned()),
        };
        let namespace = config.gateway.function.metrics_namespace.as_ref();
        // On Managed Instances several invocations run at once, and nothing is frozen (AWS Lambda, Managed Instances).
        let at_once = env("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
        Self(Arc::new(Shared {
            routes: Routes::new(&gateway, &config.gateway),
            websocket: WebSocketEvents::new(gateway.clone(), &config.gateway, env),
            metrics: namespace.map(named),
            xray: XRay::of_environment(env),
            freezes: at_once.is_none_or(|number: u32| number <= 1),
            gateway,
            config,
        }))
    }

    /// Takes events until Lambda ends the process; several at once where it says so by `AWS_LAMBDA_MAX_CONCURRENCY`.
    ///
    /// # Errors
    /// When Lambda's runtime API cannot be reached.
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
            let function = self.clone();
            async move { function.handle(event).await }
        });
        lambda_runtime::run_concurrent(handler).await
    }

    async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Response, Diagnostic> {
        let LambdaEvent { payload, context } = event;
        let event = payload.get();
        let sender =
            Sender::of(event).map_err(|error| diagnostic("Flowgate.UnknownEvent", &error))?;
        match sender {
            Sender::HttpApi
            | Sender::FunctionUrl { .. }
            | Sender::RestApi
            | Sender::LoadBalancer => self.http(sender, event, context).await,
            Sender::WebSocketApi => {
                let event = value(event)?;
                let answer = self.0.websocket.handle(event, &context).await;
                buffered(answer.to_string())
            }
            Sender::Push => {
                let event = value(event)?;
                self.0.websocket.pushed(event, &context).await;
                buffered("null".to_owned())
            }
            Sender::Invocation | Sender::Json => self.direct(sender, event, context).await,
        }
    }

    async fn http(
        &self,
        sender: Sender,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<Response, Diagnostic> {
        let event = HttpEvent::read(event).map_err(|error| diagnostic(BROKEN, &error))?;
        let settings = &self.0.config.gateway.function;
        let invocation = Invocation::begin(&self.0, sender, lambda, event.arrived());
        let form = Form {
            sender,
            multi_value: event.is_multi_value(),
        };
        let request = event.request(sender, settings.base_path.as_deref());
        let coding = request.as_ref().ok().and_then(|request| {
            Coding::asked_for(request.headers(), settings.compress_answers_from)
        });
        let answer = match request {
            Ok(request) => invocation.answer(&self.0, request).await,
            Err(error) => routes::broken(&error),
        };
        let streams = matches!(sender, Sender::FunctionUrl { .. } | Sender::RestApi);
        if settings.response_streaming && streams {
            let shared = Arc::clone(&self.0);
            let after = async move { invocation.finish(&shared, (0, 0)).await };
            return Ok(FunctionResponse::StreamingResponse(stream::response(
                answer, after,
            )));
        }
        let written = form.write(answer, coding).await;
        let written = written.map_err(|error| diagnostic(BROKEN, &error))?;
        invocation.finish(&self.0, written.bytes).await;
        buffered(written.text)
    }

    async fn direct(
        &self,
        sender: Sender,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<Response, Diagnostic> {
        let invocation = Invocation::begin(&self.0, sender, lambda, None);
        let limit = self.0.config.gateway.limits.max_message_bytes;
        let context = invocation.context(&::http::HeaderMap::new());
        let answer = direct::answer(&self.0.gateway, event, context, limit).await;
        let bytes = answer.as_ref().map_or(0, String::len);
        invocation.finish(&self.0, (bytes, bytes)).await;
        buffered(answer?)
    }
}

/// An event whose sender is known and whose content cannot be read.
const BROKEN: &str = "Flowgate.BrokenEvent";

fn buffered(json: String) -> Result<Response, Diagnostic> {
    let raw = RawValue::from_string(json).map_err(|error| diagnostic(BROKEN, &error))?;
    Ok(FunctionResponse::BufferedResponse(raw))
}

fn value(event: &str) -> Result<serde_json::Value, Diagnostic> {
    serde_json::from_str(event).map_err(|error| diagnostic(BROKEN, &error))
}

fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> Diagnostic {
    let cause = error.source();
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: format!("{error}{cause}"),
    }
}
