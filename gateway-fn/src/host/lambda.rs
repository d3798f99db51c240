//! The Gateway as a Lambda function: answers each event with the routes of the container.
//!
//! An event passes these modules once, in this order: `event` recognizes the service that sent it; `http_event` makes a
//! request of it by `lambda_http`; `invocation` has what is known of the invocation from then on: deadlines, trace, metrics
//! and the response's format; `routes` answers; `response` or `stream` encodes the response for the front door. `websocket`
//! answers the events of WebSocket APIs, and `direct` answers invocations without a front door.

mod deadline;

mod direct;

mod event;

mod http_event;

mod invocation;

mod response;

mod routes;

mod start;

mod stream;

mod websocket;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use executor_fn::{
    AfterAnswer,
    invoke::InvokeRequest,
    raw_payload::{RawPayloadLayer, raw_payload},
    report::ReportLines,
};
use flowgate_config::Config;
use flowgate_proto::{invoke::FunctionError, limits::MAX_STREAMED_RESPONSE_BYTES, with_causes};
use http::{HeaderMap, Request};
use lambda_http::{
    Context, LambdaEvent,
    lambda_runtime::{Diagnostic, FunctionResponse, Runtime},
    service_fn,
};
use serde::de::IgnoredAny;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use tokio::time::Instant;

pub use start::{run, run_with};

use self::{
    direct::FlowHandler,
    event::{Event, EventSource},
    http_event::{HttpEventError, HttpRequest, read_request},
    invocation::Invocation,
    response::{BodyBytes, ResponseFormat},
    routes::Routes,
    stream::{Chunks, OnEnd},
    websocket::WebSocketEvents,
};
use crate::{
    inbound::{ClientProtocol, Services},
    outbound::Clients,
    telemetry::{
        emf::{Metrics, Output},
        xray::XRay,
    },
};

/// A Gateway that answers the events of one function. Clones share it.
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
    /// The lines about invocations, where the function itself writes them.
    report: Option<ReportLines>,
    /// Whether Lambda freezes the process, and the work under way in it, between invocations.
    is_frozen_when_idle: bool,
    /// Keeps the process running after an answer, in Flows with floating Executors.
    after_answer: AfterAnswer,
}

/// The response that Lambda's runtime library takes.
type LambdaResponse = FunctionResponse<Box<RawValue>, Chunks>;

/// What an event asks for, read completely: the payload is no longer needed.
enum Work {
    Http(Box<Result<Request<Body>, HttpEventError>>),
    WebSocket(Value),
    Direct(Result<InvokeRequest, FunctionError>),
}

