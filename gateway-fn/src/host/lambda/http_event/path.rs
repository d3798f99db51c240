//! Separates the stage and the mapping of a custom domain from a request's path, and percent-encodes what front doors have
//! decoded.
//!
//! What API Gateway writes into events was read off recordings of others (aws-powertools/powertools-lambda-python, pull request
//! 579; CodeGenieApp/serverless-express, issue 465; jeremydaly/lambda-api, issue 136; logandk/serverless-wsgi, issue 191;
//! localstack/localstack, pull request 12296):
//!
//! | | own domain | custom domain | with a mapping `v1` |
//! |---|---|---|---|
//! | REST API, `path` | `/post` | `/post` | `/v1/post` |
//! | HTTP API 1.0, `path` | `/STAGE/post` | `/post` | `/v1/post` |
//! | HTTP API 2.0, `rawPath` | `/STAGE/post` | `/STAGE/post` | `/STAGE/post` |
//!
//! `/STAGE` is left out for the stage `$default`. A mapping without a stage lets clients name the stage, which then is in the
//! path of a REST API.

use std::{collections::HashMap, fmt::Write as _, net::IpAddr};

use percent_encoding::percent_decode_str;

use crate::host::lambda::event::EventSource;

/// The path of a request at its front door.
pub(super) struct RequestPath<'a> {
    pub(super) source: EventSource,
    /// The path in the event.
    pub(super) event_path: &'a str,
    /// The template of the route that API Gateway chose, if it is a path: `/{proxy+}`.
    pub(super) template: Option<&'a str>,
    pub(super) parameters: &'a HashMap<String, String>,
    pub(super) stage: Option<&'a str>,
    pub(super) domain: Option<&'a str>,
    /// The path in the request context, which has the stage of a REST API.
    pub(super) context_path: Option<&'a str>,
    /// The setting `base_path`, which is removed wherever the path begins with it.
    pub(super) base_path: Option<&'a str>,
}

impl<'a> RequestPath<'a> {
    /// Returns the path as the Gateway's routes have it, and the prefix before it at the front door, both encoded.
    pub(super) fn split(&self) -> (String, String) {
        let path = self.path();
        let removed = self.event_path.strip_suffix(path).unwrap_or_default();
        let prefix = match self.context_path {
            Some(context_path) => context_path.strip_suffix(path).unwrap_or(match path {
                "/" => context_path,
                _ => removed,
            }),
            None if path == "/" => self.event_path,
            None => removed,
        };
        let prefix = encode(prefix.trim_end_matches('/'), Part::Path);
        (encode(path, Part::Path), prefix)
    }

