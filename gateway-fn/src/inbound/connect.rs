//! Connect's unary calls with `application/proto` -> the gRPC routes, and the answer or error back as Connect has them.
//!
//! It is what `connect-go`, `connect-es` and `curl` can speak through any front door (connectrpc.com, "Connect
//! Protocol"). Streams and JSON bodies are not here: gRPC-Web and the HTTP routes have those.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::grpc_web::Cors;

/// Whether a request is a unary call of Connect's: the content type is no JSON, so that no HTTP route reads it.
#[must_use]
pub fn is(request: &http::Request<Body>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value == PROTO) && request.uri().path().starts_with("/jina.")
}

/// Connect over these gRPC routes. A body may have `limit` bytes as it comes.
pub fn router(grpc: Router, limit: usize, cors: Cors) -> Router {
    let router = Router::new().fallback(call).with_state((grpc, limit));
    match cors {
        Cors::SameOrigin => router,
        Cors::AnyOrigin => router.layer(axum::middleware::from_fn(super::http::cors::apply)),
    }
}

/// The one method of Jina's that streams.
const STREAMING: &str = "/jina.JinaRPC/Call";

const PROTO: &str = "application/proto";

/// The prefix of a gRPC message: a flag for compression, and the length in four bytes.
const PREFIX_BYTES: usize = 5;

async fn call(State((grpc, limit)): State<(Router, usize)>, request: Request) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if request.uri().path() == STREAMING {
        return failure(&Status::unimplemented(
            "this method streams, and Connect serves unary calls here: call it by gRPC-Web",
        ));
    }
    let outcome = async {
        let request = to_grpc(request, limit)?;
        let answer = match grpc.oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        from_grpc(answer).await
    };
    outcome.await.unwrap_or_else(|status| failure(&status))
}

/// The body is not read before the routes want it: they may ask first who calls.
fn to_grpc(request: Request, limit: usize) -> Result<Request, Status> {
    let (mut head, body) = request.into_parts();
    let headers = &mut head.headers;
    let coding = headers
        .remove(header::CONTENT_ENCODING)
        .filter(|coding| coding != "identity");
    let message = stream::once(message(body, limit, coding.is_some()));
    if let Some(coding) = coding {
        headers.insert("grpc-encoding", coding);
    }
    if let Some(timeout) = headers.remove("connect-timeout-ms") {
        headers.insert("grpc-timeout", grpc_timeout(&timeout)?);
    }
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc+proto"),
    );
    head.version = Version::HTTP_2;
    Ok(Request::from_parts(head, Body::from_stream(message)))
}

/// A message as gRPC has it: with a prefix.
async fn message(body: Body, limit: usize, is_compressed: bool) -> Result<Bytes, Status> {
    let body = Limited::new(body, limit).collect().await.map_err(|_| {
        Status::resource_exhausted(format!(
            "the body is larger than the limit of {limit} bytes"
        ))
    })?;
    let body = body.to_bytes();
    let length = u32::try_from(body.len())
        .map_err(|_| Status::resource_exhausted("the body is larger than a message may be"))?;
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + body.len());
    message.put_u8(u8::from(is_compressed));
    message.put_u32(length);
    message.put(body);
    Ok(message.freeze())
}

/// Milliseconds of at most ten digits, in eight digits and a unit (both protocols' documents).
fn grpc_timeout(milliseconds: &HeaderValue) -> Result<HeaderValue, Status> {
    let digits = milliseconds.to_str().unwrap_or("?");
    let is_number =
        (1..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().unwrap_or_default();
    let timeout = match number {
        0..=99_999_999 => format!("{number}m"),
        _ => format!("{}S", number / 1000),
    };
    HeaderValue::try_from(timeout)
        .ok()
        .filter(|_| is_number)
        .ok_or_else(|| Status::invalid_argument("connect-timeout-ms: expected at most ten digits"))
}

async fn from_grpc(answer: Response) -> Result<Response, Status> {
    let (mut head, body) = answer.into_parts();
    // gRPC's own; the other headers of a failure are its metadata.
    head.headers.remove(header::CONTENT_TYPE);
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Err(status);
    }
    let unreadable = || Status::internal("the answer cannot be read");
    // It comes out of this process, where the routes bound what they write.
    let body = body.collect().await.map_err(|_| unreadable())?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    if let Some(status) = Status::from_header_map(&trailers)
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let message = body.to_bytes();
    let message = match message.get(..PREFIX_BYTES) {
        Some([0, ..]) => message.slice(PREFIX_BYTES..),
        _ => return Err(unreadable()),
    };
    head.headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(PROTO));
    put_trailers(&mut head.headers, &trailers);
    Ok(Response::from_parts(head, Body::from(message)))
}

/// Trailing metadata, in headers with `trailer-` before their names.
fn put_trailers(headers: &mut HeaderMap, trailers: &HeaderMap) {
    for (name, value) in trailers {
        let is_grpcs_own = name.as_str().starts_with("grpc-");
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}"))
            && !is_grpcs_own
        {
            headers.append(name, value.clone());
        }
    }
}

/// A failed call's answer.
pub(crate) fn failure(status: &Status) -> Response {
    let (code, http) = table(status.code());
    let error = json!({ "code": code, "message": status.message() });
    let mut response = (
        http,
        [(header::CONTENT_TYPE, "application/json")],
        Bytes::from(error.to_string()),
    )
        .into_response();
    put_trailers(
        response.headers_mut(),
        &status.metadata().clone().into_headers(),
    );
    response
}

/// The protocol's own table of error codes.
const fn table(code: Code) -> (&'static str, StatusCode) {
    match code {
        Code::Cancelled => ("canceled", CANCELLED),
        Code::Ok | Code::Unknown => ("unknown", StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument => ("invalid_argument", StatusCode::BAD_REQUEST),
        Code::DeadlineExceeded => ("deadline_exceeded", StatusCode::GATEWAY_TIMEOUT),
        Code::NotFound => ("not_found", StatusCode::NOT_FOUND),
        Code::AlreadyExists => ("already_exists", StatusCode::CONFLICT),
        Code::PermissionDenied => ("permission_denied", StatusCode::FORBIDDEN),
        Code::ResourceExhausted => ("resource_exhausted", StatusCode::TOO_MANY_REQUESTS),
        Code::FailedPrecondition => ("failed_precondition", StatusCode::BAD_REQUEST),
        Code::Aborted => ("aborted", StatusCode::CONFLICT),
        Code::OutOfRange => ("out_of_range", StatusCode::BAD_REQUEST),
        Code::Unimplemented => ("unimplemented", StatusCode::NOT_IMPLEMENTED),
        Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        Code::DataLoss => ("data_loss", StatusCode::INTERNAL_SERVER_ERROR),
        Code::Unauthenticated => ("unauthenticated", StatusCode::UNAUTHORIZED),
    }
}

/// 499, which the protocol takes for a cancelled call.
const CANCELLED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
};
