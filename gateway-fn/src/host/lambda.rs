//! The Gateway as a Lambda function: answers each event with the routes of the container.
//!
//! `event` recognizes the service that sent the event. `http_event` makes a request of an HTTP event, `routes` answers
//! it, and `response` or `stream` encodes the response for the front door. `websocket` answers the events of WebSocket
//! APIs, and `direct` answers invocations without a front door. `invocation` has what all of them share: deadlines,
//! trace and metrics.

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

use executor_fn::{invoke::InvokeRequest, report::ReportLines};
use flowgate_config::Config;
use flowgate_proto::{limits::MAX_STREAMED_RESPONSE_BYTES, with_causes};
use http::{HeaderMap, Request};
use lambda_runtime::{Diagnostic, FunctionResponse, LambdaEvent, service_fn};
use serde_json::value::RawValue;

pub use start::run;

use self::{
    deadline::from_unix_millis,
    direct::FlowHandler,
    event::EventSource,
    http_event::HttpEvent,
    invocation::Invocation,
    response::{BodyBytes, ResponseCompression, ResponseFormat},
    routes::Routes,
    stream::{Chunks, OnEnd},
    websocket::WebSocketEvents,
};
use crate::{
    inbound::{ClientProtocol, CorsOrigin, Services},
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
}

/// The response that Lambda's runtime library takes.
type LambdaResponse = FunctionResponse<Box<RawValue>, Chunks>;

/// A response of the routes, and what its encoding depends on.
struct HttpResponse {
    response: axum::response::Response,
    format: ResponseFormat,
    compression: Option<ResponseCompression>,
    /// The website that sent the request, if the Flow enables CORS.
    origin: Option<CorsOrigin>,
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
        // On Managed Instances several invocations run at once, and nothing is frozen (AWS Lambda, Managed Instances).
        let concurrency = env("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
        Self(Arc::new(Shared {
            routes: Routes::new(&services, &config.gateway),
            websocket: WebSocketEvents::new(&services, clients, &config.gateway, env),
            metrics: namespace.map(metrics),
            xray: XRay::from_environment(env),
            report: ReportLines::for_environment(env),
            is_frozen_when_idle: concurrency.is_none_or(|number: u32| number <= 1),
            services,
            config,
        }))
    }

