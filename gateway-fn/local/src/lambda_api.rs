//! Lambda's Invoke API for the functions that the emulator runs (AWS Lambda API reference, Invoke and
//! InvokeWithResponseStream): synchronous and asynchronous invocations and dry runs, with the errors of AWS's reference;
//! and the Runtime API for external runtimes.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use flowgate_proto::limits::{MAX_ASYNC_INVOKE_PAYLOAD_BYTES, MAX_INVOKE_PAYLOAD_BYTES};
use flowgate_server::http1::RequestBody;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json, value::RawValue};

use crate::{
    aws::{TRACE_HEADER, function_arn},
    decode::decode_path,
    event_stream::write_event,
    function::{Function, Functions, Invocation, InvokeError, InvokeResult, QueuePolicy},
    response::{self, Response},
    server,
    shutdown::Shutdown,
};

/// The Invoke API.
#[derive(Clone, Debug)]
pub(crate) struct LambdaApi {
    functions: Functions,
    retry_delays: [Duration; 2],
    shutdown: Shutdown,
}

impl LambdaApi {
    pub(crate) const fn new(
        functions: Functions,
        retry_delays: [Duration; 2],
        shutdown: Shutdown,
    ) -> Self {
        Self {
            functions,
            retry_delays,
            shutdown,
        }
    }

    pub(crate) async fn handle(&self, request: Request<RequestBody>) -> Response {
        let path = request.uri().path().to_owned();
        if let Some(rest) = path.strip_prefix("/.rt/") {
            let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            return call_runtime_api(self.functions.get(name), path, request).await;
        }
        if path.starts_with("/2018-06-01/") || path.starts_with("/2020-01-01/") {
            let function = self.functions.default_external();
            return call_runtime_api(function, &path, request).await;
        }
        match Operation::from_path(&path) {
            Some((operation, name)) if request.method() == Method::POST => {
                self.invoke(operation, name, request).await
            }
            _ => response::message(
                StatusCode::NOT_FOUND,
                "only Invoke and InvokeWithResponseStream are supported: POST /2015-03-31/functions/NAME/invocations, \
                 POST /2021-11-15/functions/NAME/response-streaming-invocations",
            ),
        }
    }

    async fn invoke(
        &self,
        operation: Operation,
        name: &str,
        request: Request<RequestBody>,
    ) -> Response {
        let name = function_name(name);
        let Some(function) = self.functions.get(&name) else {
            return function_not_found(&name);
        };
        let invocation_type = InvocationType::from_headers(request.headers());
        let Some(invocation_type) = invocation_type.filter(|kind| operation.accepts(*kind)) else {
            return bad_request("InvalidParameterValueException", operation.expected_type());
        };
        let (parts, body) = request.into_parts();
        let max_bytes = invocation_type.max_payload_bytes();
        let payload = match server::read_body(body, max_bytes).await {
            Ok(payload) if payload.is_empty() => Bytes::from_static(b"{}"),
            Ok(payload) => payload,
            Err(StatusCode::PAYLOAD_TOO_LARGE) => return payload_too_large(max_bytes),
            Err(status) => return response::message(status, "cannot read the payload"),
        };
        if serde_json::from_slice::<&RawValue>(&payload).is_err() {
            let message = "Could not parse request body into json";
            return bad_request("InvalidRequestContentException", message);
        }
        let invocation = read_invocation(payload, &parts.headers);
        let request_id = HeaderValue::try_from(&invocation.request_id);
        let mut response = match invocation_type {
            InvocationType::DryRun => response::empty(StatusCode::NO_CONTENT),
            InvocationType::RequestResponse => invoke_sync(operation, function, invocation).await,
            InvocationType::Event => self.invoke_async(function, invocation),
        };
        if let Ok(request_id) = request_id {
            response
                .headers_mut()
                .insert("x-amzn-requestid", request_id);
        }
        response
    }

