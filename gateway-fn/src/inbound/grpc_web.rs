//! gRPC-Web, binary and text, -> the gRPC routes: gRPC for clients and front doors that know no HTTP/2 trailers.

use axum::{Router, extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderValue, header};
use tonic_web::GrpcWebLayer;

use super::http::cors;

/// Whether a request is gRPC-Web, by its content type.
#[must_use]
pub fn is(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc-web"))
}

/// gRPC-Web over these gRPC routes. With `cors`, pages of any origin may call, as over HTTP.
pub fn router(grpc: Router, cors: Cors) -> Router {
    let router = grpc.layer(GrpcWebLayer::new());
    match cors {
        Cors::SameOrigin => router,
        Cors::AnyOrigin => router.layer(axum::middleware::from_fn(apply_cors)),
    }
}

/// Whose pages may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Those that the Gateway itself serves.
    SameOrigin,
    /// Anybody's.
    AnyOrigin,
}

impl From<bool> for Cors {
    fn from(cors: bool) -> Self {
        if cors {
            Self::AnyOrigin
        } else {
            Self::SameOrigin
        }
    }
}

/// What a page's script may read of an answer: a failed call has its status in the headers, not in the body.
const EXPOSED: &str = "grpc-status, grpc-message, grpc-status-details-bin, is-error";

async fn apply_cors(request: Request, next: Next) -> Response {
    let mut response = cors::apply(request, next).await;
    let headers = response.headers_mut();
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
    response
}
