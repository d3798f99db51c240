//! The key `websocket` of `function` -> how messages of an API Gateway WebSocket API are answered.

use crate::{
    diagnostic::Report,
    known,
    section::{Layer, Section},
};

/// How messages of an API Gateway WebSocket API are answered. Only `$connect` brings headers, so `auth` is asked there:
/// the API's `$connect` route must have the function as its integration, or anybody can connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// Whether an answer of one message goes back as the function's own answer, which is quicker and needs no call.
    /// On by default; off for an API whose routes have no route response, where such an answer would get lost.
    pub route_response: bool,
    /// Whether the function hands each request to itself by an asynchronous invocation, whose answer is pushed when it
    /// is there: for work longer than the 29 s that API Gateway waits. Off by default, because it is a second
    /// invocation for every request.
    pub push: bool,
    /// Where `@connections` is, as `https://host/stage`. By default what the SDK's own
    /// `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI` says, or else the API's own address in the function's region. To be set
    /// where that one is switched off in favour of a custom domain.
    pub connections_url: Option<String>,
    /// Messages that one answer may be split into. 64 by default: 8 MB, more than an Executor's function can answer.
    /// At most 1024.
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

/// Reads the key `websocket` of the section `function`.
pub(super) fn read(function: &Section<'_>, report: &mut Report) -> WebSocketConfig {
    let default = WebSocketConfig::default();
    let Some((place, entries)) = function.map(&["websocket"], report) else {
        return default;
    };
    known::check_own(&place, entries, KEYS, report);
    let section = Section::new([Layer::of_file(place, entries)]);
    let max_parts = section.whole(
        &["max_parts"],
        1..=MAX_PARTS,
        "a whole number from 1 to 1024",
        report,
    );
    WebSocketConfig {
        route_response: section
            .maybe_flag(&["route_response"], report)
            .unwrap_or(default.route_response),
        push: section.flag(&["push"], report),
        connections_url: connections_url(&section, report),
        max_parts: max_parts
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(default.max_parts),
    }
}

fn connections_url(section: &Section<'_>, report: &mut Report) -> Option<String> {
    let entry = section.find(&["connections_url"])?;
    let url = entry
        .node
        .text()
        .filter(|text| text.starts_with("https://") || text.starts_with("http://"));
    url.map(|url| url.trim_end_matches('/').to_owned())
        .or_else(|| entry.wrong("a URL, https://host/stage", report))
}

/// 128 MB; nobody puts more together again.
const MAX_PARTS: i64 = 1024;

const KEYS: &[&str] = &["route_response", "push", "connections_url", "max_parts"];
