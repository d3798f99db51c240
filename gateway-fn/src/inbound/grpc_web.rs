//! Serves the gRPC routes over gRPC-Web, binary and text, for clients and proxies that cannot use HTTP/2 trailers.

use axum::{Router, extract::Request, middleware::Next, response::Response};
use flowgate_grpc::GrpcWebLayer;
use http::{HeaderValue, header};

use super::cors::{self, CorsPolicy};

/// Serves gRPC-Web over these gRPC routes.
pub fn router(grpc: Router, cors: CorsPolicy) -> Router {
    let router = grpc.layer(GrpcWebLayer::new());
    match cors {
        CorsPolicy::SameOrigin => router,
        CorsPolicy::AnyOrigin => router.layer(axum::middleware::from_fn(apply_cors)),
    }
}

/// The headers that a page's script may read: a failed call has its status there, not in the body.
const EXPOSED_HEADERS: &str = "grpc-status, grpc-message, grpc-status-details-bin, is-error";

async fn apply_cors(request: Request, next: Next) -> Response {
    let mut response = cors::apply(request, next).await;
    let headers = response.headers_mut();
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
    response
}