    /// Answers events until Lambda ends the process; several at once where `AWS_LAMBDA_MAX_CONCURRENCY` says so.
    ///
    /// # Errors
    /// When Lambda's Runtime API cannot be reached.
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
            let function = self.clone();
            async move {
                let report = function.0.report;
                let _report = report.map(|report| report.begin(&event.context.request_id));
                function.handle(event).await
            }
        });
        lambda_runtime::run_concurrent(handler).await
    }

    async fn handle(
        &self,
        event: LambdaEvent<Box<RawValue>>,
    ) -> Result<LambdaResponse, Diagnostic> {
        let LambdaEvent { payload, context } = event;
        let event = payload.get();
        let source = EventSource::detect(event)
            .map_err(|error| diagnostic("Flowgate.UnknownEvent", &error))?;
        match source {
            EventSource::HttpApi
            | EventSource::FunctionUrl { .. }
            | EventSource::RestApi
            | EventSource::HttpApiV1
            | EventSource::LoadBalancer => self.http(source, event, context).await,
            EventSource::WebSocketApi | EventSource::WebSocketPush => {
                self.websocket(source, event, context).await
            }
            EventSource::Gateway | EventSource::PlainJson => {
                self.direct(source, event, context).await
            }
        }
    }

    async fn http(
        &self,
        source: EventSource,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<LambdaResponse, Diagnostic> {
        let event = HttpEvent::parse(event).map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
        let settings = &self.0.config.gateway.function;
        let invocation = Invocation::start(&self.0, source, lambda, event.arrived());
        let origin = self.origin(&event);
        let is_multi_value = event.is_multi_value();
        let request = event.into_request(source, settings.base_path.as_deref());
        let format = ResponseFormat {
            source,
            is_multi_value,
            protocol: request
                .as_ref()
                .map_or(ClientProtocol::Http, ClientProtocol::of),
        };
        let compression = request.as_ref().ok();
        let compression = compression.and_then(|request| self.compression(source, request));
        let response = match request {
            Ok(request) => invocation.respond(&self.0, request).await,
            Err(error) => routes::refuse_event(&error),
        };
        let response = HttpResponse {
            response,
            format,
            compression,
            origin,
        };
        let is_streaming_front_door = matches!(
            source,
            EventSource::FunctionUrl { .. } | EventSource::RestApi
        );
        if settings.response_streaming && is_streaming_front_door {
            return Ok(self.stream(invocation, response).await);
        }
        self.buffer(invocation, response).await
    }

    /// Returns the website that sent the request, which the response must allow, if the Flow enables CORS.
    fn origin(&self, event: &HttpEvent<'_>) -> Option<CorsOrigin> {
        let is_enabled = self.0.config.gateway.http.cors;
        is_enabled
            .then(|| CorsOrigin::from_headers(&event.headers()))
            .flatten()
    }

    /// Chooses the compression of the response. A REST API without binary media types would send the client base64.
    fn compression<B>(
        &self,
        source: EventSource,
        request: &Request<B>,
    ) -> Option<ResponseCompression> {
        let settings = &self.0.config.gateway.function;
        let is_binary_allowed = source != EventSource::RestApi || settings.rest_binary;
        let compression =
            ResponseCompression::negotiate(request.headers(), settings.compress_answers_from);
        compression.filter(|_| is_binary_allowed)
    }

    /// Returns the whole response to Lambda.
    async fn buffer(
        &self,
        invocation: Invocation,
        response: HttpResponse,
    ) -> Result<LambdaResponse, Diagnostic> {
        let HttpResponse {
            response,
            format,
            compression,
            origin,
        } = response;
        let max_bytes = match compression {
            // A larger body may fit when it is compressed.
            Some(_) => self
                .0
                .config
                .gateway
                .limits
                .max_message_bytes
                .max(format.max_bytes()),
            None => format.max_bytes(),
        };
        let mut response = invocation.collect(response, format, max_bytes).await;
        if let Some(origin) = origin {
            origin.allow_if_missing(response.headers_mut());
        }
        let encoded = format.encode(response, compression).await;
        let encoded = encoded.map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
        if encoded.is_too_large {
            invocation.note_too_large();
        }
        invocation.finish(&self.0, Some(encoded.body_bytes)).await;
        buffered(encoded.json)
    }

    /// Streams the response to Lambda.
    async fn stream(&self, invocation: Invocation, response: HttpResponse) -> LambdaResponse {
        let HttpResponse {
            mut response,
            format,
            compression,
            origin,
        } = response;
        let mut uncompressed = None;
        if let Some(compression) = compression {
            (response, uncompressed) = compression.compress_complete(response).await;
        }
        if let Some(bytes) = stream::known_excess(&response) {
            response = format.too_large(bytes, MAX_STREAMED_RESPONSE_BYTES);
            invocation.note_too_large();
        }
        if let Some(origin) = origin {
            origin.allow_if_missing(response.headers_mut());
        }
        let deadline = invocation.deadline.response;
        let invocation = Arc::new(invocation);
        let settle = {
            let (shared, invocation) = (Arc::clone(&self.0), Arc::clone(&invocation));
            async move { invocation.settle(&shared).await }
        };
        let shared = Arc::clone(&self.0);
        let report = move |sent| {
            let uncompressed = uncompressed.unwrap_or(sent);
            invocation.report(&shared, Some(BodyBytes { uncompressed, sent }));
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
        source: EventSource,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<LambdaResponse, Diagnostic> {
        let event: serde_json::Value =
            serde_json::from_str(event).map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
        let arrived = event["requestContext"]["requestTimeEpoch"].as_u64();
        let arrived = arrived.and_then(from_unix_millis);
        let invocation = Invocation::start(&self.0, source, lambda, arrived);
        let settings = &self.0.config.gateway.function;
        let deadline = invocation.deadline.reserve_for_parts(settings);
        // Only `$connect` has headers, and it does not go into the Flow.
        let mut context = invocation.context(&HeaderMap::new());
        context.deadline = Some(deadline.flow);
        let (websocket, lambda) = (&self.0.websocket, &invocation.lambda);
        let response = match source {
            EventSource::WebSocketPush => {
                websocket.handle_push(event, deadline, &context).await;
                serde_json::Value::Null
            }
            _ => websocket.handle(event, lambda, deadline, &context).await,
        };
        invocation.finish(&self.0, None).await;
        buffered(response.to_string())
    }

    async fn direct(
        &self,
        source: EventSource,
        event: &str,
        lambda: lambda_runtime::Context,
    ) -> Result<LambdaResponse, Diagnostic> {
        let mut invocation = Invocation::start(&self.0, source, lambda, None);
        let max_bytes = self.0.config.gateway.limits.max_message_bytes;
        let response = match InvokeRequest::decode(event.as_bytes(), max_bytes) {
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
        buffered(response.map_err(direct::into_diagnostic)?)
    }
}

/// The type of the error for an event whose source is known and whose content is invalid.
const BROKEN_EVENT: &str = "Flowgate.BrokenEvent";

fn buffered(json: String) -> Result<LambdaResponse, Diagnostic> {
    let raw = RawValue::from_string(json).map_err(|error| diagnostic(BROKEN_EVENT, &error))?;
    Ok(FunctionResponse::BufferedResponse(raw))
}

fn diagnostic(error_type: &str, error: &dyn std::error::Error) -> Diagnostic {
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: with_causes(error),
    }
}
