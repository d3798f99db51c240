//! Events of an API Gateway WebSocket API (API Gateway, "Lambda proxy integration for WebSocket APIs"). Emulators leave
//! fields out, so only the connection's id is required.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

/// An event as API Gateway sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) request_context: RequestContext,
    headers: Option<HashMap<String, Option<String>>>,
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    pub(super) body: Option<String>,
    /// True only where the integration converts text to binary.
    #[serde(default)]
    pub(super) is_base64_encoded: bool,
}

/// The event's `requestContext`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestContext {
    pub(super) connection_id: String,
    #[serde(default)]
    pub(super) route_key: String,
    #[serde(default)]
    event_type: String,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    api_id: String,
    /// API Gateway's id of the message, which its own error messages have too.
    #[serde(default)]
    pub(super) request_id: String,
}

/// The kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventType {
    /// A client connects.
    Connect,
    /// A client has disconnected, or its connection was closed.
    Disconnect,
    /// A message, by any route.
    Message,
}

/// A client's connection, and the API to which it belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) api_id: String,
    pub(super) stage: String,
}

impl Event {
    pub(super) fn event_type(&self) -> EventType {
        let context = &self.request_context;
        match (context.event_type.as_str(), context.route_key.as_str()) {
            ("CONNECT", _) | ("", "$connect") => EventType::Connect,
            ("DISCONNECT", _) | ("", "$disconnect") => EventType::Disconnect,
            _ => EventType::Message,
        }
    }

    pub(super) fn connection(&self) -> Connection {
        let context = &self.request_context;
        Connection {
            id: context.connection_id.clone(),
            api_id: context.api_id.clone(),
            stage: context.stage.clone(),
        }
    }

    /// Returns the headers of `$connect`. `headers` has one value for a name, so it serves only names that
    /// `multiValueHeaders` does not have. Invalid names and values are left out.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in self.multi_value_headers.iter().flatten() {
            if let Ok(name) = HeaderName::try_from(name) {
                for value in values.iter().filter_map(|value| value.try_into().ok()) {
                    headers.append(&name, value);
                }
            }
        }
        for (name, value) in self.headers.iter().flatten() {
            let value = value.as_ref().and_then(|value| value.try_into().ok());
            if let (Ok(name), Some(value)) = (HeaderName::try_from(name), value) {
                headers.entry(name).or_insert(value);
            }
        }
        headers
    }
}
