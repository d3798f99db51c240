//! Lambda's Invoke API for the functions that run here (AWS Lambda API reference, Invoke): synchronous, asynchronous
//! and dry, with its refusals by their names; and the Runtime API for runtimes that are started by hand.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flowgate_proto::limits::{MAX_ASYNC_INVOKE_PAYLOAD_BYTES, MAX_INVOKE_PAYLOAD_BYTES};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Local,
    answer::{self, Answer},
    function::{self, Functions, InvokeError, Outcome, Patience, Processes},
    server,
};

/// The Invoke API.
#[derive(Clone, Debug)]
pub(super) struct LambdaApi {
    functions: Functions,
    /// The pauses before an asynchronous invocation that failed is tried again.
    retries: [Duration; 2],
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl LambdaApi {
    pub(super) fn new(functions: Functions, retries: [Duration; 2], local: &Local) -> Self {
        Self {
            functions,
            retries,
            stopping: local.stopping.clone(),
            tasks: local.tasks.clone(),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        if let Some(rest) = path.strip_prefix("/.rt/") {
            let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let function = self.functions.named(name);
            return runtime_api(function, rest, request).await;
        }
        if path.starts_with("/2018-06-01/") || path.starts_with("/2020-01-01/") {
            return runtime_api(self.functions.by_hand(), &path, request).await;
        }
        let name = path
            .strip_prefix("/2015-03-31/functions/")
            .and_then(|rest| rest.strip_suffix("/invocations"));
        match name {
            Some(name) if request.method() == Method::POST => self.invoke(name, request).await,
            _ => answer::message(StatusCode::NOT_FOUND, "only Invoke is here"),
        }
    }

    async fn invoke(&self, name: &str, request: Request<Incoming>) -> Answer {
        let name = plain_name(name);
        let Some(function) = self.functions.named(&name) else {
            return not_found(&name);
        };
        let kind = match request.headers().get("x-amz-invocation-type") {
            None => Kind::RequestResponse,
            Some(kind) => match Kind::from_header(kind) {
                Some(kind) => kind,
                None => {
                    return bad_request("InvalidParameterValueException", "the invocation type");
                }
            },
        };
        let (parts, body) = request.into_parts();
        let payload = match server::body(body, kind.most()).await {
            Ok(payload) if payload.is_empty() => Bytes::from_static(b"{}"),
            Ok(payload) => payload,
            Err(StatusCode::PAYLOAD_TOO_LARGE) => return too_large(kind.most()),
            Err(status) => return answer::message(status, "the payload did not come"),
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_err() {
            let said = "Could not parse request body into json";
            return bad_request("InvalidRequestContentException", said);
        }
        let event = function_request(payload, &parts.headers);
        let id = event.id.clone();
        let mut answer = match kind {
            Kind::DryRun => answer::empty(StatusCode::NO_CONTENT),
            Kind::RequestResponse => synchronous(function, event).await,
            Kind::Event => self.asynchronous(function, event),
        };
        let headers = answer.headers_mut();
        if let Ok(id) = HeaderValue::try_from(id) {
            headers.insert("x-amzn-requestid", id);
        }
        answer
    }

    /// Takes the event and tries it up to three times, as Lambda does by default.
    fn asynchronous(&self, function: &Arc<Processes>, event: function::Request) -> Answer {
        let again = (event.id.clone(), event.payload.clone(), event.trace.clone());
        let first = match function.invoke(event, Patience::Waits) {
            Ok(first) => first,
            Err(error) => return refusal(&error),
        };
        let (function, retries) = (Arc::clone(function), self.retries);
        let work = async move {
            let mut outcome = first.await;
            for pause in retries {
                if matches!(outcome, Ok(Outcome::Answered(_))) {
                    return;
                }
                tokio::time::sleep(pause).await;
                let (id, payload, trace) = again.clone();
                let mut event = function::Request::new(payload, trace);
                event.id = id;
                outcome = match function.invoke(event, Patience::Waits) {
                    Ok(outcome) => outcome.await,
                    Err(error) => Err(error),
                };
            }
            if !matches!(outcome, Ok(Outcome::Answered(_))) {
                tracing::warn!(function = %function.arn(), "an asynchronous event is given up");
            }
        };
        let stopping = self.stopping.clone();
        self.tasks
            .spawn(async move { stopping.run_until_cancelled(work).await });
        answer::empty(StatusCode::ACCEPTED)
    }
}

/// What `X-Amz-Invocation-Type` asks for.
#[derive(Clone, Copy)]
enum Kind {
    RequestResponse,
    Event,
    DryRun,
}

impl Kind {
    fn from_header(value: &HeaderValue) -> Option<Self> {
        match value.as_bytes() {
            b"RequestResponse" => Some(Self::RequestResponse),
            b"Event" => Some(Self::Event),
            b"DryRun" => Some(Self::DryRun),
            _ => None,
        }
    }

    /// Bytes of its payload.
    const fn most(self) -> usize {
        match self {
            Self::RequestResponse | Self::DryRun => MAX_INVOKE_PAYLOAD_BYTES,
            Self::Event => MAX_ASYNC_INVOKE_PAYLOAD_BYTES,
        }
    }
}

async fn synchronous(function: &Arc<Processes>, event: function::Request) -> Answer {
    let outcome = match function.invoke(event, Patience::None) {
        Ok(outcome) => outcome.await,
        Err(error) => Err(error),
    };
    let (body, is_failed) = match outcome {
        Ok(Outcome::Answered(body)) => (body, false),
        Ok(Outcome::Failed(body)) => (body, true),
        Err(error) => return refusal(&error),
    };
    let mut answer = answer::bytes(StatusCode::OK, body);
    let headers = answer.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        "x-amz-executed-version",
        HeaderValue::from_static("$LATEST"),
    );
    if is_failed {
        headers.insert(
            "x-amz-function-error",
            HeaderValue::from_static("Unhandled"),
        );
    }
    answer
}

async fn runtime_api(
    function: Option<&Arc<Processes>>,
    path: &str,
    request: Request<Incoming>,
) -> Answer {
    match function.filter(|function| function.is_by_hand()) {
        Some(function) => function.runtime_api().answer_at(path, request).await,
        None => answer::message(
            StatusCode::NOT_FOUND,
            "no function of this name has its runtimes started by hand",
        ),
    }
}

fn function_request(payload: Bytes, headers: &HeaderMap) -> function::Request {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut event = function::Request::new(payload, text(function::TRACE_HEADER));
    event.client_context = text("x-amz-client-context")
        .and_then(|context| STANDARD.decode(context).ok())
        .and_then(|context| String::from_utf8(context).ok());
    event
}

/// The name in `NAME`, `NAME:QUALIFIER`, an account's `ACCOUNT:function:NAME` or a whole ARN.
fn plain_name(text: &str) -> String {
    let text = text.replace("%3A", ":").replace("%3a", ":");
    let text = text
        .rsplit_once("function:")
        .map_or(text.as_str(), |(_, name)| name);
    text.split(':').next().unwrap_or_default().to_owned()
}

fn refusal(error: &InvokeError) -> Answer {
    match error {
        InvokeError::Throttled => answer::refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequestsException",
            &json!({
                "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
                "Type": "User",
                "message": "Rate Exceeded.",
            }),
        ),
        error => answer::refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "ServiceException",
            &json!({ "Type": "Service", "Message": error.to_string() }),
        ),
    }
}

fn not_found(name: &str) -> Answer {
    let said = format!("Function not found: {}", function::arn(name));
    answer::refusal(
        StatusCode::NOT_FOUND,
        "ResourceNotFoundException",
        &json!({ "Type": "User", "Message": said }),
    )
}

fn bad_request(name: &'static str, said: &str) -> Answer {
    let body = json!({ "Type": "User", "message": said });
    answer::refusal(StatusCode::BAD_REQUEST, name, &body)
}

fn too_large(most: usize) -> Answer {
    let said =
        format!("Request must be smaller than {most} bytes for the InvokeFunction operation");
    answer::refusal(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLargeException",
        &json!({ "Type": "User", "message": said }),
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
            assert_eq!(plain_name(name), "executor-fn", "{name}");
        }
    }
}