    /// Returns the path without prefixes.
    fn path(&self) -> &'a str {
        let (path, is_certain) = match self.path_by_route() {
            Some(path) => (path, true),
            None => (self.path_without_stage(), false),
        };
        let Some(base_path) = self.base_path else {
            return path;
        };
        let without_base = |path| strip_prefix(path, base_path);
        let of_event_path = || without_base(self.event_path).filter(|_| !is_certain);
        without_base(path).or_else(of_event_path).unwrap_or(path)
    }

    /// Returns the path by the route that API Gateway chose: what the route's template matched is the path, and what stands
    /// before it, a stage or a mapping, is the prefix.
    fn path_by_route(&self) -> Option<&'a str> {
        let template = self.template.filter(|template| template.starts_with('/'))?;
        if template == "/" {
            return Some("/");
        }
        let matched = fill_template(template, self.parameters)?;
        let matched = matched.trim_end_matches('/');
        let position = self.position_of(matched)?;
        self.event_path.get(position..)
    }

    /// Finds where `matched`, which may have been decoded, begins at the end of the path, which may have been decoded too. A
    /// slash may follow it, which API Gateway ignores when it chooses a route.
    fn position_of(&self, matched: &str) -> Option<usize> {
        if matched.is_empty() {
            return None;
        }
        let path = self.event_path.trim_end_matches('/');
        if path.ends_with(matched) {
            return Some(path.len() - matched.len());
        }
        let decoded: Vec<u8> = percent_decode_str(path).collect();
        let matched: Vec<u8> = percent_decode_str(matched).collect();
        let start = decoded.len().checked_sub(matched.len())?;
        let is_suffix = decoded.ends_with(&matched);
        is_suffix.then(|| position_of_slash(path, start)).flatten()
    }

    /// Returns the path without the stage, for events of HTTP APIs, where the route says nothing.
    fn path_without_stage(&self) -> &'a str {
        let named = self.stage.filter(|stage| *stage != "$default");
        let Some(stage) = named.filter(|stage| !stage.is_empty()) else {
            return self.event_path;
        };
        let rest = strip_prefix(self.event_path, &format!("/{stage}")).unwrap_or(self.event_path);
        match self.source {
            EventSource::HttpApi => rest,
            // A custom domain's path has no stage, so a path that is just this word is a route.
            EventSource::HttpApiV1 if self.is_own_domain() || rest != "/" => rest,
            _ => self.event_path,
        }
    }

    /// Whether the domain is the API's own, `ID.execute-api.REGION.amazonaws.com` or another partition's, or an emulator's
    /// address.
    fn is_own_domain(&self) -> bool {
        let domain = self.domain.unwrap_or_default();
        let is_address = domain.contains(':') || domain.parse::<IpAddr>().is_ok();
        domain.contains(".execute-api.") || is_address || domain == "localhost"
    }
}

/// The part of a URI that a text belongs to, which decides what is percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A path. REST APIs, function URLs and load balancers keep its escapes, which stay unchanged. HTTP APIs decode it
    /// (middleapi/standard-server, pull request 93, with recordings), so a `%` that begins no escape is encoded.
    Path,
    /// A query or a piece of one; escapes in it stay unchanged.
    RawQuery,
    /// A decoded name or value of a query.
    QueryValue,
}

/// Percent-encodes the bytes that this part of a URI does not allow.
pub(super) fn encode(text: &str, part: Part) -> String {
    let mut encoded = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    for (position, byte) in bytes.iter().enumerate() {
        let is_kept = part != Part::QueryValue && is_escape(bytes, position);
        if is_kept || is_allowed(*byte, part) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn is_allowed(byte: u8, part: Part) -> bool {
    let allowed: &[u8] = match part {
        Part::Path => b"/!$&'()*+,;=:@",
        Part::RawQuery => b"/!$&'()*+,;=:@?[]",
        Part::QueryValue => b"!*():@/?,;",
    };
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || allowed.contains(&byte)
}

/// Returns where the slash stands that is at the index `decoded` when the path is decoded.
fn position_of_slash(path: &str, decoded: usize) -> Option<usize> {
    let bytes = path.as_bytes();
    let (mut position, mut index) = (0, 0);
    while index < decoded {
        position += match is_escape(bytes, position) {
            true => 3,
            false => 1,
        };
        index += 1;
    }
    (bytes.get(position) == Some(&b'/')).then_some(position)
}

/// Whether `%XX` stands there.
fn is_escape(bytes: &[u8], position: usize) -> bool {
    let digits = bytes.get(position + 1..position + 3);
    let has_digits = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    bytes.get(position) == Some(&b'%') && has_digits
}

/// Removes a prefix that consists of whole segments.
fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// Puts the parameters into a route's template, which makes `/post` of `/{proxy+}`. Returns `None` when one is missing.
fn fill_template(template: &str, parameters: &HashMap<String, String>) -> Option<String> {
    let segments = template.split('/').map(|segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'));
        match name {
            None => Some(segment),
            Some(name) => {
                let name = name.strip_suffix('+').unwrap_or(name);
                parameters.get(name).map(String::as_str)
            }
        }
    });
    let filled = segments.collect::<Option<Vec<_>>>()?.join("/");
    Some(filled)
}

#[cfg(test)]
mod tests;
