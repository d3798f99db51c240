//! Reads an event once: the keys of all sources, and which service sent it, by the keys that only this service sets.
//!
//! Values are read later, by the source's own rules, so that one of an unexpected type is that source's error. A key whose
//! value is null counts as missing.

mod body;

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use executor_fn::invoke::{JsonPayload, recognize_json};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

pub(super) use body::EventBody;

/// Which service sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventSource {
    /// An HTTP API of API Gateway with payload version 2.0, or an emulator of one.
    HttpApi,
    /// A function URL.
    FunctionUrl {
        /// Whether AWS has authenticated the caller.
        has_authorizer: bool,
    },
    /// A REST API of API Gateway.
    RestApi,
    /// An HTTP API with payload version 1.0: the same events and responses as a REST API.
    HttpApiV1,
    /// An Application Load Balancer.
    LoadBalancer,
    /// VPC Lattice with event structure version 1.
    VpcLatticeV1,
    /// VPC Lattice with event structure version 2.
    VpcLatticeV2,
    /// A WebSocket API of API Gateway.
    WebSocketApi,
    /// This function, by an asynchronous invocation of itself.
    WebSocketPush,
    /// Another Gateway, whose Flow has this function as an Executor.
    Gateway,
    /// A direct invocation with the JSON of `POST /post`.
    PlainJson,
    /// A schedule or a plug-in that keeps the function warm.
    Warmer,
}

/// An event of an unknown source.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown event: {received}; expected version 2.0 with requestContext.http (HTTP API, function URL), \
     requestContext.elb (load balancer), requestContext.serviceArn or raw_path (VPC Lattice), requestContext.connectionId \
     with eventType or routeKey (WebSocket API), httpMethod with requestContext (REST API), flowgate (invocation by a \
     Gateway), or the JSON of POST /post, with at least one of the keys data, execEndpoint, targetExecutor and parameters"
)]
pub(super) struct UnknownEvent {
    received: String,
}

/// An event, and what is known of it before its values are read.
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub(super) source: EventSource,
    pub(super) keys: Keys<'a>,
    /// `requestContext` without keys whose value is null; empty if there is none.
    pub(super) context: Map<String, Value>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// When no known service sends such events.
    pub(super) fn parse(text: &'a str) -> Result<Self, UnknownEvent> {
        if text.starts_with(GATEWAY_PAYLOAD) {
            return Ok(Self::without_keys(EventSource::Gateway));
        }
        // serde would read the keys from a list too.
        let keys = Some(text).filter(|text| text.trim_start().starts_with('{'));
        let keys = keys.map_or_else(
            || Err("not a JSON object".to_owned()),
            |text| serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}")),
        );
        let keys: Keys<'_> = keys.map_err(|received| UnknownEvent { received })?;
        let context = keys.request_context.map(RawValue::get);
        let context = context.and_then(|context| serde_json::from_str(context).ok());
        let mut context: Map<String, Value> = context.unwrap_or_default();
        remove_nulls(&mut context);
        let source = match keys.source(&context) {
            Some(source) => source,
            None => EventSource::of_json(text)?,
        };
        Ok(Self {
            source,
            keys,
            context,
        })
    }

    fn without_keys(source: EventSource) -> Self {
        Self {
            source,
            keys: Keys::default(),
            context: Map::new(),
        }
    }

    /// Returns a string of the request context.
    pub(super) fn context_text(&self, key: &str) -> Option<&str> {
        self.context.get(key)?.as_str()
    }

    /// Returns when the front door received the request, according to the event.
    pub(super) fn arrived(&self) -> Option<SystemTime> {
        // `timeEpoch` of payload version 2.0, `requestTimeEpoch` of version 1.0 and WebSocket APIs, in milliseconds since 1970.
        let millis = self.context.get("timeEpoch");
        let millis = millis.or_else(|| self.context.get("requestTimeEpoch"))?;
        match millis {
            // VPC Lattice sends microseconds, as a string.
            Value::String(micros) => from_unix_millis(micros.parse::<u64>().ok()? / 1000),
            millis => from_unix_millis(millis.as_u64()?),
        }
    }
}

impl EventSource {
    /// Whether events of this source contain an HTTP request.
    pub(super) const fn is_http(self) -> bool {
        match self {
            Self::HttpApi
            | Self::FunctionUrl { .. }
            | Self::RestApi
            | Self::HttpApiV1
            | Self::LoadBalancer
            | Self::VpcLatticeV1
            | Self::VpcLatticeV2 => true,
            Self::WebSocketApi
            | Self::WebSocketPush
            | Self::Gateway
            | Self::PlainJson
            | Self::Warmer => false,
        }
    }

