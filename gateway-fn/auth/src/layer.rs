//! Axum middleware that authenticates requests to gRPC and WebSocket routes. HTTP routes are not wrapped: the HTTP
//! server authenticates after it has found the route, because its health check is open.

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use flowgate_config::Protocol;
use http::{HeaderValue, header};
use tracing::Instrument as _;

use super::{Auth, credentials};

/// Requires authentication for gRPC routes.
pub fn protect_grpc(routes: Router, auth: &Auth) -> Router {
    protect_grpc_as(routes, auth, &[Protocol::Grpc])
}

/// Requires authentication for gRPC-Web and Connect, which HTTP ports and Lambda functions serve too, if `auth` covers
/// gRPC or HTTP.
pub fn protect_grpc_over_http(routes: Router, auth: &Auth) -> Router {
    protect_grpc_as(routes, auth, &[Protocol::Grpc, Protocol::Http])
}

fn protect_grpc_as(routes: Router, auth: &Auth, protocols: &'static [Protocol]) -> Router {
    if !auth.is_enabled() {
        return routes;
    }
    routes.layer(from_fn_with_state(
        (auth.clone(), protocols),
        authenticate_grpc,
    ))
}

/// Requires authentication for WebSocket routes, before the upgrade.
pub fn protect_websocket(routes: Router, auth: &Auth) -> Router {
    if !auth.is_enabled() {
        return routes;
    }
    routes.layer(from_fn_with_state(auth.clone(), authenticate_websocket))
}

async fn authenticate_grpc(
    State((auth, protocols)): State<(Auth, &'static [Protocol])>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    match auth.authenticate(request.headers(), protocols, path).await {
        Ok(caller) => next.run(request).instrument(caller.span()).await,
        Err(error) => error
            .grpc_status()
            .into_http::<axum::body::Body>()
            .into_response(),
    }
}

async fn authenticate_websocket(
    State(auth): State<Auth>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let authenticated = auth.authenticate(request.headers(), &[Protocol::WebSocket], path);
    match authenticated.await {
        Ok(caller) => {
            let upgrade = upgrade_without_credential(request, next);
            upgrade.instrument(caller.span()).await
        }
        Err(error) => error.into_response(),
    }
}

/// Upgrades to a WebSocket without passing on a credential from the subprotocols. A browser that offers subprotocols
/// closes the connection unless the server selects one. The server selects the first subprotocol that is not the
/// credential.
async fn upgrade_without_credential(mut request: Request, next: Next) -> Response {
    let Some(others) = credentials::subprotocols_without_credential(request.headers()) else {
        return next.run(request).await;
    };
    let first = others
        .first()
        .and_then(|first| HeaderValue::from_str(first).ok());
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    request.headers_mut().remove(&name);
    if let Some(first) = &first {
        request.headers_mut().insert(&name, first.clone());
    }
    let mut response = next.run(request).await;
    if let Some(first) = first {
        response.headers_mut().insert(name, first);
    }
    response
}
