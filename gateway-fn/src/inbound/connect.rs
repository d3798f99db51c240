//! Serves unary calls of the Connect protocol with `application/proto` bodies by translating them to gRPC and back.
//!
//! Connect (connectrpc.com, "Connect Protocol") needs only HTTP/1, so `connect-go`, `connect-es` and `curl` can use it
//! through any proxy. Streams and JSON bodies are not supported over Connect: use gRPC-Web or the HTTP routes for them.

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use bytes::{Bytes, BytesMut};
use flowgate_grpc::{Budget, Encoding, Held, MessageError, PREFIX_BYTES, decompress_held, frame};
use flowgate_proto::{Chunks, DECODE_ERROR_PREFIX};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use serde_json::json;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{
    body_error,
    bounded::{Account, IsRead, Kind},
    cors::{self, CorsPolicy},
    http::begins_as,
};

/// The content type of Connect calls with protobuf.
pub(super) const CONTENT_TYPE: &str = "application/proto";

/// Whether the request's path can name a method of Jina's services.
pub(super) fn has_path(request: &http::Request<Body>) -> bool {
    request.uri().path().starts_with("/jina.")
}

/// Serves Connect over these gRPC routes. `max_body_bytes` limits a body before and after it is decompressed.
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

/// In the extensions of a request that came over Connect.
#[derive(Clone, Copy, Debug)]
struct IsCall;

/// Whether these extensions are of a request that came over Connect, whose clients do not know Jina's codes.
pub(super) fn is_call(extensions: &Extensions) -> bool {
    extensions.get::<IsCall>().is_some()
}

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
    let kind = Kind::of(head.uri.path());
    let reading = Reading {
        encoding,
        kind,
        max_bytes: kind.limit(max_body_bytes),
        account: head.extensions.get().cloned(),
    };
    let message = stream::once(reading.message(body))
        .map_ok(|message| stream::iter(frame(message, None)).map(Ok::<_, Status>))
        .try_flatten();
    head.extensions.insert(IsRead);
    head.extensions.insert(IsCall);
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

/// How a body becomes a message. It counts as compressed if it begins as its `content-encoding` says: a REST API decompresses
/// what it passes on, and leaves the header.
struct Reading {
    encoding: Option<HeaderValue>,
    kind: Kind,
    max_bytes: usize,
    account: Option<Account>,
}

impl Reading {
    async fn message(self, body: Body) -> Result<Chunks, Status> {
        let mut held = match &self.account {
            Some(account) => account.open(self.kind),
            // A host that bounds the bytes in another way.
            None => Budget::new(usize::MAX).account(),
        };
        let body = receive(body, self.max_bytes, &mut held).await?;
        let message = match &self.encoding {
            Some(name) if begins_as(&body, name) => self.decompress(name, body, &mut held).await?,
            _ => body,
        };
        if let Some(account) = &self.account {
            account.keep(self.kind, held);
        }
        Ok(message.into())
    }

    async fn decompress(
        &self,
        name: &HeaderValue,
        body: Bytes,
        held: &mut Held,
    ) -> Result<Bytes, Status> {
        let encoding = Encoding::named(name.as_bytes());
        let encoding = encoding.ok_or_else(|| MessageError::UnknownEncoding(name.clone()))?;
        let decompressed = decompress_held(encoding, body.into(), self.max_bytes, Some(held));
        decompressed
            .await
            .map_err(|error| match MessageError::from(error) {
                // The client's mistake ("Connect Protocol", "Unary-Request").
                error @ MessageError::Decompress(_) => Status::invalid_argument(error.to_string()),
                error => error.into(),
            })
    }
}

/// Receives the body, which is counted as it arrives, in one piece.
async fn receive(mut body: Body, max_bytes: usize, held: &mut Held) -> Result<Bytes, Status> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(too_large(max_bytes));
    }
    held.check(announced).map_err(MessageError::from)?;
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(read_error)?.into_data() else {
            continue;
        };
        let received = first.len() + joined.len();
        if data.len() > max_bytes - received {
            return Err(too_large(max_bytes));
        }
        held.add(data.len()).map_err(MessageError::from)?;
        if received == 0 {
            first = data;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut first));
        joined.extend_from_slice(&data);
    }
    match joined.is_empty() {
        true => Ok(first),
        false => Ok(joined.freeze()),
    }
}

fn too_large(limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "the body is larger than the limit of {limit} bytes"
    ))
}

/// Returns why the body could not be read.
fn read_error(error: axum::Error) -> Status {
    match body_error::is_timeout(&error) {
        true => Status::deadline_exceeded(body_error::TIMEOUT_DETAIL),
        false => Status::from_error(error.into()),
    }
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

/// The code of a failed call: invalid protobuf is the client's mistake, which gRPC reports in Jina's words as UNKNOWN. The text
/// of an Executor that could not read a message does not end with its type.
fn code_of(status: &Status) -> Code {
    let text = status.message();
    match status.code() {
        Code::Unknown if text.starts_with(DECODE_ERROR_PREFIX) && text.ends_with('\'') => {
            Code::InvalidArgument
        }
        code => code,
    }
}

/// Returns the response of a failed call.
pub(crate) fn error_response(status: &Status) -> Response {
    let (code, http_status) = error_code(code_of(status));
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
        for (body, encoding, message) in [
            (gzip.clone(), Some("gzip"), Some(b"\x0a\x00".to_vec())),
            (
                b"\x0a\x00".to_vec(),
                Some("gzip"),
                Some(b"\x0a\x00".to_vec()),
            ),
            (b"\x0a\x00".to_vec(), Some("br"), None),
            (gzip.clone(), None, Some(gzip)),
        ] {
            let reading = Reading {
                encoding: encoding.map(HeaderValue::from_static),
                max_bytes: 100,
                kind: Kind::Single,
                account: None,
            };
            let read = reading.message(Body::from(body)).await;
            let read = read.map(|message| message.into_bytes().to_vec());
            assert_eq!(read.ok(), message, "{encoding:?}");
        }
    }

    #[test]
    fn a_small_body_that_becomes_large_is_decompressed_on_another_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .expect("a runtime");
        let gzip = compress(&vec![0; 8 << 20], Compression::Gzip).expect("compressed");
        runtime.block_on(async {
            // The only other thread is busy.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let reading = Reading {
                encoding: Some(HeaderValue::from_static("gzip")),
                max_bytes: 8 << 20,
                kind: Kind::Single,
                account: None,
            };
            let mut reading = std::pin::pin!(reading.message(Body::from(gzip)));
            assert!(futures_util::poll!(reading.as_mut()).is_pending());
            release.send(()).expect("the thread waits");
            busy.await.expect("no panic").expect("released");
            assert_eq!(reading.await.expect("it fits").len(), 8 << 20);
        });
    }
}
