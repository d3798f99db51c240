//! Lambda's Runtime API, version 2018-06-01, on a function's queue (AWS Lambda, using the Lambda runtime API for custom
//! runtimes). Of the Extensions API, version 2020-01-01, an extension inside the runtime's process can register and
//! wait for an event, which never comes.

use std::{future::pending, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use flowgate_server::http1::RequestBody;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{json, value::RawValue};
use uuid::Uuid;

use super::{
    invocation::InvokeResult,
    queue::{Fetched, Queue},
};
use crate::{
    aws,
    response::{self, Response},
    server,
};

/// Maximum size of an error that a runtime reports; Lambda's own errors are far smaller.
const MAX_ERROR_BYTES: usize = 256 << 10;

/// The Runtime API for one process, or for all external runtimes of a function.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeApi {
    queue: Arc<Queue>,
    /// The process that calls; `None` for external runtimes.
    process: Option<usize>,
    function: String,
}

impl RuntimeApi {
    pub(super) const fn new(queue: Arc<Queue>, process: Option<usize>, function: String) -> Self {
        Self {
            queue,
            process,
            function,
        }
    }

    /// Handles a request for `path`, from which the caller may have removed a prefix.
    pub(crate) async fn handle(&self, path: &str, request: Request<RequestBody>) -> Response {
        let segments: Vec<_> = path.split('/').skip(1).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.receive_response(id, request).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                let error = read_error(request).await;
                self.complete(id, InvokeResult::FunctionError(error))
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let error = read_error(request).await;
                self.queue.record_init_error(self.process, error);
                accepted()
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => self.register(),
            // Like Lambda for functions with an extension, the emulator ends processes by SIGTERM.
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => pending().await,
            _ => response::message(StatusCode::NOT_FOUND, "unknown path of the Runtime API"),
        }
    }

    async fn next(&self) -> Response {
        let Fetched {
            invocation,
            deadline,
        } = self.queue.fetch(self.process).await;
        let deadline = aws::epoch_millis(deadline).to_string();
        let arn = aws::function_arn(&self.function);
        let mut response = response::json_text(StatusCode::OK, invocation.payload);
        let headers = [
            ("lambda-runtime-aws-request-id", Some(invocation.request_id)),
            ("lambda-runtime-deadline-ms", Some(deadline)),
            ("lambda-runtime-invoked-function-arn", Some(arn)),
            ("lambda-runtime-trace-id", invocation.trace),
            ("lambda-runtime-client-context", invocation.client_context),
        ];
        for (name, value) in headers {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                let name = HeaderName::from_static(name);
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    /// Receives a response, complete or streamed. A streamed response is collected, as Lambda does for an Invoke that
    /// does not ask for a stream.
    async fn receive_response(&self, id: &str, request: Request<RequestBody>) -> Response {
        if !self.queue.is_running(id) {
            return unknown_request(id);
        }
        let body = Limited::new(request.into_body(), MAX_INVOKE_PAYLOAD_BYTES);
        match body.collect().await {
            Ok(body) => {
                let error = body.trailers().and_then(error_from_trailers);
                let result = error.unwrap_or_else(|| InvokeResult::Response(body.to_bytes()));
                self.complete(id, result)
            }
            Err(error) if error.is::<LengthLimitError>() => {
                self.complete(id, InvokeResult::response_too_large());
                let error = json!({
                    "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
                    "errorType": "RequestEntityTooLarge",
                });
                response::json(StatusCode::PAYLOAD_TOO_LARGE, &error)
            }
            Err(error) => {
                let message = format!("the response is truncated: {error}");
                let error = InvokeResult::function_error("Runtime.TruncatedResponse", &message);
                self.complete(id, error)
            }
        }
    }

    fn register(&self) -> Response {
        let function = json!({
            "functionName": self.function,
            "functionVersion": "$LATEST",
            "handler": "bootstrap",
        });
        let mut response = response::json(StatusCode::OK, &function);
        if let Ok(identifier) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
            let name = HeaderName::from_static("lambda-extension-identifier");
            response.headers_mut().insert(name, identifier);
        }
        response
    }

    fn complete(&self, id: &str, result: InvokeResult) -> Response {
        match self.queue.complete(id, result) {
            true => accepted(),
            false => unknown_request(id),
        }
    }
}

fn accepted() -> Response {
    response::json(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn unknown_request(id: &str) -> Response {
    tracing::warn!(
        request_id = id,
        "the runtime responded to an invocation that is not running"
    );
    let error = json!({ "errorMessage": "Invalid request ID", "errorType": "InvalidRequestID" });
    response::json(StatusCode::BAD_REQUEST, &error)
}

/// Returns the error in the trailers of a streamed response that failed midway.
fn error_from_trailers(trailers: &HeaderMap) -> Option<InvokeResult> {
    let error_type = trailers.get("lambda-runtime-function-error-type")?;
    let body = trailers
        .get("lambda-runtime-function-error-body")
        .and_then(|body| STANDARD.decode(body).ok());
    Some(match body {
        Some(body) => InvokeResult::FunctionError(Bytes::from(body)),
        None => InvokeResult::function_error(&String::from_utf8_lossy(error_type.as_bytes()), ""),
    })
}

/// Reads the error object that a runtime reports. Without a valid body, it is made from the header.
async fn read_error(request: Request<RequestBody>) -> Bytes {
    let header = request.headers().get("lambda-runtime-function-error-type");
    let error_type = header.map_or_else(
        || "Runtime.Unknown".to_owned(),
        |value| String::from_utf8_lossy(value.as_bytes()).into_owned(),
    );
    match server::read_body(request.into_body(), MAX_ERROR_BYTES).await {
        Ok(body) if serde_json::from_slice::<&RawValue>(&body).is_ok() => body,
        Ok(_) | Err(_) => {
            Bytes::from(json!({ "errorType": error_type, "errorMessage": "" }).to_string())
        }
    }
}
