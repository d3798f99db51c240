//! A request -> how it speaks, which says whose routes it is for: several ways share one port.

use axum::body::Body;
use http::{HeaderMap, Request, header};

use super::{connect, grpc_web};

/// How a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gRPC itself.
    Grpc,
    /// gRPC-Web, binary or text.
    GrpcWeb,
    /// A unary call of Connect's.
    Connect,
    /// Anything else.
    Http,
}

impl Dialect {
    /// By the request's content type, and for Connect its path.
    #[must_use]
    pub fn of(request: &Request<Body>) -> Self {
        if grpc_web::is(request.headers()) {
            Self::GrpcWeb
        } else if connect::is(request) {
            Self::Connect
        } else if is_grpc(request.headers()) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
