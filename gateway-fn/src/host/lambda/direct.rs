//! A direct invocation -> the Flow -> its answer: by a Gateway to which this function is an Executor, or by hand with
//! the JSON of `/post`.

use std::time::SystemTime;

use flowgate_flow::reduce::reduce;
use flowgate_proto::{
    DEFAULT_ENDPOINT,
    invoke::{Call, FunctionErrorKind, Invocation, InvocationResponse, Payload, PayloadError},
    jina::{EndpointsProto, status_proto::StatusCode},
    json::{self, EndpointFrom},
    limits::MAX_INVOKE_PAYLOAD_BYTES,
    with_causes,
};
use lambda_runtime::Diagnostic;
use prost::Message as _;
use tokio::time::Instant;

use super::deadline::from_unix_millis;
use crate::{
    context::{Context, Trace},
    error::{ErrorCode, GatewayError},
    gateway::Gateway,
    inbound::Services,
};

/// Reads a payload; one that is none is a function error.
pub(super) fn read(event: &str) -> Result<Payload<'_>, Diagnostic> {
    Payload::parse(event).map_err(|error| bad(&error))
}

/// Until when a caller waits who says so.
pub(super) fn end(payload: &Payload<'_>) -> Option<Instant> {
    let Payload::Invocation(invocation) = payload else {
        return None;
    };
    let end = from_unix_millis(invocation.deadline?)?;
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(left)
}

/// Answers a direct invocation with the JSON of its answer; a failure is told by a function error whose type says what
/// kind it is. `limit` bounds a body when it is decompressed.
pub(super) async fn answer(
    services: &Services,
    payload: Payload<'_>,
    context: Context,
    limit: usize,
) -> Result<String, Diagnostic> {
    match payload {
        Payload::Json(text) => by_hand(&services.gateway, text, context).await,
        Payload::Invocation(invocation) => by_gateway(services, &invocation, context, limit).await,
    }
}

async fn by_gateway(
    services: &Services,
    invocation: &Invocation<'_>,
    context: Context,
    limit: usize,
) -> Result<String, Diagnostic> {
    let (message, is_error) = match invocation.call {
        Call::Process => {
            let context = with_callers_trace(context, invocation);
            process(&services.gateway, invocation, context, limit).await?
        }
        // Whatever is asked for goes into the Flow, whose Executors know what they serve.
        Call::Endpoints => {
            let endpoints = vec![DEFAULT_ENDPOINT.to_owned()];
            (EndpointsProto { endpoints }.encode_to_vec(), false)
        }
        Call::Status => (services.status.info().encode_to_vec(), false),
    };
    let answer = InvocationResponse::encode_within_limit(
        &message,
        invocation.encoding(),
        is_error,
        MAX_INVOKE_PAYLOAD_BYTES,
    );
    answer.map_err(|error| fault(FunctionErrorKind::AnswerTooLarge, error.to_string()))
}

async fn process(
    gateway: &Gateway,
    invocation: &Invocation<'_>,
    context: Context,
    limit: usize,
) -> Result<(Vec<u8>, bool), Diagnostic> {
    let parts = invocation
        .decode_requests(limit)
        .map_err(|error| bad(&error))?;
    let request =
        reduce(parts).map_err(|error| fault(FunctionErrorKind::BadPayload, error.to_string()))?;
    let kept = request.clone();
    let answer = match gateway.handle(request, context).await {
        Ok(answer) => answer,
        Err(error) if error.code() == ErrorCode::DeadlineExceeded => return Err(failed(&error)),
        // To the caller this Flow is one Executor, whose failures are told in the header of the request as it came.
        Err(error) => {
            let mut answer = kept;
            answer.header.status = Some(error.status());
            answer
        }
    };
    let status = answer.header.status.as_ref();
    let is_error = status.is_some_and(|status| status.code == i32::from(StatusCode::Error));
    Ok((answer.encode_to_vec(), is_error))
}

async fn by_hand(gateway: &Gateway, text: &str, context: Context) -> Result<String, Diagnostic> {
    let refused = |message: String| fault(FunctionErrorKind::BadPayload, message);
    let parsed = json::parse(text.as_bytes()).map_err(|error| refused(error.to_string()))?;
    let request = json::read_request(&parsed, EndpointFrom::Body).map_err(|errors| {
        let detail = serde_json::json!({ "detail": errors });
        refused(detail.to_string())
    })?;
    let answer = gateway.handle(request, context).await;
    let written = json::write_http(&answer.map_err(|error| failed(&error))?);
    let written = written.map_err(|error| unwritten(&error))?;
    if written.len() > MAX_INVOKE_PAYLOAD_BYTES {
        let message = format!(
            "the answer has {} bytes, and a payload at most {MAX_INVOKE_PAYLOAD_BYTES}",
            written.len()
        );
        return Err(fault(FunctionErrorKind::AnswerTooLarge, message));
    }
    String::from_utf8(written).map_err(|error| unwritten(&error))
}

/// The caller's own trace goes before Lambda's.
fn with_callers_trace(mut context: Context, invocation: &Invocation<'_>) -> Context {
    let callers = invocation.trace.iter();
    let callers = callers.map(|(name, value)| (name.as_str(), value.clone()));
    context.trace = context.trace.overridden_by(Trace::from_pairs(callers));
    context
}

fn failed(error: &GatewayError) -> Diagnostic {
    let kind = match error.code() {
        ErrorCode::DeadlineExceeded => FunctionErrorKind::OutOfTime,
        ErrorCode::InvalidTarget | ErrorCode::InvalidRequest => FunctionErrorKind::BadPayload,
        ErrorCode::Unavailable => FunctionErrorKind::Unavailable,
        code @ (ErrorCode::Overloaded
        | ErrorCode::TooLarge
        | ErrorCode::FunctionFailed
        | ErrorCode::Misconfigured
        | ErrorCode::Refused
        | ErrorCode::Internal) => {
            let text = format!("{code:?}: {}", error.detail());
            return fault(FunctionErrorKind::Failed, text);
        }
    };
    fault(kind, error.detail())
}

fn bad(error: &PayloadError) -> Diagnostic {
    fault(error.kind(), with_causes(error))
}

fn unwritten(error: &(dyn std::error::Error + 'static)) -> Diagnostic {
    tracing::error!(error = %with_causes(error), "an answer could not be written");
    fault(
        FunctionErrorKind::Failed,
        "Internal: the answer cannot be written".to_owned(),
    )
}

fn fault(kind: FunctionErrorKind, error_message: String) -> Diagnostic {
    Diagnostic {
        error_type: kind.name().to_owned(),
        error_message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_another_try_does_not_change_is_not_called_unavailable() {
        let full = failed(&GatewayError::Overloaded { limit: 1 });
        assert_eq!(full.error_type, "Flowgate.Failed");
        assert!(full.error_message.starts_with("Overloaded: "));
        let large = bad(&PayloadError::TooLarge { limit: 7 });
        assert_eq!(large.error_type, "Flowgate.RequestTooLarge");
        assert!(large.error_message.contains("than 7 bytes"));
    }
}
