//! Dispatches an HTTP request to the routes of its protocol, as the container does.

use std::sync::OnceLock;

use axum::{Router, body::Body, response::Response};
use flowgate_config::{GatewayConfig, Protocol};
use http::{Request, StatusCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{
    event::EventSource,
    http_event::HttpEventError,
    response::{self, ResponseFormat},
};
use crate::inbound::{
    ClientProtocol, CorsPolicy, Services, connect, grpc, grpc_web,
    http::{Scripts, router},
};

/// The routes of HTTP, gRPC-Web and Connect.
#[derive(Debug)]
pub(super) struct Routes {
    http: Router,
    /// Made by the first call: few functions receive one, and a cold start need not wait for it.
    grpc: OnceLock<GrpcRoutes>,
    services: Services,
    config: GatewayConfig,
}

#[derive(Debug)]
struct GrpcRoutes {
    grpc_web: Router,
    connect: Router,
}

impl Routes {
    pub(super) fn new(services: &Services, config: &GatewayConfig) -> Self {
        Self {
            http: router(
                services,
                &config.http,
                &config.limits,
                // Embedded scripts would add 4 MB to what a cold start loads, and the function's callers have internet
                // access.
                Scripts::FROM_CDN,
            ),
            grpc: OnceLock::new(),
            services: services.clone(),
            config: config.clone(),
        }
    }

    /// Answers a request. Refuses it if it came through a function URL that anyone can call and neither `public_url`
    /// nor `auth` is set.
    pub(super) async fn respond(
        &self,
        format: &ResponseFormat,
        request: Request<Body>,
    ) -> Response {
        let protocol = format.protocol;
        let is_open = format.source
            == EventSource::FunctionUrl {
                has_authorizer: false,
            };
        if is_open && !self.may_be_open(protocol) {
            return refuse_open_url(protocol);
        }
        let router = match protocol {
            ClientProtocol::GrpcWeb => &self.grpc().grpc_web,
            ClientProtocol::Connect => &self.grpc().connect,
            ClientProtocol::Grpc => {
                return response::http_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, NO_GRPC_DETAIL);
            }
            ClientProtocol::Http => &self.http,
        };
        match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Whether a function URL without authorizer may serve this protocol: by the setting, or because its routes
    /// authenticate callers.
    fn may_be_open(&self, protocol: ClientProtocol) -> bool {
        let auth = &self.config.auth;
        let is_authenticated = |protocol| auth.protocols.contains(&protocol);
        let is_authenticated = match protocol {
            // Authentication for gRPC or for HTTP applies to these too (`auth::layer::protect_grpc_over_http`).
            ClientProtocol::Grpc | ClientProtocol::GrpcWeb | ClientProtocol::Connect => {
                is_authenticated(Protocol::Grpc) || is_authenticated(Protocol::Http)
            }
            ClientProtocol::Http => is_authenticated(Protocol::Http),
        };
        self.config.function.public_url || (auth.is_enabled() && is_authenticated)
    }

    fn grpc(&self) -> &GrpcRoutes {
        self.grpc.get_or_init(|| {
            let never_stopping = CancellationToken::new();
            let (grpc::Routers { over_http, .. }, _) =
                grpc::routers(&self.services, &self.config, &never_stopping);
            let cors = CorsPolicy::from(self.config.http.cors);
            let limit = self.config.limits.max_message_bytes;
            GrpcRoutes {
                grpc_web: grpc_web::router(over_http.clone(), cors),
                connect: connect::router(over_http, limit, cors),
            }
        })
    }
}

fn refuse_open_url(protocol: ClientProtocol) -> Response {
    match protocol {
        ClientProtocol::Http => response::http_error(StatusCode::FORBIDDEN, OPEN_URL_DETAIL),
        ClientProtocol::Grpc | ClientProtocol::GrpcWeb | ClientProtocol::Connect => {
            response::grpc_error(protocol, &tonic::Status::permission_denied(OPEN_URL_DETAIL))
        }
    }
}

/// Returns the response to an event without a valid request, which is the client's mistake: the front door has passed
/// it on.
pub(super) fn refuse_event(error: &HttpEventError) -> Response {
    // Without causes, whose texts quote values such as a credential.
    tracing::debug!(%error, "request refused");
    response::http_error(StatusCode::BAD_REQUEST, &error.to_string())
}

const OPEN_URL_DETAIL: &str = "this function URL has no authorizer, so anyone could call it: set its AuthType to AWS_IAM, \
                        enable `auth` for this protocol in the Flow, or set `public_url: true` under \
                        `gateway.function` to allow it";

const NO_GRPC_DETAIL: &str =
    "gRPC is not supported by Lambda functions: use gRPC-Web or Connect (application/proto)";
