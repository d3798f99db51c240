//! An event's JSON -> who sent it, told by the tags that only this sender sets, and never by what happens to parse.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

/// Who sent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// An HTTP API of API Gateway, payload version 2.0, or what looks like one on a laptop.
    HttpApi,
    /// A function URL.
    FunctionUrl {
        /// Whether somebody has checked who calls.
        authorized: bool,
    },
    /// A REST API of API Gateway.
    RestApi,
    /// An HTTP API with payload version 1.0, whose events and answers are a REST API's.
    HttpApi1,
    /// An Application Load Balancer.
    LoadBalancer,
    /// A WebSocket API of API Gateway.
    WebSocketApi,
    /// This function itself, by an asynchronous invocation.
    Push,
    /// A Gateway to which this function is an Executor.
    Invocation,
    /// A person, with the JSON of `/post`.
    Json,
}

/// An event that nobody known has sent.
#[derive(Debug, thiserror::Error)]
#[error(
    "the event is none that this function knows: it has neither version 2.0 with requestContext.http (HTTP API, \
     function URL), nor requestContext.elb (load balancer), nor requestContext.connectionId with eventType (WebSocket \
     API), nor httpMethod with requestContext (REST API), nor flowgate (an invocation), and it is not the JSON of /post: \
     no object, or one with a key of another service's events"
)]
pub(super) struct UnknownEvent;

impl Sender {
    /// Tells the sender by the event's tags.
    pub(super) fn of(event: &str) -> Result<Self, UnknownEvent> {
        // serde would read the tags from a list too.
        if !event.trim_start().starts_with('{') {
            return Err(UnknownEvent);
        }
        let tags: Tags = serde_json::from_str(event).map_err(|_| UnknownEvent)?;
        if tags.push.is_some() {
            return Ok(Self::Push);
        }
        if tags.flowgate.is_some() {
            return Ok(Self::Invocation);
        }
        if let Some(context) = &tags.request_context {
            return Self::in_front(&tags, context).ok_or(UnknownEvent);
        }
        if tags.is_of_another_service() {
            return Err(UnknownEvent);
        }
        Ok(Self::Json)
    }

    fn in_front(tags: &Tags, context: &RequestContext) -> Option<Self> {
        if context.elb.is_some() {
            return Some(Self::LoadBalancer);
        }
        if context.connection_id.is_some() && context.event_type.is_some() {
            return Some(Self::WebSocketApi);
        }
        let version = tags.version.as_ref().and_then(Value::as_str);
        match (version, &context.http) {
            (Some("2.0"), Some(_)) if context.is_function_url() => Some(Self::FunctionUrl {
                authorized: context.authorizer.is_some(),
            }),
            (Some("2.0"), Some(_)) => Some(Self::HttpApi),
            (Some("1.0"), _) if tags.http_method.is_some() => Some(Self::HttpApi1),
            _ if tags.http_method.is_some() => Some(Self::RestApi),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tags {
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

impl Tags {
    /// Queues, buckets, topics, tables and streams; EventBridge; CloudWatch Logs; Kafka; Cognito; `CloudFormation`; and
    /// what is half an HTTP event (each service's page on Lambda).
    const fn is_of_another_service(&self) -> bool {
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
    /// `<url-id>.lambda-url.<region>.on.aws`, or `.amazonaws.com.cn` and the like elsewhere (AWS Lambda, function URLs).
    fn is_function_url(&self) -> bool {
        let name = self.domain_name.as_deref().unwrap_or_default();
        name.split('.').nth(1) == Some("lambda-url")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_told_by_their_tags() {
        for (event, sender) in [
            (
                r#"{"version":"2.0","requestContext":{"http":{}}}"#,
                Sender::HttpApi,
            ),
            (
                r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws"}}"#,
                Sender::FunctionUrl { authorized: false },
            ),
            (
                r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws","authorizer":{"iam":{}}}}"#,
                Sender::FunctionUrl { authorized: true },
            ),
            (
                r#"{"httpMethod":"GET","requestContext":{"elb":{}}}"#,
                Sender::LoadBalancer,
            ),
            (
                r#"{"httpMethod":"GET","requestContext":{}}"#,
                Sender::RestApi,
            ),
            (
                r#"{"requestContext":{"connectionId":"a","eventType":"MESSAGE"}}"#,
                Sender::WebSocketApi,
            ),
            (r#"{"flowgateWebSocket":{}}"#, Sender::Push),
            (r#"{"flowgate":1,"call":"status"}"#, Sender::Invocation),
            (r#"{"data":[],"execEndpoint":"/"}"#, Sender::Json),
            (r#"{"exec_endpoint":"/"}"#, Sender::Json),
            (r#"{"targetExecutor":"a","version":1}"#, Sender::Json),
            ("{}", Sender::Json),
            (
                r#"{"version":"1.0","httpMethod":"GET","requestContext":{}}"#,
                Sender::HttpApi1,
            ),
        ] {
            assert_eq!(Sender::of(event).expect(event), sender, "{event}");
        }
    }

    #[test]
    fn strangers_are_told_what_was_looked_for() {
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
            let error = Sender::of(event).expect_err(event).to_string();
            assert!(error.contains("requestContext.elb"), "{error}");
        }
    }
}
