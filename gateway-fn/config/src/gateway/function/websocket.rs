//! The key `websocket` of `function` -> how messages of an API Gateway WebSocket API are answered.

use crate::{diagnostic::Report, section::Section};

/// How messages of an API Gateway WebSocket API are answered. Only `$connect` has headers, so `auth` is checked there:
/// the API's `$connect` route must have the function as its integration, or anyone can connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// Whether an answer that fits into one message is returned as the function's own response. That is faster than a
    /// call of `@connections`. On by default; off for an API whose routes have no route response, where such an answer
    /// would get lost.
    pub route_response: bool,
    /// Whether the function invokes itself asynchronously for each request, and pushes the answer when it is ready: for
    /// work longer than the 29 s that API Gateway waits. Off by default, because it is a second invocation for every
    /// request.
    pub push: bool,
    /// The URL of `@connections`, like `https://HOST/STAGE`. By default the SDK's
    /// `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`, or else the API's own address in the function's region. Needed where
    /// that address is disabled in favor of a custom domain.
    pub connections_url: Option<String>,
    /// The most messages that one answer may be split into. 64 by default: 8 MB, more than an Executor's function can
    /// answer. At most 1024.
    pub max_parts: usize,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            route_response: true,
            push: false,
            connections_url: None,
            max_parts: 64,
        }
    }
}

/// Reads the section `websocket`.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> WebSocketConfig {
    let default = WebSocketConfig::default();
    WebSocketConfig {
        route_response: section
            .optional_flag(&["route_response"], report)
            .unwrap_or(default.route_response),
        push: section.flag(&["push"], report),
        connections_url: connections_url(section, report),
        max_parts: section
            .count("max_parts", MAX_PARTS, report)
            .unwrap_or(default.max_parts),
    }
}

fn connections_url(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let entry = section.find(&["connections_url"])?;
    let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
    let expected = "an http:// or https:// URL like https://HOST/STAGE";
    let url = entry.url(is_url, expected, report)?;
    Some(url.trim_end_matches('/').to_owned())
}

/// 128 MB, more than a client can be expected to reassemble.
const MAX_PARTS: i64 = 1024;
