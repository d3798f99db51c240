//! A request of an event -> the routes that answer it, told apart as in the container.

use std::sync::OnceLock;

use axum::{Router, body::Body, response::Response};
use flowgate_config::{GatewayConfig, Protocol};
use flowgate_proto::with_causes;
use http::{Request, StatusCode};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{answer, event::Sender, http::BrokenEvent};
use crate::inbound::{
    Dialect, Services, connect, grpc, grpc_web,
    http::{Scripts, router},
};

/// The routes of HTTP, and those of gRPC for clients that come through a front door.
#[derive(Debug)]
pub(super) struct Routes {
    http: Router,
    /// Made when first asked for: few functions are, and a start need not wait for it.
    calls: OnceLock<Calls>,
    services: Services,
    config: GatewayConfig,
}

#[derive(Debug)]
struct Calls {
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
                // A function has four megabytes to fetch before it starts, and its callers have the internet.
                Scripts::FROM_NETWORK,
            ),
            calls: OnceLock::new(),
            services: services.clone(),
            config: config.clone(),
        }
    }

    /// Answers a request. One through a function URL that anyone may call is refused, unless that is meant.
    pub(super) async fn answer(&self, sender: Sender, request: Request<Body>) -> Response {
        let dialect = Dialect::of(&request);
        if sender == (Sender::FunctionUrl { authorized: false }) && !self.is_public(dialect) {
            return not_public(dialect);
        }
        let router = match dialect {
            Dialect::GrpcWeb => &self.calls().grpc_web,
            Dialect::Connect => &self.calls().connect,
            Dialect::Grpc => return answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, NO_GRPC),
            Dialect::Http => &self.http,
        };
        match router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }

    /// Whether anyone may call so: by the setting, or because these routes ask callers who they are.
    fn is_public(&self, dialect: Dialect) -> bool {
        let asked = |protocol| self.config.auth.protocols.contains(&protocol);
        let is_asked = match dialect {
            // What either demands is demanded of them (`auth::layer::protect_grpc_over_http`).
            Dialect::Grpc | Dialect::GrpcWeb | Dialect::Connect => {
                asked(Protocol::Grpc) || asked(Protocol::Http)
            }
            Dialect::Http => asked(Protocol::Http),
        };
        self.config.function.public_url || (self.config.auth.is_enabled() && is_asked)
    }

    fn calls(&self) -> &Calls {
        self.calls.get_or_init(|| {
            let never = CancellationToken::new();
            let (grpc::Routers { over_http, .. }, _) =
                grpc::routers(&self.services, &self.config, &never);
            let cors = grpc_web::Cors::from(self.config.http.cors);
            let limit = self.config.limits.max_message_bytes;
            Calls {
                grpc_web: grpc_web::router(over_http.clone(), cors),
                connect: connect::router(over_http, limit, cors),
            }
        })
    }
}

fn not_public(dialect: Dialect) -> Response {
    match dialect {
        Dialect::Http => answer::error(StatusCode::FORBIDDEN, NOT_PUBLIC),
        Dialect::Grpc | Dialect::GrpcWeb | Dialect::Connect => {
            answer::refused(dialect, &tonic::Status::permission_denied(NOT_PUBLIC))
        }
    }
}

/// An event whose request cannot be made out: what the front door let through, the client has sent.
pub(super) fn broken(error: &BrokenEvent) -> Response {
    tracing::debug!(
        error = %with_causes(error),
        "a request was refused"
    );
    answer::error(StatusCode::BAD_REQUEST, &error.to_string())
}

const NOT_PUBLIC: &str = "this function URL has no authorizer, so that anyone could call it: give it AWS_IAM, turn on \
                          the Gateway's own auth for this protocol, or say `public_url: true` under `gateway.function` if it is meant";

const NO_GRPC: &str =
    "gRPC does not pass a Lambda function: speak gRPC-Web or Connect (application/proto) here";