impl Function {
    /// Prepares the function. `env` is the environment that Lambda sets.
    #[must_use]
    pub fn new(
        services: Services,
        clients: &Clients,
        config: Config,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let metrics = |namespace: &String| Metrics {
            namespace: namespace.clone(),
            function: env("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
            flow: config.name.clone().unwrap_or_else(|| "Flow".to_owned()),
            output: Output::default(),
        };
        let namespace = config.gateway.function.metrics_namespace.as_ref();
        Self(Arc::new(Shared {
            routes: Routes::new(&services, &config.gateway),
            websocket: WebSocketEvents::new(&services, clients, &config.gateway, env),
            metrics: namespace.map(metrics),
            xray: XRay::from_environment(env),
            report: ReportLines::for_environment(env),
            is_frozen_when_idle: max_concurrency(env) <= 1,
            after_answer: AfterAnswer::default(),
            services,
            config,
        }))
    }

    /// Answers events until Lambda ends the process; several at once where `AWS_LAMBDA_MAX_CONCURRENCY` says so.
    ///
    /// # Errors
    /// When Lambda's Runtime API cannot be reached.
    pub async fn run(mut self) -> Result<(), lambda_http::Error> {
        if let Some(shared) = Arc::get_mut(&mut self.0)
            && shared.is_frozen_when_idle
            && shared.services.gateway.has_floating_work()
        {
            shared.after_answer = AfterAnswer::register().await;
        }
        let handler = service_fn(move |event: LambdaEvent<IgnoredAny>| {
            let function = self.clone();
            async move {
                let report = function.0.report;
                let _report = report.map(|report| report.begin(&event.context.request_id));
                function.handle(raw_payload(), event.context).await
            }
        });
        let runtime = Runtime::new(handler).layer(RawPayloadLayer::default());
        runtime.run_concurrent().await
    }

    async fn handle(&self, payload: Bytes, lambda: Context) -> Result<LambdaResponse, Diagnostic> {
        let hold = self.0.after_answer.hold(&lambda.request_id);
        let (mut invocation, work) = self.read(&payload, lambda)?;
        invocation.hold = Some(hold);
        drop(payload);
        match work {
            Work::Http(request) => self.http(invocation, *request).await,
            Work::WebSocket(event) => self.websocket(invocation, event).await,
            Work::Direct(request) => self.direct(invocation, request).await,
        }
    }

    /// Reads an event.
    fn read(&self, payload: &[u8], lambda: Context) -> Result<(Invocation, Work), Diagnostic> {
        let received = Instant::now();
        let text = std::str::from_utf8(payload).map_err(|error| Diagnostic {
            error_type: BROKEN_EVENT.to_owned(),
            error_message: format!("the event is not valid UTF-8: {error}"),
        })?;
        let event =
            Event::parse(text).map_err(|error| diagnostic("Flowgate.UnknownEvent", &error))?;
        let arrived = event.arrived();
        let mut format = ResponseFormat::of(event.source);
        let work = match event.source {
            source if source.is_http() => {
                let (request, of_request) = self.read_http(event, &lambda);
                format = of_request;
                Work::Http(Box::new(request))
            }
            EventSource::WebSocketApi | EventSource::WebSocketPush => {
                let event = serde_json::from_str(text);
                Work::WebSocket(event.map_err(|error| diagnostic(BROKEN_EVENT, &error))?)
            }
            _ => {
                let max_bytes = self.0.config.gateway.limits.max_message_bytes;
                Work::Direct(InvokeRequest::decode(text.as_bytes(), max_bytes))
            }
        };
        let invocation = Invocation::start(&self.0, format, lambda, received, arrived);
        Ok((invocation, work))
    }

    /// Reads the request of an HTTP event, and the format of its response.
    fn read_http(
        &self,
        event: Event<'_>,
        lambda: &Context,
    ) -> (Result<Request<Body>, HttpEventError>, ResponseFormat) {
        let gateway = &self.0.config.gateway;
        let source = event.source;
        let HttpRequest {
            request,
            refused_headers,
            is_multi_value,
        } = read_request(event, gateway.function.base_path.as_deref(), lambda);
        let (headers, protocol) = match &request {
            Ok(request) => (request.headers(), ClientProtocol::of(request)),
            Err(_) => (&refused_headers, ClientProtocol::Http),
        };
        let format = ResponseFormat {
            is_multi_value,
            protocol,
            ..ResponseFormat::of(source)
        };
        let format = format.with_headers(headers, &gateway.function, gateway.http.cors);
        (request, format)
    }

    async fn http(
        &self,
        invocation: Invocation,
        request: Result<Request<Body>, HttpEventError>,
    ) -> Result<LambdaResponse, Diagnostic> {
        let response = match request {
            Ok(request) => invocation.respond(&self.0, request).await,
            Err(error) => routes::refuse_event(&error),
        };
        let is_streaming_front_door = matches!(
            invocation.format.source,
            EventSource::FunctionUrl { .. } | EventSource::RestApi
        );
        if self.0.config.gateway.function.response_streaming && is_streaming_front_door {
            return Ok(self.stream(invocation, response).await);
        }
        self.buffer(invocation, response).await
    }

    /// Returns the whole response to Lambda.
    async fn buffer(
        &self,
        invocation: Invocation,
        response: Response,
    ) -> Result<LambdaResponse, Diagnostic> {
        let (head, body) = invocation.collect(&self.0, response).await;
        let encoded = invocation.format.encode(head, body).await;
        let encoded = encoded.map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
        if encoded.is_too_large {
            invocation.note_too_large();
        }
        invocation.finish(&self.0, Some(encoded.body_bytes)).await;
        Ok(FunctionResponse::BufferedResponse(encoded.json))
    }

    /// Streams the response to Lambda.
    async fn stream(&self, mut invocation: Invocation, mut response: Response) -> LambdaResponse {
        let format = &invocation.format;
        let mut uncompressed = None;
        if let Some(compression) = format.compression {
            (response, uncompressed) = compression.compress_complete(response).await;
        }
        if let Some(bytes) = stream::known_excess(&response) {
            response = format.too_large(bytes, MAX_STREAMED_RESPONSE_BYTES);
            invocation.note_too_large();
        }
        if let Some(origin) = format.origin.clone() {
            origin.allow_if_missing(response.headers_mut());
        }
        let deadline = invocation.deadline.response;
        let hold = invocation.hold.take();
        let invocation = Arc::new(invocation);
        let settle = {
            let (shared, invocation) = (Arc::clone(&self.0), Arc::clone(&invocation));
            async move {
                if !shared.after_answer.is_enabled() {
                    invocation.settle(&shared).await;
                }
            }
        };
        let shared = Arc::clone(&self.0);
        let report = move |sent| {
            let uncompressed = uncompressed.unwrap_or(sent);
            let bytes = Some(BodyBytes { uncompressed, sent });
            let duration = invocation.elapsed();
            match hold.filter(|_| shared.after_answer.is_enabled()) {
                Some(hold) => hold.release_after(async move {
                    invocation.settle(&shared).await;
                    invocation.report(&shared, duration, bytes);
                }),
                None => invocation.report(&shared, duration, bytes),
            }
        };
        let on_end = OnEnd {
            deadline,
            settle,
            report,
        };
        FunctionResponse::StreamingResponse(stream::response(response, on_end))
    }

    async fn websocket(
        &self,
        invocation: Invocation,
        event: Value,
    ) -> Result<LambdaResponse, Diagnostic> {
        let settings = &self.0.config.gateway.function;
        let deadline = invocation.deadline.reserve_for_parts(settings);
        // Only `$connect` has headers, and it does not go into the Flow.
        let mut context = invocation.context(&HeaderMap::new());
        context.deadline = Some(deadline.flow);
        let (websocket, lambda) = (&self.0.websocket, &invocation.lambda);
        let response = match invocation.format.source {
            EventSource::WebSocketPush => {
                websocket.handle_push(event, deadline, &context).await;
                Value::Null
            }
            _ => websocket.handle(event, lambda, deadline, &context).await,
        };
        invocation.finish(&self.0, None).await;
        let response = to_raw_value(&response);
        let response = response.map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
        Ok(FunctionResponse::BufferedResponse(response))
    }

    async fn direct(
        &self,
        mut invocation: Invocation,
        request: Result<InvokeRequest, FunctionError>,
    ) -> Result<LambdaResponse, Diagnostic> {
        let response = match request {
            Ok(request) => {
                if let Some(deadline) = request.deadline() {
                    let settings = &self.0.config.gateway.function;
                    invocation.deadline.limit_to_caller(deadline, settings);
                }
                let handler = FlowHandler {
                    services: &self.0.services,
                    context: invocation.context(&HeaderMap::new()),
                };
                request.answer(&handler).await
            }
            Err(error) => Err(error),
        };
        let bytes = response.as_ref().ok().map(|json| BodyBytes {
            uncompressed: json.len(),
            sent: json.len(),
        });
        invocation.finish(&self.0, bytes).await;
        let response = response.map_err(direct::into_diagnostic)?;
        Ok(FunctionResponse::BufferedResponse(response.into_inner()))
    }
}

/// How many invocations run at once. On Managed Instances it may be several, and nothing is frozen (AWS Lambda, Managed
/// Instances).
fn max_concurrency(env: &dyn Fn(&str) -> Option<String>) -> u32 {
    let number = env("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
    number.unwrap_or(1)
}

/// The type of the error for an event whose source is known and whose content is invalid.
const BROKEN_EVENT: &str = "Flowgate.BrokenEvent";

fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: with_causes(error),
    }
}
