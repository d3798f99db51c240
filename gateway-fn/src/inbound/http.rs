//! Serves Jina's REST routes over HTTP and answers as Jina 3.13 (FastAPI) does.
//!
//! `routes` defines the routes, `table` finds the route of a request, `data` sends its body through the Flow, and `openapi`
//! and `docs` document the routes.

mod body;

mod data;

mod docs;

mod openapi;

mod path;

mod reject;

mod routes;

mod table;

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flowgate_auth::{AuthError, Caller};
use flowgate_config::{HttpConfig, Limits, Protocol};
use flowgate_proto::json::{self, JsonStyle};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Scheme};
use tracing::Instrument as _;

use super::{Services, cors};
use crate::context::Context;
pub(crate) use body::{accepts_encoding, begins_as};
pub use docs::Scripts;
use openapi::ApiInfo;
use reject::Rejection;
use routes::Action;
use table::{RouteMatch, RouteTable};

/// Returns the routes of the HTTP port.
pub fn router(
    services: &Services,
    config: &HttpConfig,
    limits: &Limits,
    scripts: Scripts,
) -> Router {
    let service = HttpService {
        services: services.clone(),
        table: RouteTable::new(routes::http_port(config, scripts)),
        api_info: ApiInfo::http_port(config),
        scripts,
        protocols: &[Protocol::Http],
        max_body_bytes: limits.max_message_bytes,
        openapi: OnceLock::new(),
    };
    let router = service.into_router();
    if !config.cors {
        return router;
    }
    tracing::warn!("CORS is on: pages of any website can call this Gateway");
    router.layer(middleware::from_fn(cors::apply))
}

/// Returns the plain HTTP routes of the WebSocket port. The settings of the HTTP port do not apply to them (Jina 3.13).
pub fn websocket_port_router(services: &Services, scripts: Scripts) -> Router {
    let service = HttpService {
        services: services.clone(),
        table: RouteTable::new(routes::websocket_port(scripts)),
        api_info: ApiInfo::websocket_port(),
        scripts,
        protocols: &[Protocol::Http, Protocol::WebSocket],
        max_body_bytes: 0,
        openapi: OnceLock::new(),
    };
    service.into_router()
}

/// The prefix that API Gateway removes from every path: a stage or a custom domain's mapping. The host adds it to the
/// request's extensions, because redirects must restore it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPrefix(pub String);

/// The routes of a port and what they need.
struct HttpService {
    services: Services,
    table: RouteTable,
    api_info: ApiInfo,
    scripts: Scripts,
    /// Callers are authenticated if `auth` applies to any of these protocols.
    protocols: &'static [Protocol],
    /// The largest body in bytes; zero if no route reads a body.
    max_body_bytes: usize,
    /// `/openapi.json`, written on the first request for it.
    openapi: OnceLock<Bytes>,
}

impl HttpService {
    /// Uses a single fallback instead of axum's routing, because Starlette answers HEAD only if the route lists it,
    /// decodes paths before it compares them, and allows two routes with the same path, for which axum panics.
    fn into_router(self) -> Router {
        Router::new().fallback(handle).with_state(Arc::new(self))
    }

    /// Authenticates the caller before it can learn whether the route exists. Health checks need no credentials, because
    /// load balancers have none.
    async fn authenticate(
        &self,
        method: &Method,
        raw_path: &str,
        headers: &HeaderMap,
    ) -> Result<Caller, AuthError> {
        let auth = &self.services.auth;
        if !auth.is_enabled()
            || matches!(
                self.table.find(method, raw_path),
                RouteMatch::Found(Action::Health)
            )
        {
            return Ok(Caller::Anonymous);
        }
        let path = path::decode(raw_path);
        auth.authenticate(headers, self.protocols, &path).await
    }

    async fn run(&self, action: &Action, request: Request) -> Result<Response, Rejection> {
        Ok(match action {
            Action::Health if self.services.gateway.is_ready() => json_reply("{}"),
            Action::Health => reject::unready(),
            Action::DryRun => {
                let status = self
                    .services
                    .gateway
                    .dry_run(Context::from_request(
                        request.extensions(),
                        request.headers(),
                    ))
                    .await;
                json_reply(json::write_status(&status, JsonStyle::Http))
            }
            Action::Status => json_reply(json::write_info(&self.services.status.info())),
            Action::Data(endpoint) => {
                // Boxed, because each layer around this moves its future, which would be large.
                Box::pin(data::post(
                    &self.services.gateway,
                    endpoint,
                    self.max_body_bytes,
                    request,
                    self.services.budget.account(),
                ))
                .await?
            }
            Action::OpenApi => json_reply(self.openapi()),
            Action::Page(page) => self.scripts.page(*page, &self.api_info.title),
            Action::Asset(asset) => asset.serve(request.headers()),
        })
    }

    fn openapi(&self) -> Bytes {
        let write = || {
            let version = self.services.status.info().jina.remove("jina");
            openapi::write(&self.api_info, version, self.table.routes())
        };
        self.openapi.get_or_init(write).clone()
    }
}

async fn handle(State(service): State<Arc<HttpService>>, request: Request) -> Response {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    match service.authenticate(method, path, headers).await {
        Ok(caller) => dispatch(service, request).instrument(caller.span()).await,
        Err(error) => error.into_response(),
    }
}

async fn dispatch(service: Arc<HttpService>, request: Request) -> Response {
    let outcome = match service.table.find(request.method(), request.uri().path()) {
        RouteMatch::Found(action) => service.run(action, request).await,
        RouteMatch::MethodNotAllowed { allow } => Err(Rejection::MethodNotAllowed { allow }),
        RouteMatch::Redirect(path) => redirect(&path, &request),
        RouteMatch::NotFound => Err(Rejection::NotFound),
    };
    outcome.unwrap_or_else(IntoResponse::into_response)
}

fn json_reply(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// Redirects with status 307 to `path` on the same host, as an absolute URL like Starlette's.
fn redirect(path: &str, request: &Request) -> Result<Response, Rejection> {
    let uri = request.uri();
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(http::uri::Authority::as_str),
    };
    // An HTTP/1 request does not show whether it came over TLS, so the host adds the scheme.
    let scheme = request
        .extensions()
        .get::<Scheme>()
        .or_else(|| uri.scheme());
    let scheme = scheme.unwrap_or(&Scheme::HTTP);
    let origin = host.map(|host| format!("{scheme}://{host}"));
    let query = uri.query().map(|query| format!("?{query}"));
    let prefix = request.extensions().get::<PathPrefix>();
    let location = [
        origin.unwrap_or_default().as_str(),
        prefix.map_or("", |prefix| prefix.0.as_str()),
        path,
        &query.unwrap_or_default(),
    ]
    .concat();
    let location = HeaderValue::try_from(location).map_err(|_| Rejection::NotFound)?;
    Ok((
        StatusCode::TEMPORARY_REDIRECT,
        [(header::LOCATION, location)],
    )
        .into_response())
}

#[cfg(test)]
mod tests;
