//! Routes -> the same routes behind the door: gRPC's and WebSocket's. HTTP asks for itself, once it knows which route is
//! meant.

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

/// gRPC routes for those who may call.
pub fn grpc(routes: Router, auth: &Auth) -> Router {
    guard_grpc(routes, auth, &[Protocol::Grpc])
}

/// gRPC routes behind gRPC-Web or Connect, which HTTP ports and functions have too: what gRPC or HTTP demands counts.
pub fn grpc_over_http(routes: Router, auth: &Auth) -> Router {
    guard_grpc(routes, auth, &[Protocol::Grpc, Protocol::Http])
}

fn guard_grpc(routes: Router, auth: &Auth, protocols: &'static [Protocol]) -> Router {
    if !auth.is_on() {
        return routes;
    }
    routes.layer(from_fn_with_state((auth.clone(), protocols), admit_grpc))
}

/// WebSocket routes for those who may call: others get no WebSocket.
pub fn websocket(routes: Router, auth: &Auth) -> Router {
    if !auth.is_on() {
        return routes;
    }
    routes.layer(from_fn_with_state(auth.clone(), admit_websocket))
}

async fn admit_grpc(
    State((auth, protocols)): State<(Auth, &'static [Protocol])>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    match auth.check_any(request.headers(), protocols, path).await {
        Ok(caller) => next.run(request).instrument(caller.span()).await,
        Err(refusal) => refusal
            .grpc_status()
            .into_http::<axum::body::Body>()
            .into_response(),
    }
}

async fn admit_websocket(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let checked = auth.check(request.headers(), Protocol::WebSocket, path);
    match checked.await {
        Ok(caller) => open(request, next).instrument(caller.span()).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Opens a WebSocket. A client that says who it is among its subprotocols is a browser as a rule, and a browser wants
/// one of them selected: the first of the others, never the one with the secret.
async fn open(mut request: Request, next: Next) -> Response {
    let Some(others) = credentials::without_credential(request.headers()) else {
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
