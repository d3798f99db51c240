//! A runtime's requests -> its function's queue: Lambda's Runtime API, version 2018-06-01 (AWS Lambda, using the Lambda
//! runtime API for custom runtimes). Beside it so much of the Extensions API, version 2020-01-01, that an extension in
//! the runtime's own process comes up: it registers and waits for an event, of which there is none.

use std::{error::Error, future::pending, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flowgate_proto::limits::MAX_INVOKE_PAYLOAD_BYTES;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use uuid::Uuid;

use super::{
    answer::{self, Answer},
    function::{Outcome, Queue, Taken},
    server,
};

/// Bytes of an error that a runtime reports; Lambda's own are far smaller.
const ERROR_BYTES: usize = 256 << 10;

/// The Runtime API of one runtime.
#[derive(Clone, Debug)]
pub(super) struct RuntimeApi {
    queue: Arc<Queue>,
    process: Option<usize>,
    arn: String,
}

impl RuntimeApi {
    /// For a process that was started here, or for any that was not.
    pub(super) const fn new(queue: Arc<Queue>, process: Option<usize>, arn: String) -> Self {
        Self {
            queue,
            process,
            arn,
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        self.answer_at(&path, request).await
    }

    /// Answers a request for `path`, which may have stood behind a prefix.
    pub(super) async fn answer_at(&self, path: &str, request: Request<Incoming>) -> Answer {
        let parts: Vec<_> = path.split('/').skip(1).collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.response(id, request).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                self.error(id, request).await
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                self.init_error(request).await
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => self.register(),
            // Every process is told to end by SIGTERM, as Lambda does to those that have an extension.
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => pending().await,
            _ => answer::message(StatusCode::NOT_FOUND, "no such path in the Runtime API"),
        }
    }

    async fn next(&self) -> Answer {
        let Taken { request, deadline } = self.queue.take(self.process).await;
        let mut answer = answer::bytes(StatusCode::OK, request.payload);
        let headers = answer.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let deadline = deadline.millis().to_string();
        let facts = [
            ("lambda-runtime-aws-request-id", Some(&request.id)),
            ("lambda-runtime-deadline-ms", Some(&deadline)),
            ("lambda-runtime-invoked-function-arn", Some(&self.arn)),
            ("lambda-runtime-trace-id", request.trace.as_ref()),
            (
                "lambda-runtime-client-context",
                request.client_context.as_ref(),
            ),
        ];
        for (name, value) in facts {
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        answer
    }

    /// The answer, whole or streamed. What was streamed is put together, as Lambda does for an Invoke that does not
    /// ask for a stream.
    async fn response(&self, id: &str, request: Request<Incoming>) -> Answer {
        if !self.queue.is_running(id) {
            return unknown(id);
        }
        match Limited::new(request.into_body(), MAX_INVOKE_PAYLOAD_BYTES)
            .collect()
            .await
        {
            Ok(body) => {
                let failure = body.trailers().and_then(failure_in);
                let outcome = failure.unwrap_or_else(|| Outcome::Answered(body.to_bytes()));
                self.finish(id, outcome)
            }
            Err(error) if error.is::<LengthLimitError>() => {
                self.finish(id, Outcome::too_large());
                let said = json!({
                    "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
                    "errorType": "RequestEntityTooLarge",
                });
                answer::json(StatusCode::PAYLOAD_TOO_LARGE, &said)
            }
            Err(error) => self.finish(id, broken_off(&*error)),
        }
    }

    async fn error(&self, id: &str, request: Request<Incoming>) -> Answer {
        let error = read_error(request).await;
        self.finish(id, Outcome::Failed(error))
    }

    async fn init_error(&self, request: Request<Incoming>) -> Answer {
        let error = read_error(request).await;
        self.queue.init_failed(self.process, error);
        accepted()
    }

    fn register(&self) -> Answer {
        let (_, name) = self.arn.rsplit_once(':').unwrap_or_default();
        let facts = json!({
            "functionName": name,
            "functionVersion": "$LATEST",
            "handler": "bootstrap",
        });
        let mut answer = answer::json(StatusCode::OK, &facts);
        if let Ok(identifier) = HeaderValue::try_from(Uuid::new_v4().to_string()) {
            let name = HeaderName::from_static("lambda-extension-identifier");
            answer.headers_mut().insert(name, identifier);
        }
        answer
    }

    fn finish(&self, id: &str, outcome: Outcome) -> Answer {
        match self.queue.finish(id, outcome) {
            true => accepted(),
            false => unknown(id),
        }
    }
}

fn accepted() -> Answer {
    answer::json(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn unknown(id: &str) -> Answer {
    tracing::warn!(
        id,
        "an answer to an invocation that is not, or no more, under way"
    );
    let said = json!({ "errorMessage": "Invalid request ID", "errorType": "InvalidRequestID" });
    answer::json(StatusCode::BAD_REQUEST, &said)
}

fn broken_off(error: &(dyn Error + Send + Sync)) -> Outcome {
    Outcome::failed(
        "Runtime.TruncatedResponse",
        &format!("the response broke off: {error}"),
    )
}

/// An error in the midst of a stream comes in trailers.
fn failure_in(trailers: &HeaderMap) -> Option<Outcome> {
    let error_type = trailers.get("lambda-runtime-function-error-type")?;
    let body = trailers
        .get("lambda-runtime-function-error-body")
        .and_then(|body| STANDARD.decode(body).ok());
    Some(match body {
        Some(body) => Outcome::Failed(Bytes::from(body)),
        None => Outcome::failed(&String::from_utf8_lossy(error_type.as_bytes()), ""),
    })
}

/// The error object that a runtime reports; made from the header where there is none.
async fn read_error(request: Request<Incoming>) -> Bytes {
    let header = request.headers().get("lambda-runtime-function-error-type");
    let error_type = header.map_or_else(
        || "Runtime.Unknown".to_owned(),
        |value| String::from_utf8_lossy(value.as_bytes()).into_owned(),
    );
    match server::body(request.into_body(), ERROR_BYTES).await {
        Ok(body) if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() => body,
        Ok(_) | Err(_) => {
            Bytes::from(json!({ "errorType": error_type, "errorMessage": "" }).to_string())
        }
    }
}
