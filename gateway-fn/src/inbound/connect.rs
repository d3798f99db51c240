//! Serves unary calls of the Connect protocol with `application/proto` bodies by translating them to gRPC and back.
//!
//! Connect (connectrpc.com, "Connect Protocol") needs only HTTP/1, so `connect-go`, `connect-es` and `curl` can use it
//! through any proxy. Streams and JSON bodies are not supported over Connect: use gRPC-Web or the HTTP routes for them.

use axum::{
    BoxError, Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{
    body_error,
    cors::{self, CorsPolicy},
    http::begins_as,
};

/// The content type of Connect calls with protobuf.
pub(super) const CONTENT_TYPE: &str = "application/proto";

/// Whether the request's path can name a method of Jina's services.
pub(super) fn has_path(request: &http::Request<Body>) -> bool {
    request.uri().path().starts_with("/jina.")
}

/// Serves Connect over these gRPC routes. `max_body_bytes` limits a body before it is decompressed.
pub fn router(grpc: Router, max_body_bytes: usize, cors: CorsPolicy) -> Router {
    let router = Router::new()
        .fallback(call)
        .with_state((grpc, max_body_bytes));
    match cors {
        CorsPolicy::SameOrigin => router,
        CorsPolicy::AnyOrigin => router.layer(axum::middleware::from_fn(cors::apply)),
    }
}

/// Jina's only streaming method.
const STREAMING_METHOD: &str = "/jina.JinaRPC/Call";

/// The prefix of a gRPC message: a compression flag and four bytes of length.
const PREFIX_BYTES: usize = 5;

async fn call(State((grpc, max_body_bytes)): State<(Router, usize)>, request: Request) -> Response {
    if request.method() != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if request.uri().path() == STREAMING_METHOD {
        return error_response(&Status::unimplemented(
            "streaming methods are not supported over Connect: call this method over gRPC-Web",
        ));
    }
    let outcome = async {
        let request = to_grpc(request, max_body_bytes)?;
        let answer = match grpc.oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        from_grpc(answer).await
    };
    outcome
        .await
        .unwrap_or_else(|status| error_response(&status))
}

/// Translates a Connect request. The body is read only when the gRPC routes poll it, after they have authenticated the
/// caller.
fn to_grpc(request: Request, max_body_bytes: usize) -> Result<Request, Status> {
    let (mut head, body) = request.into_parts();
    let headers = &mut head.headers;
    let encoding = headers
        .remove(header::CONTENT_ENCODING)
        .filter(|encoding| encoding != "identity");
    let message = stream::once(read_message(body, max_body_bytes, encoding.clone()));
    if let Some(encoding) = encoding {
        headers.insert("grpc-encoding", encoding);
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

/// Reads the body as a gRPC message with its prefix. It counts as compressed if it begins as its `content-encoding` says: a REST
/// API decompresses what it passes on, and leaves the header.
async fn read_message(
    body: Body,
    max_body_bytes: usize,
    encoding: Option<HeaderValue>,
) -> Result<Bytes, Status> {
    let body = Limited::new(body, max_body_bytes)
        .collect()
        .await
        .map_err(|error| read_error(error, max_body_bytes))?;
    let body = body.to_bytes();
    let length = u32::try_from(body.len()).map_err(|_| {
        Status::resource_exhausted("the body is larger than 4 GiB, the limit of a gRPC message")
    })?;
    let is_compressed = encoding.is_some_and(|encoding| begins_as(&body, &encoding));
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + body.len());
    message.put_u8(u8::from(is_compressed));
    message.put_u32(length);
    message.put(body);
    Ok(message.freeze())
}

/// Returns why the body could not be read. A status among the causes says it best.
fn read_error(error: BoxError, max_body_bytes: usize) -> Status {
    if error.is::<LengthLimitError>() {
        return Status::resource_exhausted(format!(
            "the body is larger than the limit of {max_body_bytes} bytes"
        ));
    }
    if body_error::is_timeout(&*error) {
        return Status::deadline_exceeded(body_error::TIMEOUT_DETAIL);
    }
    Status::from_error(error)
}

/// Translates `connect-timeout-ms`, which has at most ten digits, to `grpc-timeout`, which has at most eight and a unit.
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
        .ok_or_else(|| {
            Status::invalid_argument(
                "connect-timeout-ms: expected milliseconds in at most ten digits",
            )
        })
}

/// Translates the gRPC answer to a Connect one.
async fn from_grpc(answer: Response) -> Result<Response, Status> {
    let (mut head, body) = answer.into_parts();
    // Removed because in an error the remaining headers are read as metadata.
    head.headers.remove(header::CONTENT_TYPE);
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Err(status);
    }
    let invalid = || Status::internal("invalid gRPC answer");
    // No limit: the answer comes from this process.
    let body = body.collect().await.map_err(|_| invalid())?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    if let Some(status) = Status::from_header_map(&trailers)
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let message = body.to_bytes();
    let message = match message.get(..PREFIX_BYTES) {
        Some([0, ..]) => message.slice(PREFIX_BYTES..),
        _ => return Err(invalid()),
    };
    head.headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    append_trailers(&mut head.headers, &trailers);
    Ok(Response::from_parts(head, Body::from(message)))
}

/// Adds trailing metadata as headers with the prefix `trailer-`.
fn append_trailers(headers: &mut HeaderMap, trailers: &HeaderMap) {
    for (name, value) in trailers {
        let is_grpc_status = name.as_str().starts_with("grpc-");
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}"))
            && !is_grpc_status
        {
            headers.append(name, value.clone());
        }
    }
}

/// Returns the response of a failed call.
pub(crate) fn error_response(status: &Status) -> Response {
    let (code, http_status) = error_code(status.code());
    let error = json!({ "code": code, "message": status.message() });
    let mut response = (
        http_status,
        [(header::CONTENT_TYPE, "application/json")],
        Bytes::from(error.to_string()),
    )
        .into_response();
    let metadata = status.metadata().clone().into_headers();
    if let Some(retry_after) = metadata.get(header::RETRY_AFTER) {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, retry_after.clone());
    }
    append_trailers(response.headers_mut(), &metadata);
    response
}

/// Returns Connect's name and HTTP status of a gRPC code.
const fn error_code(code: Code) -> (&'static str, StatusCode) {
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

/// 499, Connect's status of a cancelled call.
const CANCELLED: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
};

#[cfg(test)]
mod tests {
    use flowgate_proto::{Compression, invoke::compress};

    use super::*;

    #[tokio::test]
    async fn a_body_is_compressed_if_it_begins_as_its_encoding_says() {
        let gzip = compress(b"\x0a\x00", Compression::Gzip).expect("compressed");
        for (body, encoding, flag) in [
            (gzip.clone(), Some("gzip"), 1),
            (b"\x0a\x00".to_vec(), Some("gzip"), 0),
            (b"\x0a\x00".to_vec(), Some("br"), 1),
            (gzip, None, 0),
        ] {
            let length = body.len();
            let encoding = encoding.map(HeaderValue::from_static);
            let message = read_message(Body::from(body), 100, encoding).await;
            let message = message.expect("a message");
            assert_eq!((message[0], message.len()), (flag, PREFIX_BYTES + length));
        }
    }
}
