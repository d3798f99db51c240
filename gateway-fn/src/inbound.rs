//! Translates client protocols to [`flowgate_proto::DataRequest`] and answers back. Each adapter passes requests to a
//! [`Gateway`](crate::gateway::Gateway); none of them knows the graph.

mod body_error;

pub mod bounded;

pub mod connect;

mod cors;

mod decoded;

pub mod grpc;

pub mod grpc_web;

pub mod http;

mod services;

pub mod websocket;

use axum::body::Body;

pub(crate) use cors::CorsOrigin;
pub use cors::CorsPolicy;
pub use services::{Services, StartError, min_rate};

/// The protocol of a request: several share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProtocol {
    /// gRPC.
    Grpc,
    /// gRPC-Web, binary or text.
    GrpcWeb,
    /// A unary call of the Connect protocol.
    Connect,
    /// Anything else.
    Http,
}

impl ClientProtocol {
    /// Determines the protocol from the request's content type, and for Connect also from its path.
    #[must_use]
    pub fn of(request: &::http::Request<Body>) -> Self {
        let content_type = request.headers().get(::http::header::CONTENT_TYPE);
        let content_type = content_type.map_or(&[][..], ::http::HeaderValue::as_bytes);
        if content_type.starts_with(b"application/grpc-web") {
            Self::GrpcWeb
        } else if content_type.starts_with(b"application/grpc") {
            Self::Grpc
        } else if content_type == connect::CONTENT_TYPE.as_bytes() && connect::has_path(request) {
            Self::Connect
        } else {
            Self::Http
        }
    }
}
