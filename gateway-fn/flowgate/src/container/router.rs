//! Routes each request on a port to the protocol that it uses.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header, uri::Scheme},
    response::{IntoResponse as _, Response},
};
use flowgate_config::Protocol;
use flowgate_server::{
    MinRate, PacedBody,
    http2::{self, Exchange},
};
use gateway::{
    context::ConnectionLoad,
    inbound::{
        ClientProtocol,
        grpc::{DataMethod, DataMethods, is_grpc},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::ServiceExt as _;

/// What a connection allows its requests.
#[derive(Clone, Debug)]
pub(super) struct RequestRules {
    /// The least that a client must send of a body.
    pub(super) min_rate: MinRate,
    /// Set on a connection over the limit, and cancelled with its first response.
    pub(super) over_limit: Option<CancellationToken>,
    /// The requests that are in flight, without those of WebSockets.
    pub(super) load: ConnectionLoad,
}

/// The routes of each protocol that a port serves.
#[derive(Clone, Debug, Default)]
pub(super) struct PortRouter {
    /// The methods of gRPC that carry data.
    pub(super) data_methods: Option<DataMethods>,
    /// The other methods of gRPC.
    pub(super) grpc: Option<Router>,
    pub(super) http: Option<Router>,
    /// The gRPC services for clients without HTTP/2, on gRPC and HTTP ports.
    pub(super) grpc_web: Option<Router>,
    /// The gRPC services for clients that use Connect.
    pub(super) connect: Option<Router>,
    /// The routes for requests that ask for an upgrade.
    pub(super) websocket: Option<Router>,
    /// The routes for plain HTTP on a WebSocket port.
    pub(super) websocket_port_http: Option<Router>,
    /// Whether requests come over TLS.
    pub(super) is_tls: bool,
}

impl PortRouter {
    /// Returns the same routes without the routes of other protocols.
    pub(super) fn for_protocols(&self, protocols: &[Protocol]) -> Self {
        let has = |protocol| protocols.contains(&protocol);
        let has_calls = has(Protocol::Grpc) || has(Protocol::Http);
        let has_websocket_only = has(Protocol::WebSocket) && !has(Protocol::Http);
        let keep_if = |router: &Option<Router>, is_kept| router.clone().filter(|_| is_kept);
        Self {
            data_methods: self.data_methods.clone().filter(|_| has(Protocol::Grpc)),
            grpc: keep_if(&self.grpc, has(Protocol::Grpc)),
            http: keep_if(&self.http, has(Protocol::Http)),
            grpc_web: keep_if(&self.grpc_web, has_calls),
            connect: keep_if(&self.connect, has_calls),
            websocket: keep_if(&self.websocket, has(Protocol::WebSocket)),
            websocket_port_http: keep_if(&self.websocket_port_http, has_websocket_only),
            is_tls: self.is_tls,
        }
    }

    /// Answers a request over HTTP/2: a data method of gRPC directly, anything else by its routes.
    pub(super) async fn exchange(self: Arc<Self>, rules: RequestRules, exchange: Exchange) {
        if let Some(methods) = &self.data_methods
            && let Some(method) = DataMethod::of(&exchange.request)
            && rules.over_limit.is_none()
        {
            return methods.serve(method, &rules.load, exchange).await;
        }
        let Exchange { request, respond } = exchange;
        let method = request.method().clone();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(rules.load.clone());
        let body = http2::RequestBody::new(body, &head.headers);
        // The routes of gRPC pace each message, because the streams of a method like reflection may pause. gRPC-Web has no
        // such streams.
        let body = match self.grpc.is_some() && is_grpc(&head.headers) {
            true => Body::new(body),
            false => Body::new(PacedBody::new(body, rules.min_rate)),
        };
        let request = Request::from_parts(head, body);
        let response = self.handle_by(&rules, request).await;
        http2::respond(&method, rules.min_rate, response, respond).await;
    }

    /// Answers a request by the routes of its protocol, as far as the rules allow it.
    pub(super) async fn handle_by(&self, rules: &RequestRules, request: Request<Body>) -> Response {
        let Some(over_limit) = &rules.over_limit else {
            return self.handle(request).await;
        };
        let response = self.handle_over_limit(request).await;
        over_limit.cancel();
        response
    }

    /// Answers the first and only request of a connection over the limit: a health check by its route, anything else with
    /// an error.
    async fn handle_over_limit(&self, request: Request<Body>) -> Response {
        let is_http1 = request.version() <= Version::HTTP_11;
        let mut response = match is_health_check(&request) {
            true => self.handle(request).await,
            false => over_limit_error(ClientProtocol::of(&request)),
        };
        if is_http1 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    /// Answers a request by the routes of its protocol.
    async fn handle(&self, mut request: Request<Body>) -> Response {
        if self.is_tls {
            request.extensions_mut().insert(Scheme::HTTPS);
        }
        let Some(router) = self.router_for(&request) else {
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

    fn router_for(&self, request: &Request<Body>) -> Option<&Router> {
        let plain_http = self.http.as_ref().or(self.websocket_port_http.as_ref());
        match ClientProtocol::of(request) {
            ClientProtocol::GrpcWeb => return self.grpc_web.as_ref().or(plain_http),
            ClientProtocol::Connect => return self.connect.as_ref().or(plain_http),
            ClientProtocol::Grpc => return self.grpc.as_ref().or(plain_http),
            ClientProtocol::Http => {}
        }
        if is_upgrade(request.headers()) {
            return self.websocket.as_ref().or(plain_http);
        }
        // On a port without HTTP, the preflight of a gRPC-Web call from a browser goes to gRPC-Web.
        plain_http.or_else(|| self.grpc_web.as_ref().filter(|_| is_preflight(request)))
    }
}

/// Returns the error for a request on a connection over the limit.
fn over_limit_error(protocol: ClientProtocol) -> Response {
    let detail = "this Gateway has as many connections as `limits.max_connections` allows";
    let body = match protocol {
        ClientProtocol::Grpc | ClientProtocol::GrpcWeb => {
            return Status::unavailable(detail).into_http();
        }
        ClientProtocol::Connect => json!({ "code": "unavailable", "message": detail }),
        ClientProtocol::Http => json!({ "detail": detail }),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::RETRY_AFTER, "1"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response()
}

/// Whether a load balancer or Kubernetes asks for the state of the Gateway.
fn is_health_check(request: &Request<Body>) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/" | "/status" | "/dry_run" => is_read && !is_upgrade(request.headers()),
        "/grpc.health.v1.Health/Check"
        | "/jina.JinaGatewayDryRunRPC/dry_run"
        | "/jina.JinaInfoRPC/_status" => true,
        _ => false,
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
