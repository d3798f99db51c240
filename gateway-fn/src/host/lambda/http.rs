//! The HTTP event of any front door -> the [`http::Request`] that its client sent.

mod path;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashMap, time::SystemTime};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::Scheme};
use serde::Deserialize;

use super::{event::Sender, since_1970};
use crate::inbound::http::Prefix;

/// An event with a request in it, of any of the three forms. What a form does not have is absent.
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

/// A body's text, not copied where the JSON has it without escapes.
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
    /// Milliseconds since 1970: payload version 2.0.
    time_epoch: Option<u64>,
    /// The same of version 1.0.
    request_time_epoch: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct HttpContext {
    method: String,
}

/// An event that has the tags of an HTTP event, but whose request cannot be made out.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenEvent {
    /// A key is missing or of another kind.
    #[error("the event has not the shape of an HTTP event")]
    Shape(#[source] serde_json::Error),
    /// The method, the path or the query.
    #[error("the event's request line is none")]
    RequestLine(#[source] http::Error),
    /// The body is not base64, as the event says.
    #[error("the event's body is no base64")]
    Body(#[source] base64::DecodeError),
}

impl<'a> HttpEvent<'a> {
    pub(super) fn read(event: &'a str) -> Result<Self, BrokenEvent> {
        serde_json::from_str(event).map_err(BrokenEvent::Shape)
    }

    /// Whether the sender wants answers with `multiValueHeaders`: a load balancer says so by how it asks.
    pub(super) const fn is_multi_value(&self) -> bool {
        self.multi_value_headers.is_some()
    }

    /// When the front door took the request, as it says.
    pub(super) fn arrived(&self) -> Option<SystemTime> {
        let context = &self.request_context;
        let milliseconds = context.time_epoch.or(context.request_time_epoch)?;
        since_1970(milliseconds)
    }

    /// The request, with the prefix of the front door taken off its path and kept for redirects.
    pub(super) fn request(
        self,
        sender: Sender,
        base_path: Option<&str>,
    ) -> Result<Request<Body>, BrokenEvent> {
        let (path, prefix) = self.path(base_path);
        let target = match self.query(sender) {
            query if query.is_empty() => path,
            query => format!("{path}?{query}"),
        };
        let uri = Uri::try_from(target).map_err(|error| BrokenEvent::RequestLine(error.into()))?;
        let method = self.method()?;
        let headers = self.headers();
        let scheme = scheme(&headers);
        let mut request = Request::new(Body::from(self.body()?));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(scheme);
        request.extensions_mut().insert(Prefix(prefix));
        Ok(request)
    }

    fn method(&self) -> Result<Method, BrokenEvent> {
        let in_context = self.request_context.http.as_ref();
        let method = in_context.map(|http| http.method.as_str());
        let method = method.or(self.http_method.as_deref()).unwrap_or("GET");
        Method::from_bytes(method.as_bytes())
            .map_err(|error| BrokenEvent::RequestLine(error.into()))
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &self.multi_value_headers {
            Some(many) => {
                for (name, values) in many {
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

    fn query(&self, sender: Sender) -> String {
        if let Some(query) = &self.raw_query_string {
            return path::encoded(query, path::Part::RawQuery);
        }
        // A load balancer gives names and values as they came, API Gateway decodes them (both documents).
        let part = match sender {
            Sender::LoadBalancer => path::Part::RawQuery,
            _ => path::Part::QueryValue,
        };
        let pair = |name: &str, value: &str| {
            let (name, value) = (path::encoded(name, part), path::encoded(value, part));
            format!("{name}={value}")
        };
        let pairs: Vec<_> = match &self.multi_value_query_string_parameters {
            Some(many) => {
                let all = many.iter().flat_map(|(name, values)| {
                    let values = values.iter().flatten();
                    values.map(move |value| pair(name, value))
                });
                all.collect()
            }
            None => {
                let one = self.query_string_parameters.iter().flatten();
                one.map(|(name, value)| pair(name, value.as_deref().unwrap_or_default()))
                    .collect()
            }
        };
        pairs.join("&")
    }

    fn body(self) -> Result<Vec<u8>, BrokenEvent> {
        let Some(Text(text)) = self.body else {
            return Ok(Vec::new());
        };
        if self.is_base64_encoded == Some(true) {
            return STANDARD.decode(text.as_bytes()).map_err(BrokenEvent::Body);
        }
        Ok(text.into_owned().into_bytes())
    }

    /// The path as the Gateway's routes have it, and what stands before it at the front door.
    fn path(&self, base_path: Option<&str>) -> (String, String) {
        let whole = self.raw_path.as_deref().or(self.path.as_deref());
        let whole = whole.filter(|path| path.starts_with('/')).unwrap_or("/");
        let (within, taken_off) = match base_path.and_then(|base| path::without(whole, base)) {
            Some(within) => (within, base_path.unwrap_or_default().to_owned()),
            None => self.without_stage(whole),
        };
        let shown = match self.request_context.path.as_deref() {
            // Of a REST API: its own `path` is without the stage, the one in the context is with it.
            Some(shown) if self.raw_path.is_none() => {
                shown.strip_suffix(within).unwrap_or_default().to_owned()
            }
            _ => taken_off,
        };
        let shown = path::encoded(shown.trim_end_matches('/'), path::Part::Path);
        (path::encoded(within, path::Part::Path), shown)
    }

    fn without_stage<'p>(&self, whole: &'p str) -> (&'p str, String) {
        if let Some((prefix, within)) = self.by_route(whole) {
            return (within, prefix.to_owned());
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
            Some(prefix) if path::without(whole, &prefix).is_some() => {
                (path::without(whole, &prefix).unwrap_or("/"), prefix)
            }
            _ => (whole, String::new()),
        }
    }

    /// What the route's own template matched is the path; what stands before it, a stage or a mapping of a custom
    /// domain, is not.
    fn by_route<'p>(&self, whole: &'p str) -> Option<(&'p str, &'p str)> {
        let template = match &self.resource {
            Some(resource) => resource.as_str(),
            None => self.route_key.as_deref()?.split_once(' ')?.1,
        };
        let empty = HashMap::new();
        let parameters = self.path_parameters.as_ref().unwrap_or(&empty);
        let matched = path::filled_in(template, parameters)?;
        let prefix = whole.strip_suffix(matched.as_str())?;
        let within = whole.get(prefix.len()..)?;
        Some((prefix, within))
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    // A name or value that HTTP does not allow came from no client.
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        headers.append(name, value);
    }
}

/// API Gateway and function URLs are HTTPS only; a load balancer says which it was.
fn scheme(headers: &HeaderMap) -> Scheme {
    match headers.get("x-forwarded-proto") {
        Some(proto) if proto == "http" => Scheme::HTTP,
        _ => Scheme::HTTPS,
    }
}
