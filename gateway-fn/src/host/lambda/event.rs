//! Recognizes which service sent an event, by the keys that only this service sets.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

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
    /// A WebSocket API of API Gateway.
    WebSocketApi,
    /// This function, by an asynchronous invocation of itself.
    WebSocketPush,
    /// Another Gateway, whose Flow has this function as an Executor.
    Gateway,
    /// A direct invocation with the JSON of `POST /post`.
    PlainJson,
}

/// An event of an unknown source.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown event: expected version 2.0 with requestContext.http (HTTP API, function URL), requestContext.elb (load \
     balancer), requestContext.connectionId with eventType (WebSocket API), httpMethod with requestContext (REST API), \
     flowgate (invocation by a Gateway), or a JSON object as for POST /post without keys of other services' events"
)]
pub(super) struct UnknownEvent;

impl EventSource {
    /// Recognizes the source of an event.
    ///
    /// # Errors
    /// When no known service sends such events.
    pub(super) fn detect(event: &str) -> Result<Self, UnknownEvent> {
        // serde would read the keys from a list too.
        if !event.trim_start().starts_with('{') {
            return Err(UnknownEvent);
        }
        let keys: Keys = serde_json::from_str(event).map_err(|_| UnknownEvent)?;
        if keys.push.is_some() {
            return Ok(Self::WebSocketPush);
        }
        if keys.flowgate.is_some() {
            return Ok(Self::Gateway);
        }
        if let Some(context) = &keys.request_context {
            return Self::detect_front_door(&keys, context).ok_or(UnknownEvent);
        }
        if keys.is_from_other_service() {
            return Err(UnknownEvent);
        }
        Ok(Self::PlainJson)
    }

    fn detect_front_door(keys: &Keys, context: &RequestContext) -> Option<Self> {
        if context.elb.is_some() {
            return Some(Self::LoadBalancer);
        }
        if context.connection_id.is_some() && context.event_type.is_some() {
            return Some(Self::WebSocketApi);
        }
        let version = keys.version.as_ref().and_then(Value::as_str);
        match (version, &context.http) {
            (Some("2.0"), Some(_)) if context.is_function_url() => Some(Self::FunctionUrl {
                has_authorizer: context.authorizer.is_some(),
            }),
            (Some("2.0"), Some(_)) => Some(Self::HttpApi),
            (Some("1.0"), _) if keys.http_method.is_some() => Some(Self::HttpApiV1),
            _ if keys.http_method.is_some() => Some(Self::RestApi),
            _ => None,
        }
    }
}

/// The keys that distinguish the sources.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    version: Option<Value>,
    request_context: Option<RequestContext>,
    http_method: Option<IgnoredAny>,
    #[serde(rename = "flowgateWebSocket")]
    push: Option<IgnoredAny>,
    flowgate: Option<IgnoredAny>,
    #[serde(rename = "Records")]
    records: Option<IgnoredAny>,
    #[serde(rename = "detail-type")]
    detail_type: Option<IgnoredAny>,
    awslogs: Option<IgnoredAny>,
    event_source: Option<IgnoredAny>,
    trigger_source: Option<IgnoredAny>,
    #[serde(rename = "RequestType")]
    request_type: Option<IgnoredAny>,
    raw_path: Option<IgnoredAny>,
}

impl Keys {
    /// Whether SQS, S3, SNS, DynamoDB, Kinesis, EventBridge, CloudWatch Logs, Kafka, Cognito or `CloudFormation` sent it
    /// (each service's page on Lambda), or it is half of an HTTP event.
    const fn is_from_other_service(&self) -> bool {
        self.records.is_some()
            || self.detail_type.is_some()
            || self.awslogs.is_some()
            || self.event_source.is_some()
            || self.trigger_source.is_some()
            || self.request_type.is_some()
            || self.http_method.is_some()
            || self.raw_path.is_some()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    elb: Option<IgnoredAny>,
    connection_id: Option<IgnoredAny>,
    event_type: Option<IgnoredAny>,
    http: Option<IgnoredAny>,
    domain_name: Option<String>,
    authorizer: Option<IgnoredAny>,
}

impl RequestContext {
    /// Whether the domain is `<url-id>.lambda-url.<region>.on.aws`, or has another partition's suffix (AWS Lambda,
    /// function URLs).
    fn is_function_url(&self) -> bool {
        let name = self.domain_name.as_deref().unwrap_or_default();
        name.split('.').nth(1) == Some("lambda-url")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_recognized_by_their_keys() {
        for (event, source) in [
            (
                r#"{"version":"2.0","requestContext":{"http":{}}}"#,
                EventSource::HttpApi,
            ),
            (
                r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws"}}"#,
                EventSource::FunctionUrl {
                    has_authorizer: false,
                },
            ),
            (
                r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws","authorizer":{"iam":{}}}}"#,
                EventSource::FunctionUrl {
                    has_authorizer: true,
                },
            ),
            (
                r#"{"httpMethod":"GET","requestContext":{"elb":{}}}"#,
                EventSource::LoadBalancer,
            ),
            (
                r#"{"httpMethod":"GET","requestContext":{}}"#,
                EventSource::RestApi,
            ),
            (
                r#"{"requestContext":{"connectionId":"a","eventType":"MESSAGE"}}"#,
                EventSource::WebSocketApi,
            ),
            (r#"{"flowgateWebSocket":{}}"#, EventSource::WebSocketPush),
            (r#"{"flowgate":1,"call":"status"}"#, EventSource::Gateway),
            (r#"{"data":[],"execEndpoint":"/"}"#, EventSource::PlainJson),
            (r#"{"exec_endpoint":"/"}"#, EventSource::PlainJson),
            (
                r#"{"targetExecutor":"a","version":1}"#,
                EventSource::PlainJson,
            ),
            ("{}", EventSource::PlainJson),
            (
                r#"{"version":"1.0","httpMethod":"GET","requestContext":{}}"#,
                EventSource::HttpApiV1,
            ),
        ] {
            assert_eq!(EventSource::detect(event).expect(event), source, "{event}");
        }
    }

    #[test]
    fn the_error_for_an_unknown_event_names_the_expected_keys() {
        for event in [
            "[]",
            "1",
            r#""text""#,
            "null",
            r#"{"Records":[]}"#,
            r#"{"version":"0","detail-type":"Scheduled Event","detail":{}}"#,
            r#"{"awslogs":{"data":""}}"#,
            r#"{"httpMethod":"GET","path":"/"}"#,
            r#"{"version":2,"requestContext":{"http":{}}}"#,
            r#"{"requestContext":"text","httpMethod":"GET"}"#,
        ] {
            let error = EventSource::detect(event).expect_err(event).to_string();
            assert!(error.contains("requestContext.elb"), "{error}");
        }
    }
}
