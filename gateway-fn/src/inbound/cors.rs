//! Implements the Gateway option `cors`: requests from any website, with credentials, answered like Starlette's
//! middleware with the settings of Jina 3.13.

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// Which web pages may call the Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsPolicy {
    /// Pages that the Gateway itself serves.
    SameOrigin,
    /// Pages of any website.
    AnyOrigin,
}

impl From<bool> for CorsPolicy {
    /// Reads the Gateway option `cors`.
    fn from(cors: bool) -> Self {
        if cors {
            Self::AnyOrigin
        } else {
            Self::SameOrigin
        }
    }
}

/// Answers preflight requests, and adds CORS headers to the answers of other requests with an `origin`.
pub(super) async fn apply(request: Request<Body>, next: Next) -> Response {
    let headers = request.headers();
    let Some(origin) = CorsOrigin::from_headers(headers) else {
        return next.run(request).await;
    };
    if request.method() == Method::OPTIONS
        && let Some(method) = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        let wanted_headers = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        return answer_preflight(origin.origin, method, wanted_headers);
    }
    let mut response = next.run(request).await;
    origin.allow(response.headers_mut());
    response
}

/// The website that sent a request, from the header `origin` that browsers set.
#[derive(Clone, Debug)]
pub(crate) struct CorsOrigin {
    origin: HeaderValue,
    has_cookie: bool,
}

impl CorsOrigin {
    /// Reads the origin of a request.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Some(Self {
            origin: headers.get(header::ORIGIN)?.clone(),
            has_cookie: headers.contains_key(header::COOKIE),
        })
    }

    /// Allows the website to read a response that does not come from the routes, unless its headers already do.
    pub(crate) fn allow_if_missing(self, response_headers: &mut HeaderMap) {
        if !response_headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            self.allow(response_headers);
        }
    }

    /// Allows the website to read a response. Browsers reject `*` for requests with cookies, which need the origin's name.
    fn allow(self, response_headers: &mut HeaderMap) {
        response_headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        if self.has_cookie {
            response_headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin);
            response_headers.append(header::VARY, HeaderValue::from_static("Origin"));
        } else {
            response_headers.insert(
                header::ACCESS_CONTROL_ALLOW_ORIGIN,
                HeaderValue::from_static("*"),
            );
        }
    }
}

fn answer_preflight(
    origin: HeaderValue,
    method: &HeaderValue,
    wanted_headers: Option<&HeaderValue>,
) -> Response {
    let is_allowed = method
        .to_str()
        .is_ok_and(|method| METHODS.split(", ").any(|allowed| allowed == method));
    let (status, text) = if is_allowed {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::BAD_REQUEST, "Disallowed CORS method")
    };
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::VARY, "Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
        (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if let Some(wanted) = wanted_headers {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}
