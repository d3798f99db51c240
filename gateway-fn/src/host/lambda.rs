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

mod start;

mod stream;

mod websocket;

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::http::HeaderMap;
use flowgate_config::Config;
use flowgate_proto::{limits::STREAMED_RESPONSE_BYTES, with_causes};
use lambda_runtime::{Diagnostic, FunctionResponse, LambdaEvent, service_fn};
use serde_json::value::RawValue;

pub use start::run;

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
    inbound::{Dialect, Services, http::cors::Page},
    outbound::Clients,
    telemetry::{
        emf::{Metrics, Output},
        xray::XRay,
    },
};

/// A Gateway that serves the events of one function. Clones share it.
#[derive(Clone, Debug)]
pub struct Function(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    services: Services,
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
    pub fn new(
        services: Services,
        clients: &Clients,
        config: Config,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let named = |name: &String| Metrics {
            namespace: name.clone(),
            function: env("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            flow: config.name.clone().unwrap_or_else(|| "Flow".to_owned()),
            output: Output::default(),
        };
        let namespace = config.gateway.function.metrics_namespace.as_ref();
        // On Managed Instances several invocations run at once, and nothing is frozen (AWS Lambda, Managed Instances).
        let at_once = env("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
        Self(Arc::new(Shared {
            routes: Routes::new(&services, &config.gateway),
            websocket: WebSocketEvents::new(&services, clients, &config.gateway, env),
            metrics: namespace.map(named),
            xray: XRay::of_environment(env),
            freezes: at_once.is_none_or(|number: u32| number <= 1),
            services,
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
            | Sender::HttpApi1
            | Sender::LoadBalancer => self.http(sender, event, context).await,
            Sender::WebSocketApi | Sender::Push => self.websocket(sender, event, context).await,
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
        let page = self.0.config.gateway.http.cors.then(|| event.headers());
        let page = page.and_then(|headers| Page::of(&headers));
        let multi_value = event.is_multi_value();
        let request = event.request(sender, settings.base_path.as_deref());
        let form = Form {
            sender,
            multi_value,
            dialect: request.as_ref().map_or(Dialect::Http, Dialect::of),
        };
        let coding = request.as_ref().ok().and_then(|request| {
            Coding::asked_for(request.headers(), settings.compress_answers_from)
        });
        // A REST API that knows no binary types would pass the base64 on as it is.
        let coding = coding.filter(|_| sender != Sender::RestApi || settings.rest_binary);
        let mut answer = match request {
            Ok(request) => invocation.answer(&self.0, request).await,
            Err(error) => routes::broken(&error),
        };
        let streams = settings.response_streaming
            && matches!(sender, Sender::FunctionUrl { .. } | Sender::RestApi);
        let mut before = None;
        if streams {
            if let Some(coding) = coding {
                (answer, before) = coding.of_one_piece(answer).await;
            }
            if let Some(bytes) = stream::excess(&answer) {
                answer = form.too_large(bytes, STREAMED_RESPONSE_BYTES);
                invocation.note_too_large();
            }
        } else {
            let most = match coding {
                // Compressed it may fit all the same.
                Some(_) => self
                    .0
                    .config
                    .gateway
                    .limits
                    .max_message_bytes
                    .max(form.limit()),
                None => form.limit(),
            };
            answer = invocation.whole(answer, form, most).await;
        }
        if let Some(page) = page {
            page.mark(answer.headers_mut());
        }
        if streams {
            return Ok(self.streamed(invocation, answer, before));
        }
        let written = form.write(answer, coding).await;
        let written = written.map_err(|error| diagnostic(BROKEN, &error))?;
        if written.is_too_large {
            invocation.note_too_large();
        }
        invocation.finish(&self.0, Some(written.bytes)).await;
        buffered(written.text)
    }

    /// `before` are the bytes of an answer before it was compressed, if it was.
    fn streamed(
        &self,
        invocation: Invocation,
        answer: axum::response::Response,
        before: Option<usize>,
    ) -> Response {
        let last = invocation.deadline.last;
        let invocation = Arc::new(invocation);
        let settle = {
            let (shared, invocation) = (Arc::clone(&self.0), Arc::clone(&invocation));
            async move { invocation.settle(&shared).await }
        };
        let shared = Arc::clone(&self.0);
        let tell = move |bytes| invocation.tell(&shared, Some((before.unwrap_or(bytes), bytes)));
        let after = stream::After { last, settle, tell };
        FunctionResponse::StreamingResponse(stream::response(answer, after))
    }

    async fn websocket(
        &self,
        sender: Sender,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<Response, Diagnostic> {
        let event = value(event)?;
        let arrived = event["requestContext"]["requestTimeEpoch"].as_u64();
        let arrived = arrived.and_then(since_1970);
        let invocation = Invocation::begin(&self.0, sender, lambda, arrived);
        let (websocket, lambda) = (&self.0.websocket, &invocation.lambda);
        // Only `$connect` has headers, and nothing of it goes into the Flow.
        let context = invocation.context(&HeaderMap::new());
        let answer = match sender {
            Sender::Push => websocket.pushed(event, lambda, &context).await,
            _ => websocket.handle(event, lambda, &context).await,
        };
        invocation.finish(&self.0, None).await;
        buffered(answer.to_string())
    }

    async fn direct(
        &self,
        sender: Sender,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<Response, Diagnostic> {
        let mut invocation = Invocation::begin(&self.0, sender, lambda, None);
        let limit = self.0.config.gateway.limits.max_message_bytes;
        let answer = match direct::read(event) {
            Ok(payload) => {
                let end = direct::end(&payload);
                invocation.at_most(end, &self.0);
                let context = invocation.context(&HeaderMap::new());
                direct::answer(&self.0.services, payload, context, limit).await
            }
            Err(fault) => Err(fault),
        };
        let bytes = answer.as_ref().ok().map(|text| (text.len(), text.len()));
        invocation.finish(&self.0, bytes).await;
        buffered(answer?)
    }
}

/// An event whose sender is known and whose content cannot be read.
const BROKEN: &str = "Flowgate.BrokenEvent";

fn buffered(json: String) -> Result<Response, Diagnostic> {
    let raw = RawValue::from_string(json).map_err(|error| diagnostic(BROKEN, &error))?;
    Ok(FunctionResponse::BufferedResponse(raw))
}

fn since_1970(milliseconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}

fn value(event: &str) -> Result<serde_json::Value, Diagnostic> {
    serde_json::from_str(event).map_err(|error| diagnostic(BROKEN, &error))
}

fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: with_causes(error),
    }
}
