//! An event of an API Gateway WebSocket API (API Gateway, "Lambda proxy integration for WebSocket APIs") -> what is
//! used of it. Emulators leave fields out, so only what nothing can be done without is demanded.

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
    /// Only for an integration that converts text to binary.
    #[serde(default)]
    pub(super) is_base64_encoded: bool,
}

/// `requestContext`.
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
    /// API Gateway's own, which its error messages name too.
    #[serde(default)]
    pub(super) request_id: String,
}

/// What the event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A client wants to connect.
    Connect,
    /// A client has left, or was sent away.
    Disconnect,
    /// A message, whatever route it came by.
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
    pub(super) fn route(&self) -> Route {
        let context = &self.request_context;
        match (context.event_type.as_str(), context.route_key.as_str()) {
            ("CONNECT", _) | ("", "$connect") => Route::Connect,
            ("DISCONNECT", _) | ("", "$disconnect") => Route::Disconnect,
            _ => Route::Message,
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

    /// The headers of `$connect`, those of one value where there is no list of all; what no header can be is left out.
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