    /// Accepts the event, and retries its invocation twice, as Lambda does by default.
    fn invoke_async(&self, function: &Arc<Function>, invocation: Invocation) -> Response {
        // The client context reaches the first attempt only.
        let retry = Invocation {
            client_context: None,
            ..invocation.clone()
        };
        let first = match function.invoke(invocation, QueuePolicy::Wait) {
            Ok(first) => first,
            Err(error) => return invoke_error(&error),
        };
        let (function, retry_delays) = (Arc::clone(function), self.retry_delays);
        let attempts = async move {
            let mut result = first.await;
            for delay in retry_delays {
                if matches!(result, Ok(InvokeResult::Response(_))) {
                    return;
                }
                tokio::time::sleep(delay).await;
                result = match function.invoke(retry.clone(), QueuePolicy::Wait) {
                    Ok(result) => result.await,
                    Err(error) => Err(error),
                };
            }
            if !matches!(result, Ok(InvokeResult::Response(_))) {
                tracing::warn!(
                    function = function.name(),
                    request_id = retry.request_id,
                    "asynchronous invocation failed after all retries"
                );
            }
        };
        let stopping = self.shutdown.stopping.clone();
        self.shutdown
            .tasks
            .spawn(async move { stopping.run_until_cancelled(attempts).await });
        response::empty(StatusCode::ACCEPTED)
    }
}

/// What the caller asks for.
#[derive(Clone, Copy)]
enum Operation {
    Invoke,
    InvokeWithResponseStream,
}

impl Operation {
    /// Returns the operation and the function's name in a path.
    fn from_path(path: &str) -> Option<(Self, &str)> {
        let name = |prefix, suffix| path.strip_prefix(prefix)?.strip_suffix(suffix);
        let invoked = name("/2015-03-31/functions/", "/invocations");
        let streamed = name("/2021-11-15/functions/", "/response-streaming-invocations");
        let invoked = invoked.map(|name| (Self::Invoke, name));
        invoked.or_else(|| Some((Self::InvokeWithResponseStream, streamed?)))
    }

    /// A stream has a reader, so that it is never asynchronous.
    const fn accepts(self, kind: InvocationType) -> bool {
        !matches!(
            (self, kind),
            (Self::InvokeWithResponseStream, InvocationType::Event)
        )
    }

    const fn expected_type(self) -> &'static str {
        match self {
            Self::Invoke => "invalid X-Amz-Invocation-Type: use RequestResponse, Event or DryRun",
            Self::InvokeWithResponseStream => {
                "invalid X-Amz-Invocation-Type: use RequestResponse or DryRun"
            }
        }
    }
}

/// The value of `X-Amz-Invocation-Type`.
#[derive(Clone, Copy)]
enum InvocationType {
    RequestResponse,
    Event,
    DryRun,
}

impl InvocationType {
    /// Returns the type, which is `RequestResponse` without the header, or `None` if it is invalid.
    fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let Some(value) = headers.get("x-amz-invocation-type") else {
            return Some(Self::RequestResponse);
        };
        match value.as_bytes() {
            b"RequestResponse" => Some(Self::RequestResponse),
            b"Event" => Some(Self::Event),
            b"DryRun" => Some(Self::DryRun),
            _ => None,
        }
    }

    const fn max_payload_bytes(self) -> usize {
        match self {
            Self::RequestResponse | Self::DryRun => MAX_INVOKE_PAYLOAD_BYTES,
            Self::Event => MAX_ASYNC_INVOKE_PAYLOAD_BYTES,
        }
    }
}

async fn invoke_sync(
    operation: Operation,
    function: &Arc<Function>,
    invocation: Invocation,
) -> Response {
    let result = match function.invoke(invocation, QueuePolicy::Throttle) {
        Ok(result) => result.await,
        Err(error) => Err(error),
    };
    let result = match result {
        Ok(result) => result,
        Err(error) => return invoke_error(&error),
    };
    let mut response = match operation {
        Operation::Invoke => complete_response(result),
        Operation::InvokeWithResponseStream => streamed_response(&result),
    };
    let version = HeaderValue::from_static("$LATEST");
    response
        .headers_mut()
        .insert("x-amz-executed-version", version);
    response
}

