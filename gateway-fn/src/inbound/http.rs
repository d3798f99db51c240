//! HTTP -> Gateway -> HTTP: Jina's REST routes, answered as Jina 3.13 (FastAPI) answers them.
//!
//! `routes` says which routes there are, `table` finds the one a request means, `data` sends its
//! body through the Flow, and `openapi` and `docs` describe the same routes to people.

mod body;

pub(crate) mod cors;

mod data;

mod docs;

mod openapi;

pub(crate) mod path;

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
use flowgate_proto::json::{self, Form};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Scheme};
use tracing::Instrument as _;

use super::Services;
use crate::context::Context;
pub(crate) use body::accepts_encoding;
pub use docs::Scripts;
use openapi::ApiInfo;
use reject::Rejection;
use routes::Action;
use table::{RouteMatch, RouteTable};

/// What a Gateway serves on its HTTP port.
pub fn router(
    services: &Services,
    config: &HttpConfig,
    limits: &Limits,
    scripts: Scripts,
) -> Router {
    let http = Http {
        services: services.clone(),
        table: RouteTable::new(routes::http_port(config, scripts)),
        api_info: ApiInfo::http_port(config),
        scripts,
        protocols: &[Protocol::Http],
        max_body_bytes: limits.max_message_bytes,
        openapi: OnceLock::new(),
    };
    let router = http.into_router();
    if !config.cors {
        return router;
    }
    tracing::warn!("CORS is on: every website can use this Gateway");
    router.layer(middleware::from_fn(cors::apply))
}

/// What a Gateway serves over plain HTTP on its WebSocket port, whatever the settings of the HTTP port
/// (Jina 3.13).
pub fn debug_router(services: &Services, scripts: Scripts) -> Router {
    let http = Http {
        services: services.clone(),
        table: RouteTable::new(routes::websocket_port(scripts)),
        api_info: ApiInfo::websocket_port(),
        scripts,
        protocols: &[Protocol::Http, Protocol::WebSocket],
        max_body_bytes: 0,
        openapi: OnceLock::new(),
    };
    http.into_router()
}

/// What stands before every path at the front door and is not part of the request's own: a stage, the mapping of a
/// domain. A host puts it into the request's extensions; redirects need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(pub String);

/// One listener's routes over one Gateway.
struct Http {
    services: Services,
    table: RouteTable,
    api_info: ApiInfo,
    scripts: Scripts,
    /// Whose callers must say who they are, if any of these must.
    protocols: &'static [Protocol],
    /// Nought where no route takes a body.
    max_body_bytes: usize,
    /// `/openapi.json`, written when it is first asked for.
    openapi: OnceLock<Bytes>,
}

impl Http {
    /// One fallback in place of axum's own routes: Starlette answers HEAD only where a route says so,
    /// decodes the path before it compares, and lets two routes share a path, at which axum panics.
    fn into_router(self) -> Router {
        Router::new().fallback(answer).with_state(Arc::new(self))
    }

    /// Whoever may see this route, or learn that there is none. A load balancer that asks for the health need not say
    /// who it is.
    async fn admit(
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

    async fn act(&self, action: &Action, request: Request) -> Result<Response, Rejection> {
        Ok(match action {
            Action::Health => json_reply("{}"),
            Action::DryRun => {
                let status = self
                    .services
                    .gateway
                    .dry_run(Context::of(request.extensions(), request.headers()))
                    .await;
                json_reply(json::write_status(&status, Form::Http))
            }
            Action::Status => json_reply(json::write_info(&self.services.status.info())),
            Action::Data(endpoint) => {
                data::post(
                    &self.services.gateway,
                    endpoint,
                    self.max_body_bytes,
                    request,
                )
                .await?
            }
            Action::OpenApi => json_reply(self.openapi()),
            Action::Page(page) => self.scripts.page(*page, &self.api_info.title),
            Action::Asset(asset) => asset.serve(request.headers()),
        })
    }

    fn openapi(&self) -> Bytes {
        let write = || {
<<<<<<< HEAD
            let version = self.services.status.info().jina.remove("jina");
            openapi::write(&self.about, version, self.table.routes())
=======
            let version = self.gateway.info().jina.remove("jina");
            openapi::write(&self.api_info, version, self.table.routes())
>>>>>>> 59dd9c2 (Keep the recorded OpenAPI schemas as JSON)
        };
        self.openapi.get_or_init(write).clone()
    }
}

async fn answer(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    match http.admit(method, path, headers).await {
        Ok(caller) => route(http, request).instrument(caller.span()).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn route(http: Arc<Http>, request: Request) -> Response {
    let found = match http.table.find(request.method(), request.uri().path()) {
        RouteMatch::Found(action) => http.act(action, request).await,
        RouteMatch::MethodNotAllowed { allow } => Err(Rejection::MethodNotAllowed { allow }),
        RouteMatch::Redirect(path) => redirect(&path, &request),
        RouteMatch::NotFound => Err(Rejection::NotFound),
    };
    found.unwrap_or_else(IntoResponse::into_response)
}

fn json_reply(body: impl Into<Bytes>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// 307 to `path` on the same host, which Starlette names in full.
fn redirect(path: &str, request: &Request) -> Result<Response, Rejection> {
    let uri = request.uri();
    let host = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => uri.authority().map(http::uri::Authority::as_str),
    };
    // HTTP/1 does not say in the request whether it came over TLS; the host does.
    let told = request
        .extensions()
        .get::<Scheme>()
        .or_else(|| uri.scheme());
    let scheme = told.unwrap_or(&Scheme::HTTP);
    let origin = host.map(|host| format!("{scheme}://{host}"));
    let query = uri.query().map(|query| format!("?{query}"));
    let prefix = request.extensions().get::<Prefix>();
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
