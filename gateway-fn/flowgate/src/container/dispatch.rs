//! One port's requests -> the protocol they speak, told apart request by request.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header, uri::Scheme},
    response::{IntoResponse as _, Response},
};
use flowgate_config::Protocol;
use gateway::inbound::Dialect;
use tower::ServiceExt as _;

/// The routes of each protocol that a port speaks.
#[derive(Clone, Debug, Default)]
pub(super) struct Dispatch {
    pub(super) grpc: Option<Router>,
    pub(super) http: Option<Router>,
    /// The gRPC services for clients without HTTP/2, on gRPC and HTTP ports.
    pub(super) grpc_web: Option<Router>,
    pub(super) connect: Option<Router>,
    /// For requests that ask for an upgrade.
    pub(super) websocket: Option<Router>,
    /// Plain HTTP on a WebSocket port.
    pub(super) debug: Option<Router>,
    /// Whether requests come over TLS.
    pub(super) tls: bool,
}

impl Dispatch {
    /// The same routes without the protocols that are not named.
    pub(super) fn only(&self, protocols: &[Protocol]) -> Self {
        let speaks = |protocol| protocols.contains(&protocol);
        let speaks_calls = speaks(Protocol::Grpc) || speaks(Protocol::Http);
        Self {
            grpc: self.grpc.clone().filter(|_| speaks(Protocol::Grpc)),
            http: self.http.clone().filter(|_| speaks(Protocol::Http)),
            grpc_web: self.grpc_web.clone().filter(|_| speaks_calls),
            connect: self.connect.clone().filter(|_| speaks_calls),
            websocket: self
                .websocket
                .clone()
                .filter(|_| speaks(Protocol::WebSocket)),
            debug: self
                .debug
                .clone()
                .filter(|_| speaks(Protocol::WebSocket) && !speaks(Protocol::Http)),
            tls: self.tls,
        }
    }

    pub(super) async fn respond(&self, mut request: Request<Body>) -> Response {
        if self.tls {
            request.extensions_mut().insert(Scheme::HTTPS);
        }
        let Some(router) = self.router(&request) else {
            return (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this port speaks gRPC only\n",
            )
                .into_response();
        };
        match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn router(&self, request: &Request<Body>) -> Option<&Router> {
        let headers = request.headers();
        let plain = self.http.as_ref().or(self.debug.as_ref());
        match Dialect::of(request) {
            Dialect::GrpcWeb => return self.grpc_web.as_ref().or(plain),
            Dialect::Connect => return self.connect.as_ref().or(plain),
            Dialect::Grpc => return self.grpc.as_ref().or(plain),
            Dialect::Http => {}
        }
        if is_upgrade(headers) {
            return self.websocket.as_ref().or(plain);
        }
        // A page asks before it calls; where HTTP is spoken, its routes answer that.
        plain.or_else(|| self.grpc_web.as_ref().filter(|_| is_preflight(request)))
    }
}

fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
