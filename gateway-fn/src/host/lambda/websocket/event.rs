//! Events of an API Gateway WebSocket API (API Gateway, "Lambda proxy integration for WebSocket APIs"). Emulators leave
//! fields out or set them to null, so only the connection's id is required.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

/// An event as API Gateway sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) request_context: RequestContext,
    headers: Option<HashMap<String, Option<String>>>,
    multi_value_headers: Option<HashMap<String, Option<Vec<Option<String>>>>>,
    pub(super) body: Option<String>,
    is_base64_encoded: Option<bool>,
}

/// The event's `requestContext`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestContext {
    pub(super) connection_id: String,
    route_key: Option<String>,
    event_type: Option<String>,
    stage: Option<String>,
    api_id: Option<String>,
    request_id: Option<String>,
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
        let event_type = self.request_context.event_type.as_deref();
        match (event_type.unwrap_or_default(), self.route_key()) {
            ("CONNECT", _) | ("", "$connect") => EventType::Connect,
            ("DISCONNECT", _) | ("", "$disconnect") => EventType::Disconnect,
            _ => EventType::Message,
        }
    }

    pub(super) fn connection(&self) -> Connection {
        let context = &self.request_context;
        Connection {
            id: context.connection_id.clone(),
            api_id: context.api_id.clone().unwrap_or_default(),
            stage: context.stage.clone().unwrap_or_default(),
        }
    }

    pub(super) fn route_key(&self) -> &str {
        let route_key = self.request_context.route_key.as_deref();
        route_key.unwrap_or_default()
    }

    /// API Gateway's id of the message, which its own error messages have too.
    pub(super) fn request_id(&self) -> &str {
        let request_id = self.request_context.request_id.as_deref();
        request_id.unwrap_or_default()
    }

    /// Whether the body is base64: only where the integration converts text to binary.
    pub(super) fn is_base64_encoded(&self) -> bool {
        self.is_base64_encoded.unwrap_or_default()
    }

    /// Returns the headers of `$connect`. `headers` has one value for a name, so it serves only names that
    /// `multiValueHeaders` does not have. Invalid names and values are left out.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, values) in self.multi_value_headers.iter().flatten() {
            if let Ok(name) = HeaderName::try_from(name) {
                let values = values.iter().flatten().flatten();
                for value in values.filter_map(|value| value.try_into().ok()) {
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
