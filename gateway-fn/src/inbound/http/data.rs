//! Serves the data routes: sends a JSON body through the Flow and returns the answer or the failure as JSON.

use std::sync::Arc;

use axum::{extract::Request, response::Response};
use bytes::Bytes;
use flowgate_grpc::{Held, blocking};
use flowgate_proto::{
    DataRequest, DecodeLimits, DocumentsError,
    json::{self, EndpointFrom, ReadError, WriteError},
    with_causes,
};
use http::StatusCode;
use prost::Message as _;

use super::{body, json_reply, reject::Rejection, routes::ExecEndpoint};
use crate::{
    context::Context,
    error::{ErrorCode, GatewayError},
    gateway::Gateway,
    inbound::decoded::DecodedBytes,
};

/// Sends the request's body through the Flow as one data request. Its bytes, and then those of the answer until it is sent,
/// are held by `held`.
pub(super) async fn post(
    gateway: &Gateway,
    endpoint: &ExecEndpoint,
    limit: usize,
    request: Request,
    mut held: Held,
) -> Result<Response, Rejection> {
    // A request that cannot be handled is not read.
    let context = Context::from_request(request.extensions(), request.headers());
    gateway
        .check_room(context.load.as_ref())
        .map_err(|error| Rejection::busy(&error))?;
    let limits = gateway.decode_limits();
    let parse = {
        let (endpoint, budget) = (endpoint.clone(), Arc::clone(held.budget()));
        move |body: &Bytes| {
            let memory = DecodedBytes::new(&budget, body.len());
            let request = read(body, &endpoint, limits, Some(&memory))?;
            Ok((request, memory.into_held()))
        }
    };
    let (body, (request, decoded)) = tokio::select! {
        biased;
        read = body::read(request, limit, &mut held, parse) => read?,
        stopped = gateway.aborted() => return Err(Rejection::busy(&stopped)),
    };
    let request_id = request.header.request_id.clone();
    let result = gateway.handle(request, context).await;
    // The request has ended with its answer.
    drop(decoded);
    match result {
        Ok(answer) => {
            let (work_id, bytes) = (request_id.clone(), answer.encoded_len());
            held.set(held.bytes() + bytes);
            let written = blocking::run(bytes, move || write(&answer, work_id, held)).await;
            written.unwrap_or_else(|_| Err(internal_error(request_id)))
        }
        Err(error) => {
            let (work_id, endpoint) = (request_id.clone(), endpoint.clone());
            let bytes = body.len();
            let work = move || {
                reject(&error, work_id, |id, detail| {
                    let echo = echo(&body, &endpoint, limits, id, detail)?;
                    Ok(held.attach(echo.into()))
                })
            };
            let rejection = blocking::run(bytes, work).await;
            Err(rejection.unwrap_or_else(|_| internal_error(request_id)))
        }
    }
}

/// The answer when reading or writing a large body panicked.
fn internal_error(request_id: String) -> Rejection {
    Rejection::Failed {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        detail: "Internal Server Error".to_owned(),
        request_id,
        retry_after: None,
    }
}

fn read(
    body: &[u8],
    endpoint: &ExecEndpoint,
    limits: DecodeLimits,
    memory: Option<&DecodedBytes>,
) -> Result<DataRequest, Rejection> {
    let parsed = match memory {
        Some(memory) => json::parse_request_counted(body, limits, memory),
        None => json::parse_request(body, limits),
    };
    let parsed = parsed.map_err(|error| Rejection::syntax(&error, body))?;
    let from = match endpoint {
        ExecEndpoint::FromBody => EndpointFrom::Body,
        ExecEndpoint::Fixed(exec_endpoint) => EndpointFrom::Path(exec_endpoint),
    };
    json::read_request(parsed, from).map_err(|error| match error {
        ReadError::Invalid(errors) => Rejection::Invalid(errors),
        ReadError::TooLarge(exceeded) => Rejection::too_large(exceeded),
    })
}

fn write(answer: &DataRequest, request_id: String, held: Held) -> Result<Response, Rejection> {
    let written = json::write_http(answer).map(|body| json_reply(held.attach(body.into())));
    written.map_err(|error| {
        let (status, detail) = match &error {
            WriteError::Documents(DocumentsError::TooLarge(exceeded)) => {
                (StatusCode::PAYLOAD_TOO_LARGE, exceeded.to_string())
            }
            error => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        tracing::error!(request_id, error = %with_causes(&error), "writing the answer failed");
        Rejection::Failed {
            status,
            detail,
            request_id,
            retry_after: None,
        }
    })
}

fn reject(
    error: &GatewayError,
    request_id: String,
    echo: impl FnOnce(String, &str) -> Result<Bytes, Rejection>,
) -> Rejection {
    let (status, detail) = (error.http_status(), error.detail());
    match error.code() {
        ErrorCode::Unavailable | ErrorCode::DeadlineExceeded => {
            let echo = echo(request_id, &detail);
            echo.map_or_else(
                |rejection| rejection,
                |echo| Rejection::Unreachable { status, echo },
            )
        }
        ErrorCode::InvalidTarget => Rejection::target_executor(&detail),
        ErrorCode::InvalidRequest => Rejection::documents(&detail),
        ErrorCode::Overloaded
        | ErrorCode::TooLarge
        | ErrorCode::Refused
        | ErrorCode::FunctionFailed
        | ErrorCode::Misconfigured
        | ErrorCode::Internal => Rejection::Failed {
            status,
            detail,
            request_id,
            retry_after: error.retry_after(),
        },
    }
}

/// Returns the client's request with the failure in its header. Reads the body again, so that requests that succeed are
/// not copied for this.
fn echo(
    body: &[u8],
    endpoint: &ExecEndpoint,
    limits: DecodeLimits,
    request_id: String,
    detail: &str,
) -> Result<Vec<u8>, Rejection> {
    let mut request = read(body, endpoint, limits, None)?;
    request.header.request_id = request_id;
    Ok(json::write_failed_request(&request, detail))
}