fn complete_response(result: InvokeResult) -> Response {
    match result {
        InvokeResult::Response(body) => response::json_text(StatusCode::OK, body),
        InvokeResult::FunctionError(body) => {
            let mut response = response::json_text(StatusCode::OK, body);
            let kind = HeaderValue::from_static("Unhandled");
            response.headers_mut().insert("x-amz-function-error", kind);
            response
        }
    }
}

/// The payload of one event, so that a large response has several of them.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Returns the events of a response. They are sent when the function has finished, because the Runtime API of the
/// emulator collects what a function streams.
fn streamed_response(result: &InvokeResult) -> Response {
    let mut stream = BytesMut::new();
    let complete = match result {
        InvokeResult::Response(body) => {
            for chunk in body.chunks(MAX_CHUNK_BYTES) {
                write_event(
                    &mut stream,
                    "PayloadChunk",
                    "application/octet-stream",
                    chunk,
                );
            }
            json!({})
        }
        InvokeResult::FunctionError(error) => {
            let parsed: Value = serde_json::from_slice(error).unwrap_or_default();
            let code = parsed["errorType"].as_str().unwrap_or("Unhandled");
            json!({ "ErrorCode": code, "ErrorDetails": String::from_utf8_lossy(error) })
        }
    };
    let complete = complete.to_string();
    write_event(
        &mut stream,
        "InvokeComplete",
        "application/json",
        complete.as_bytes(),
    );
    let mut response = response::bytes(StatusCode::OK, stream.freeze());
    let content_type = HeaderValue::from_static("application/vnd.amazon.eventstream");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

async fn call_runtime_api(
    function: Option<&Arc<Function>>,
    path: &str,
    request: Request<RequestBody>,
) -> Response {
    match function.filter(|function| function.is_external()) {
        Some(function) => function.external_runtime_api().handle(path, request).await,
        None => response::message(
            StatusCode::NOT_FOUND,
            "no function with this name has an external runtime",
        ),
    }
}

fn read_invocation(payload: Bytes, headers: &HeaderMap) -> Invocation {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut invocation = Invocation::new(payload, text(TRACE_HEADER));
    invocation.client_context = text("x-amz-client-context")
        .and_then(|context| STANDARD.decode(context).ok())
        .and_then(|context| String::from_utf8(context).ok());
    invocation
}

/// Returns the name in `NAME`, `NAME:QUALIFIER`, `ACCOUNT:function:NAME` or an ARN.
fn function_name(text: &str) -> String {
    let text = decode_path(text);
    let name = text
        .rsplit_once("function:")
        .map_or(text.as_str(), |(_, name)| name);
    name.split(':').next().unwrap_or_default().to_owned()
}

fn invoke_error(error: &InvokeError) -> Response {
    match error {
        InvokeError::Throttled => response::aws_error(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            &json!({
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            }),
        ),
        error => response::aws_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServiceException",
            &json!({ "Type": "Service", "Message": error.to_string() }),
        ),
    }
}

fn function_not_found(name: &str) -> Response {
    let message = format!("Function not found: {}", function_arn(name));
    response::aws_error(
        StatusCode::NOT_FOUND,
        "ResourceNotFoundException",
        &json!({ "Type": "User", "Message": message }),
    )
}

fn bad_request(name: &'static str, message: &str) -> Response {
    let body = json!({ "Type": "User", "message": message });
    response::aws_error(StatusCode::BAD_REQUEST, name, &body)
}

fn payload_too_large(max_bytes: usize) -> Response {
    let message =
        format!("Request must be smaller than {max_bytes} bytes for the InvokeFunction operation");
    response::aws_error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLargeException",
        &json!({ "Type": "User", "message": message }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_found_by_every_form_of_its_name() {
        for name in [
            "executor-fn",
            "executor-fn:live",
            "000000000000:function:executor-fn",
            "arn:aws:lambda:us-east-1:000000000000:function:executor-fn:1",
            "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aexecutor-fn",
        ] {
            assert_eq!(function_name(name), "executor-fn", "{name}");
        }
    }
}
