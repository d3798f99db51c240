//! Makes the [`http::Request`] that a client sent from the HTTP event of any front door.

mod path;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, time::SystemTime};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::Scheme};
use serde::Deserialize;

use super::{deadline::from_unix_millis, event::EventSource};
use crate::inbound::http::PathPrefix;

/// An HTTP event: payload version 1.0 or 2.0 of API Gateway, or a load balancer's. Keys that a format lacks are `None`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpEvent<'a> {
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    cookies: Option<Vec<String>>,
    path: Option<String>,
    resource: Option<String>,
    route_key: Option<String>,
    path_parameters: Option<HashMap<String, Option<String>>>,
    http_method: Option<String>,
    query_string_parameters: Option<HashMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<HashMap<String, Option<Vec<String>>>>,
    headers: Option<HashMap<String, Option<String>>>,
    multi_value_headers: Option<HashMap<String, Option<Vec<String>>>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    is_base64_encoded: Option<bool>,
    request_context: RequestContext,
}

/// The text of a body, which is borrowed where the JSON contains no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    stage: Option<String>,
    domain_name: Option<String>,
    path: Option<String>,
    http: Option<HttpContext>,
    /// Milliseconds since 1970, in payload version 2.0.
    time_epoch: Option<u64>,
    /// Milliseconds since 1970, in payload version 1.0.
    request_time_epoch: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct HttpContext {
    method: String,
}

