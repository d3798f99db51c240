//! The gateway option `cors`: requests from any website, with credentials, as Starlette's middleware
//! answers them when Jina 3.13 sets it up.

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// Answers preflights itself and marks every other answer to a request that names its origin.
pub(in crate::inbound) async fn apply(request: Request<Body>, next: Next) -> Response {
    let asked = request.headers();
    let Some(origin) = asked.get(header::ORIGIN).cloned() else {
        return next.run(request).await;
    };
    if request.method() == Method::OPTIONS
        && let Some(method) = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        return preflight(
            origin,
            method,
            asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
        );
    }
    let has_cookie = asked.contains_key(header::COOKIE);
    let mut response = next.run(request).await;
    mark(response.headers_mut(), origin, has_cookie);
    response
}

/// What a request says of the page that sends it, for an answer that does not come from the routes.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    origin: HeaderValue,
    has_cookie: bool,
}

impl Page {
    pub(crate) fn of(asked: &HeaderMap) -> Option<Self> {
        Some(Self {
            origin: asked.get(header::ORIGIN)?.clone(),
            has_cookie: asked.contains_key(header::COOKIE),
        })
    }

    /// Lets the page read an answer that is not marked yet.
    pub(crate) fn mark(self, reply: &mut HeaderMap) {
        if !reply.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            mark(reply, self.origin, self.has_cookie);
        }
    }
}

fn preflight(origin: HeaderValue, method: &HeaderValue, headers: Option<&HeaderValue>) -> Response {
    let known = method
        .to_str()
        .is_ok_and(|method| METHODS.split(", ").any(|known| known == method));
    let (status, text) = if known {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::BAD_REQUEST, "Disallowed CORS method")
    };
    let mut response = (status, text).into_response();
    let reply = response.headers_mut();
    reply.insert(header::VARY, HeaderValue::from_static("Origin"));
    reply.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(METHODS),
    );
    reply.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("600"),
    );
    reply.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    reply.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if let Some(headers) = headers {
        reply.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
    response
}

/// Browsers refuse `*` together with a cookie, so then the origin is named.
fn mark(reply: &mut HeaderMap, origin: HeaderValue, has_cookie: bool) {
    reply.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    if has_cookie {
        reply.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        reply.append(header::VARY, HeaderValue::from_static("Origin"));
    } else {
        reply.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    }
}