    /// Recognizes JSON without the keys of a front door.
    fn of_json(text: &str) -> Result<Self, UnknownEvent> {
        match recognize_json(text) {
            JsonPayload::Request => Ok(Self::PlainJson),
            JsonPayload::WarmUp => Ok(Self::Warmer),
            JsonPayload::Foreign(event) => Err(UnknownEvent {
                received: event.received().to_owned(),
            }),
        }
    }
}

/// How payloads of Flowgate's Gateways begin, so that their megabytes are scanned only by their decoder.
const GATEWAY_PAYLOAD: &str = "{\"flowgate\":";

/// The keys of events, with their values as they are in the JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Keys<'a> {
    #[serde(rename = "flowgateWebSocket", borrow)]
    push: Option<&'a RawValue>,
    #[serde(borrow)]
    flowgate: Option<&'a RawValue>,
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    request_context: Option<&'a RawValue>,
    /// Of an authorizer's event, which resembles a request.
    #[serde(borrow)]
    method_arn: Option<&'a RawValue>,
    /// As `method_arn`, of an HTTP API.
    #[serde(borrow)]
    route_arn: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) http_method: Option<&'a RawValue>,
    /// VPC Lattice's `httpMethod`.
    #[serde(borrow)]
    pub(super) method: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) path: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) raw_path: Option<&'a RawValue>,
    /// `rawPath` of VPC Lattice, version 1.
    #[serde(rename = "raw_path", borrow)]
    pub(super) lattice_path: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) raw_query_string: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) query_string_parameters: Option<&'a RawValue>,
    #[serde(rename = "query_string_parameters", borrow)]
    pub(super) lattice_query: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) multi_value_query_string_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) headers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) multi_value_headers: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) resource: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) route_key: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) path_parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) stage_variables: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) is_base64_encoded: Option<&'a RawValue>,
    #[serde(rename = "is_base64_encoded", borrow)]
    pub(super) lattice_is_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) body: EventBody<'a>,
}

impl Keys<'_> {
    /// Recognizes a front door, this function itself or a Gateway.
    fn source(&self, context: &Map<String, Value>) -> Option<EventSource> {
        if self.push.is_some() {
            return Some(EventSource::WebSocketPush);
        }
        if self.flowgate.is_some() {
            return Some(EventSource::Gateway);
        }
        if self.method_arn.is_some() || self.route_arn.is_some() {
            return None;
        }
        if self.request_context.is_none() {
            let is_lattice = self.lattice_path.is_some() && self.method.is_some();
            return is_lattice.then_some(EventSource::VpcLatticeV1);
        }
        if context.contains_key("elb") {
            return Some(EventSource::LoadBalancer);
        }
        // Emulators leave the type of a WebSocket's event out.
        let has_route = context.contains_key("routeKey") && self.http_method.is_none();
        let is_of_websocket = context.contains_key("eventType") || has_route;
        if context.contains_key("connectionId") && is_of_websocket {
            return Some(EventSource::WebSocketApi);
        }
        let version: Option<Cow<'_, str>> = self.version.and_then(|it| read(it).ok());
        let has_context = self
            .request_context
            .is_some_and(|context| context.get().starts_with('{'));
        let is_request = self.http_method.is_some() && has_context;
        match version.as_deref() {
            Some("2.0") if context.contains_key("http") => Some(v2_source(context)),
            Some("2.0") if context.contains_key("serviceArn") => Some(EventSource::VpcLatticeV2),
            Some("1.0") if is_request => Some(EventSource::HttpApiV1),
            _ if is_request => Some(EventSource::RestApi),
            _ => None,
        }
    }
}

/// Distinguishes a function URL from an HTTP API: its domain is `<url-id>.lambda-url.<region>.on.aws`, or has another partition's
/// suffix (AWS Lambda, function URLs).
fn v2_source(context: &Map<String, Value>) -> EventSource {
    let domain = context.get("domainName").and_then(Value::as_str);
    match domain.unwrap_or_default().split('.').nth(1) {
        Some("lambda-url") => EventSource::FunctionUrl {
            // An empty map says as little as a missing one.
            has_authorizer: context
                .get("authorizer")
                .is_some_and(|authorizer| authorizer.as_object().is_none_or(|map| !map.is_empty())),
        },
        _ => EventSource::HttpApi,
    }
}

/// Reads the value of a key.
///
/// # Errors
/// When it has another type.
pub(super) fn read<T: DeserializeOwned>(value: &RawValue) -> serde_json::Result<T> {
    serde_json::from_str(value.get())
}

/// Converts milliseconds since 1970, as events and payloads have them.
pub(super) fn from_unix_millis(milliseconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}

/// Removes keys whose value is null, at all levels. Emulators and other proxies write null for a missing value.
fn remove_nulls(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for value in map.values_mut() {
        if let Value::Object(map) = value {
            remove_nulls(map);
        }
    }
}

#[cfg(test)]
mod tests;
