//! Makes the [`http::Request`] that a client sent from the HTTP event of any front door.
//!
//! `front_door` builds the request by `lambda_http`, whose context it keeps for handlers. `fields` reads maps of headers and
//! parameters, `path` removes stages and mappings, and `body` decodes the body.

mod body;

mod fields;

mod front_door;

mod path;

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header, uri::Scheme};
use lambda_http::{Context, RequestExt as _, aws_lambda_events::encodings};
use serde_json::value::RawValue;

use self::{
    fields::{Fields, append},
    path::{Part, RequestPath},
};
use super::event::{Event, EventSource, read};
use crate::inbound::http::PathPrefix;

/// Why an event contains no valid request.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpEventError {
    /// A value has the wrong type.
    #[error("invalid `{key}` in the event")]
    Json {
        key: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// The path or the query is invalid.
    #[error("invalid path or query in the event: {value}")]
    Target {
        /// The value found, shortened.
        value: String,
        #[source]
        source: http::Error,
    },
    /// The method is invalid.
    #[error("invalid HTTP method in the event: {value}")]
    Method {
        /// The value found, shortened.
        value: String,
        #[source]
        source: http::Error,
    },
    /// The body is not text.
    #[error("the event's body is not a string")]
    BodyType,
    /// `isBase64Encoded` is true, and the body is not base64.
    #[error("invalid base64 in the event's body")]
    Base64(#[source] base64::DecodeError),
}

/// The request of an event, or why there is none, and what its response needs of the event in either case.
pub(super) struct HttpRequest {
    pub(super) request: Result<Request<Body>, HttpEventError>,
    /// The headers of a refused event.
    pub(super) refused_headers: HeaderMap,
    /// Whether the response must have `multiValueHeaders`, as a load balancer's event shows by its own headers.
    pub(super) is_multi_value: bool,
}

/// Reads the HTTP request of an event. The front door's prefix is removed from its path and kept as [`PathPrefix`] for
/// redirects; the request context, path parameters and Lambda's context are its [`lambda_http::RequestExt`].
pub(super) fn read_request(
    mut event: Event<'_>,
    base_path: Option<&str>,
    lambda: &Context,
) -> HttpRequest {
    let (mut headers, is_multi_value) = match headers(&event) {
        Ok(headers) => headers,
        Err(error) => {
            return HttpRequest {
                request: Err(error),
                refused_headers: HeaderMap::new(),
                is_multi_value: false,
            };
        }
    };
    let (request, refused_headers) = match read_parts(&mut event, base_path, &mut headers) {
        Ok(parts) => {
            let scheme = scheme(&headers);
            let mut request = front_door::build(&mut event, parts, headers);
            request.extensions_mut().insert(scheme);
            let request = request.with_lambda_context(lambda.clone());
            (Ok(into_body(request)), HeaderMap::new())
        }
        Err(error) => (Err(error), headers),
    };
    HttpRequest {
        request,
        refused_headers,
        is_multi_value,
    }
}

/// What a request consists of besides its headers.
struct RequestParts {
    method: Method,
    uri: Uri,
    /// The path before the prefix was removed.
    raw_path: String,
    prefix: PathPrefix,
    body: encodings::Body,
    path_parameters: fields::Parameters,
    stage_variables: fields::Parameters,
}

fn read_parts(
    event: &mut Event<'_>,
    base_path: Option<&str>,
    headers: &mut HeaderMap,
) -> Result<RequestParts, HttpEventError> {
    let path_parameters = parameters("pathParameters", event.keys.path_parameters)?;
    let raw_path = raw_path(event)?;
    let (path, prefix) = RequestPath {
        source: event.source,
        event_path: &raw_path,
        template: template(event)?.as_deref(),
        parameters: &path_parameters,
        stage: event.context_text("stage"),
        domain: event.context_text("domainName"),
        context_path: event.context_text("path"),
        base_path,
    }
    .split();
    let path_and_query = match query(event)? {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    };
    let uri = Uri::try_from(&path_and_query);
    let uri = uri.map_err(|error| HttpEventError::Target {
        value: quote(&path_and_query),
        source: error.into(),
    })?;
    let is_base64 = first_of(&[
        ("isBase64Encoded", event.keys.is_base64_encoded),
        ("is_base64_encoded", event.keys.lattice_is_base64),
    ]);
    let is_base64 = is_base64
        .map(|(key, flag)| read_key(key, flag))
        .transpose()?;
    let is_base64 = is_base64.unwrap_or(false);
    let body = std::mem::take(&mut event.keys.body);
    Ok(RequestParts {
        method: method(event)?,
        uri,
        prefix: PathPrefix(prefix),
        body: body::decode(body, is_base64, headers)?,
        path_parameters,
        stage_variables: parameters("stageVariables", event.keys.stage_variables)?,
        raw_path,
    })
}

fn method(event: &Event<'_>) -> Result<Method, HttpEventError> {
    let of_context = event
        .context
        .get("http")
        .and_then(|http| http.get("method"));
    let method = match of_context.and_then(serde_json::Value::as_str) {
        Some(method) => method.to_owned(),
        None => {
            let keys = [
                ("httpMethod", event.keys.http_method),
                ("method", event.keys.method),
            ];
            first_text(&keys)?.unwrap_or_default()
        }
    };
    match method.as_str() {
        "" => Ok(Method::GET),
        method => Method::from_bytes(method.as_bytes()).map_err(|error| HttpEventError::Method {
            value: quote(method),
            source: error.into(),
        }),
    }
}

/// Returns the headers of the client, and whether they came as lists.
fn headers(event: &Event<'_>) -> Result<(HeaderMap, bool), HttpEventError> {
    let keys = &event.keys;
    let multi = Fields::read("multiValueHeaders", keys.multi_value_headers)?;
    let single = Fields::read("headers", keys.headers)?;
    // A load balancer sends one of both. Some emulators and proxies send both, or an empty one beside a full one.
    let is_multi_value =
        keys.multi_value_headers.is_some() && (!multi.is_empty() || keys.headers.is_none());
    let mut headers = HeaderMap::new();
    for (name, value) in multi.and_missing_of(&single, str::to_ascii_lowercase) {
        append(&mut headers, name, &value);
    }
    if let Some(cookies) = keys.cookies {
        let cookies: Vec<Option<String>> = read_key("cookies", cookies)?;
        let cookies: Vec<_> = cookies.into_iter().flatten().collect();
        if let (false, Ok(cookies)) = (
            cookies.is_empty(),
            HeaderValue::try_from(cookies.join("; ")),
        ) {
            // A function URL's event has them among its headers too.
            headers.insert(header::COOKIE, cookies);
        }
    }
    if let (None, Some(name)) = (headers.get(header::HOST), event.context_text("domainName")) {
        append(&mut headers, "host", name);
    }
    Ok((headers, is_multi_value))
}

fn query(event: &Event<'_>) -> Result<String, HttpEventError> {
    let keys = &event.keys;
    if let Some(query) = text("rawQueryString", keys.raw_query_string)? {
        return Ok(path::encode(&query, Part::RawQuery));
    }
    // A load balancer and VPC Lattice pass names and values on unchanged (`lambda_http` decodes both), API Gateway decodes
    // them (its documents).
    let part = match event.source {
        EventSource::LoadBalancer | EventSource::VpcLatticeV1 | EventSource::VpcLatticeV2 => {
            Part::RawQuery
        }
        _ => Part::QueryValue,
    };
    let multi = keys.multi_value_query_string_parameters;
    let multi = Fields::read("multiValueQueryStringParameters", multi)?;
    let single = first_of(&[
        ("queryStringParameters", keys.query_string_parameters),
        ("query_string_parameters", keys.lattice_query),
    ]);
    let single = single.map(|(key, value)| Fields::read(key, Some(value)));
    let single = single.transpose()?.unwrap_or_default();
    let pairs = multi
        .and_missing_of(&single, str::to_owned)
        .map(|(name, value)| {
            let (name, value) = (path::encode(name, part), path::encode(&value, part));
            format!("{name}={value}")
        });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// Returns the path of the event, without a query, which only version 1 of VPC Lattice might have there.
fn raw_path(event: &Event<'_>) -> Result<String, HttpEventError> {
    let keys = &event.keys;
    let path = first_text(&[
        ("rawPath", keys.raw_path),
        ("raw_path", keys.lattice_path),
        ("path", keys.path),
    ])?;
    let mut path = path
        .filter(|path| path.starts_with('/'))
        .unwrap_or_else(|| "/".to_owned());
    if event.source == EventSource::VpcLatticeV1
        && let Some(query) = path.find('?')
    {
        path.truncate(query);
    }
    Ok(path)
}

/// Returns the template of the route that API Gateway chose: of `resource`, or of `routeKey` behind the method.
fn template(event: &Event<'_>) -> Result<Option<String>, HttpEventError> {
    if let Some(resource) = text("resource", event.keys.resource)? {
        return Ok(Some(resource));
    }
    let route = text("routeKey", event.keys.route_key)?;
    Ok(route.and_then(|route| Some(route.split_once(' ')?.1.to_owned())))
}

fn parameters(
    key: &'static str,
    value: Option<&RawValue>,
) -> Result<fields::Parameters, HttpEventError> {
    Ok(Fields::read(key, value)?.into_single())
}

fn text(key: &'static str, value: Option<&RawValue>) -> Result<Option<String>, HttpEventError> {
    value.map(|value| read_key(key, value)).transpose()
}

/// Returns the first of the keys that has a value.
fn first_of<'a>(
    keys: &[(&'static str, Option<&'a RawValue>)],
) -> Option<(&'static str, &'a RawValue)> {
    keys.iter().find_map(|(key, value)| Some((*key, (*value)?)))
}

/// Reads the first of the keys that has a value, a string.
fn first_text(
    keys: &[(&'static str, Option<&RawValue>)],
) -> Result<Option<String>, HttpEventError> {
    let found = first_of(keys).map(|(key, value)| read_key(key, value));
    found.transpose()
}

/// Quotes a value for an error, with at most this many characters of it.
fn quote(value: &str) -> String {
    const MAX_QUOTED_CHARS: usize = 60;
    match value.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &value[..end], value.len()),
        None => format!("{value:?}"),
    }
}

fn read_key<T: serde::de::DeserializeOwned>(
    key: &'static str,
    value: &RawValue,
) -> Result<T, HttpEventError> {
    read(value).map_err(|source| HttpEventError::Json { key, source })
}

fn into_body(request: lambda_http::Request) -> Request<Body> {
    request.map(|body| match body {
        encodings::Body::Text(text) => Body::from(text),
        encodings::Body::Binary(bytes) => Body::from(bytes),
        _ => Body::empty(),
    })
}

/// Returns the scheme of the client's request. API Gateway and function URLs serve HTTPS only; a load balancer sends
/// `x-forwarded-proto`.
fn scheme(headers: &HeaderMap) -> Scheme {
    match headers.get("x-forwarded-proto") {
        Some(proto) if proto == "http" => Scheme::HTTP,
        _ => Scheme::HTTPS,
    }
}