/// Why an event contains no valid request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpEventError {
    /// A required key is missing, or a value has the wrong type.
    #[error("invalid HTTP event of API Gateway, a function URL or a load balancer")]
    Json(#[source] serde_json::Error),
    /// The path or the query is invalid.
    #[error("invalid path or query in the event")]
    Target(#[source] http::Error),
    /// The method is invalid.
    #[error("invalid HTTP method in the event")]
    Method(#[source] http::Error),
    /// `isBase64Encoded` is true, and the body is not base64.
    #[error("invalid base64 in the event's body")]
    Body(#[source] base64::DecodeError),
}

impl<'a> HttpEvent<'a> {
    pub(super) fn parse(event: &'a str) -> Result<Self, HttpEventError> {
        serde_json::from_str(event).map_err(HttpEventError::Json)
    }

    /// Whether the response must have `multiValueHeaders`, as a load balancer's event shows by its own headers.
    pub(super) const fn is_multi_value(&self) -> bool {
        self.multi_value_headers.is_some()
    }

    /// Returns when the front door received the request, according to the event.
    pub(super) fn arrived(&self) -> Option<SystemTime> {
        let context = &self.request_context;
        from_unix_millis(context.time_epoch.or(context.request_time_epoch)?)
    }

    /// Returns the request. The front door's prefix is removed from its path and kept as [`PathPrefix`] for redirects.
    pub(super) fn into_request(
        self,
        source: EventSource,
        base_path: Option<&str>,
    ) -> Result<Request<Body>, HttpEventError> {
        let (path, prefix) = self.path(base_path);
        let path_and_query = match self.query(source) {
            query if query.is_empty() => path,
            query => format!("{path}?{query}"),
        };
        let uri = Uri::try_from(path_and_query);
        let uri = uri.map_err(|error| HttpEventError::Target(error.into()))?;
        let method = self.method()?;
        let headers = self.headers();
        let scheme = scheme(&headers);
        let mut request = Request::new(Body::from(self.body()?));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(scheme);
        request.extensions_mut().insert(PathPrefix(prefix));
        Ok(request)
    }

    fn method(&self) -> Result<Method, HttpEventError> {
        let context = self.request_context.http.as_ref();
        let method = context.map(|http| http.method.as_str());
        let method = method.or(self.http_method.as_deref()).unwrap_or("GET");
        Method::from_bytes(method.as_bytes()).map_err(|error| HttpEventError::Method(error.into()))
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &self.multi_value_headers {
            Some(headers_by_name) => {
                for (name, values) in headers_by_name {
                    for value in values.iter().flatten() {
                        append(&mut headers, name, value);
                    }
                }
            }
            None => {
                for (name, value) in self.headers.iter().flatten() {
                    append(&mut headers, name, value.as_deref().unwrap_or_default());
                }
            }
        }
        if let Some(cookies) = &self.cookies {
            append(&mut headers, "cookie", &cookies.join("; "));
        }
        if let (None, Some(name)) = (headers.get(header::HOST), &self.request_context.domain_name) {
            append(&mut headers, "host", name);
        }
        headers
    }

    fn query(&self, source: EventSource) -> String {
        if let Some(query) = &self.raw_query_string {
            return path::encode(query, path::Part::RawQuery);
        }
        // A load balancer passes names and values on unchanged, API Gateway decodes them (both services' documents).
        let part = match source {
            EventSource::LoadBalancer => path::Part::RawQuery,
            _ => path::Part::QueryValue,
        };
        let pair = |name: &str, value: &str| {
            let (name, value) = (path::encode(name, part), path::encode(value, part));
            format!("{name}={value}")
        };
        let pairs: Vec<_> = match &self.multi_value_query_string_parameters {
            Some(parameters) => {
                let pairs = parameters.iter().flat_map(|(name, values)| {
                    let values = values.iter().flatten();
                    values.map(move |value| pair(name, value))
                });
                pairs.collect()
            }
            None => {
                let parameters = self.query_string_parameters.iter().flatten();
                parameters
                    .map(|(name, value)| pair(name, value.as_deref().unwrap_or_default()))
                    .collect()
            }
        };
        pairs.join("&")
    }

    fn body(self) -> Result<Vec<u8>, HttpEventError> {
        let Some(Text(text)) = self.body else {
            return Ok(Vec::new());
        };
        if self.is_base64_encoded == Some(true) {
            return STANDARD
                .decode(text.as_bytes())
                .map_err(HttpEventError::Body);
        }
        Ok(text.into_owned().into_bytes())
    }

    /// Returns the path as the Gateway's routes have it, and the prefix before it at the front door.
    fn path(&self, base_path: Option<&str>) -> (String, String) {
        let whole = self.raw_path.as_deref().or(self.path.as_deref());
        let whole = whole.filter(|path| path.starts_with('/')).unwrap_or("/");
        let by_base_path =
            base_path.and_then(|base| Some((base, path::strip_prefix(whole, base)?)));
        let (path, removed) = match by_base_path {
            Some((base, path)) => (path, base.to_owned()),
            None => self.strip_stage(whole),
        };
        let prefix = match self.request_context.path.as_deref() {
            // `path` of a REST API's event lacks the stage, and the path in the context has it.
            Some(full) if self.raw_path.is_none() => {
                full.strip_suffix(path).unwrap_or_default().to_owned()
            }
            _ => removed,
        };
        let prefix = path::encode(prefix.trim_end_matches('/'), path::Part::Path);
        (path::encode(path, path::Part::Path), prefix)
    }

    /// Returns the path behind the stage or the mapping of a custom domain, and that prefix.
    fn strip_stage<'p>(&self, whole: &'p str) -> (&'p str, String) {
        if let Some((prefix, path)) = self.split_by_route(whole) {
            return (path, prefix.to_owned());
        }
        let context = &self.request_context;
        let domain = context.domain_name.as_deref().unwrap_or_default();
        // Under a custom domain the stage is not part of the path (API Gateway, API mappings).
        let stage = context
            .stage
            .as_deref()
            .filter(|stage| *stage != "$default")
            .filter(|_| self.raw_path.is_some() && domain.contains(".execute-api."));
        let prefix = stage.map(|stage| format!("/{stage}"));
        match prefix {
            Some(prefix) if path::strip_prefix(whole, &prefix).is_some() => {
                (path::strip_prefix(whole, &prefix).unwrap_or("/"), prefix)
            }
            _ => (whole, String::new()),
        }
    }

    /// Splits the path by the route that API Gateway chose: what the route's template matched is the path, and what
    /// stands before it, a stage or the mapping of a custom domain, is the prefix.
    fn split_by_route<'p>(&self, whole: &'p str) -> Option<(&'p str, &'p str)> {
        let template = match &self.resource {
            Some(resource) => resource.as_str(),
            None => self.route_key.as_deref()?.split_once(' ')?.1,
        };
        let empty = HashMap::new();
        let parameters = self.path_parameters.as_ref().unwrap_or(&empty);
        let matched = path::fill_template(template, parameters)?;
        let prefix = whole.strip_suffix(matched.as_str())?;
        let path = whole.get(prefix.len()..)?;
        Some((prefix, path))
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    // An invalid name or value cannot come from a client.
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        headers.append(name, value);
    }
}

/// Returns the scheme of the client's request. API Gateway and function URLs serve HTTPS only; a load balancer sends
/// `x-forwarded-proto`.
fn scheme(headers: &HeaderMap) -> Scheme {
    match headers.get("x-forwarded-proto") {
        Some(proto) if proto == "http" => Scheme::HTTP,
        _ => Scheme::HTTPS,
    }
}
