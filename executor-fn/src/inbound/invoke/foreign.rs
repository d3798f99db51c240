//! Recognizes JSON that is not a request: events of other AWS services, and warmers, whose only purpose is to keep a function
//! warm. An Executor's function and a Gateway's function ask it about every payload without the key `flowgate`.
//!
//! A function that answered such an event as a request would report success for work that it has not done: a queue
//! would delete the messages. So JSON by hand needs one of the keys of a request.

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The answer to a warmer.
pub const WARM_UP_ANSWER: &str = r#"{"warm":true}"#;

/// What a JSON payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonPayload {
    /// It has at least one key of the body of `POST /post`, or it is not a JSON object, which its decoder reports.
    Request,
    /// A warmer, to be answered with [`WARM_UP_ANSWER`].
    WarmUp,
    /// An event of another service, or JSON without any key of a request.
    Foreign(ForeignEvent),
}

/// An event that is not a request. Its text names the service, or the keys, and what is expected instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{received} is not a request: {EXPECTED}")]
pub struct ForeignEvent {
    received: String,
}

impl ForeignEvent {
    /// Describes what was received: `an event of Amazon SQS`.
    #[must_use]
    pub fn received(&self) -> &str {
        &self.received
    }
}

/// What a function expects of JSON by hand.
const EXPECTED: &str = "expected the JSON of POST /post, with at least one of the keys data, execEndpoint, targetExecutor and \
                        parameters, or the payload of a Gateway, with the key flowgate (proto/INVOKE.md)";

/// The keys of a request in both spellings, as `flowgate_proto::json` reads them.
const REQUEST_KEYS: [&str; 6] = [
    "data",
    "execEndpoint",
    "exec_endpoint",
    "targetExecutor",
    "target_executor",
    "parameters",
];

/// Recognizes the JSON of an invocation by its top-level keys. A key whose value is null counts as missing.
#[must_use]
pub fn recognize_json(text: &str) -> JsonPayload {
    let mut json = serde_json::Deserializer::from_str(text);
    let Ok(keys) = json.deserialize_map(KeysVisitor) else {
        return JsonPayload::Request;
    };
    let is_request = REQUEST_KEYS.iter().any(|key| keys.has(key));
    // Documents beside a warmer's key are not dropped.
    if keys.is_warmer() && !is_request {
        return JsonPayload::WarmUp;
    }
    if let Some(service) = keys.service() {
        let received = format!("an event of {service}");
        return JsonPayload::Foreign(ForeignEvent { received });
    }
    if is_request {
        return JsonPayload::Request;
    }
    let received = keys.describe();
    JsonPayload::Foreign(ForeignEvent { received })
}

/// Services by a key that only their events have at the top level, as each service's page on Lambda shows it. The first
/// that matches counts.
const SERVICES: [(&str, &str); 33] = [
    ("LifecycleEventHookExecutionId", "AWS CodeDeploy"),
    // Its event has a `requestContext` too.
    ("requestPayload", "a destination of AWS Lambda"),
    ("awslogs", "Amazon CloudWatch Logs"),
    ("alarmData", "Amazon CloudWatch alarms"),
    ("deliveryStreamArn", "Amazon Data Firehose"),
    ("triggerSource", "Amazon Cognito"),
    ("datasetName", "Amazon Cognito Sync"),
    ("ResourceProperties", "AWS CloudFormation"),
    ("RequestType", "AWS CloudFormation"),
    ("methodArn", "an API Gateway authorizer"),
    ("routeArn", "an API Gateway authorizer"),
    ("authorizationToken", "an authorizer"),
    ("protocolData", "an AWS IoT authorizer"),
    ("deviceEvent", "AWS IoT 1-Click"),
    ("deviceInfo", "AWS IoT 1-Click"),
    ("clickType", "an AWS IoT button"),
    ("configRuleName", "AWS Config"),
    ("CodePipeline.job", "AWS CodePipeline"),
    ("sessionState", "Amazon Lex"),
    ("currentIntent", "Amazon Lex"),
    ("ClientRequestToken", "AWS Secrets Manager"),
    ("getObjectContext", "Amazon S3 Object Lambda"),
    ("xAmzRequestId", "Amazon S3 Object Lambda"),
    ("invocationSchemaVersion", "Amazon S3 Batch Operations"),
    ("actionGroup", "an Amazon Bedrock agent"),
    ("connection-id", "AWS Client VPN"),
    ("Details", "Amazon Connect"),
    ("typeName", "AWS AppSync"),
    ("requestContext", "an HTTP or WebSocket API"),
    ("httpMethod", "an HTTP API"),
    ("rawPath", "an HTTP API"),
    ("raw_path", "Amazon VPC Lattice"),
    ("arguments", "AWS AppSync"),
];

/// Services by the value of `eventSource` of an event or of its first record, without `aws:`.
const EVENT_SOURCES: [(&str, &str); 14] = [
    ("sqs", "Amazon SQS"),
    ("sns", "Amazon SNS"),
    ("s3", "Amazon S3"),
    ("dynamodb", "Amazon DynamoDB Streams"),
    ("kinesis", "Amazon Kinesis"),
    ("ses", "Amazon SES"),
    ("codecommit", "AWS CodeCommit"),
    ("kafka", "Amazon MSK"),
    ("SelfManagedKafka", "Apache Kafka"),
    ("mq", "Amazon MQ"),
    ("amq", "Amazon MQ"),
    ("rmq", "Amazon MQ"),
    ("docdb", "Amazon DocumentDB"),
    ("documentdb", "Amazon DocumentDB"),
];

/// Further keys whose values are needed.
const VALUES: [&str; 7] = [
    "Records",
    "eventSource",
    "source",
    "detail-type",
    "warmer",
    "warmup",
    "records",
];

/// How many keys of an unknown payload, and how many characters of each, an error quotes.
const MAX_QUOTED_KEYS: usize = 5;
const MAX_QUOTED_CHARS: usize = 40;

/// The keys at the top level of a JSON object.
struct Keys<'a> {
    /// The keys that this module knows, with values that are not null.
    known: Vec<(&'static str, &'a RawValue)>,
    /// The first keys of all.
    first: Vec<String>,
    total: usize,
}

impl Keys<'_> {
    fn has(&self, key: &str) -> bool {
        self.known.iter().any(|(known, _)| *known == key)
    }

    /// Returns the value of a key, if it is a string.
    fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        let (_, value) = self.known.iter().rfind(|(known, _)| *known == key)?;
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    }

    /// Whether this is a warmer: a plug-in's, or a schedule of EventBridge (`aws.events` for rules, `aws.scheduler` for
    /// EventBridge Scheduler), which has no input of its own.
    fn is_warmer(&self) -> bool {
        let is_true = |key| {
            let value = self.known.iter().find(|(known, _)| *known == key);
            value.is_some_and(|(_, value)| value.get() == "true")
        };
        if is_true("warmer") || is_true("warmup") {
            return true;
        }
        match self.text("source").as_deref() {
            Some("serverless-plugin-warmup") => true,
            Some("aws.events" | "aws.scheduler") => {
                self.text("detail-type").as_deref() == Some("Scheduled Event")
            }
            _ => false,
        }
    }

    /// Names the service that sent the event.
    fn service(&self) -> Option<Cow<'static, str>> {
        if self.has("Records") {
            let source = self.first_record_source();
            let service = source.as_deref().and_then(service_of_source);
            return Some(service.unwrap_or("a service that sends Records").into());
        }
        if self.has("detail-type") {
            return Some("Amazon EventBridge".into());
        }
        if let Some(source) = self.text("eventSource") {
            return Some(
                service_of_source(&source)
                    .unwrap_or("an event source mapping")
                    .into(),
            );
        }
        let service = SERVICES.iter().find(|(key, _)| self.has(key));
        service.map(|(_, service)| (*service).into())
    }

    /// Returns `eventSource` of the first record; SNS writes `EventSource`.
    fn first_record_source(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Record {
            #[serde(rename = "eventSource", alias = "EventSource")]
            source: Option<String>,
        }
        let (_, records) = self.known.iter().rfind(|(known, _)| *known == "Records")?;
        let records: Vec<Record> = serde_json::from_str(records.get()).ok()?;
        records.into_iter().next()?.source
    }

    /// Describes a payload without any known key.
    fn describe(&self) -> String {
        let quoted = self.first.iter().map(|key| format!("{key:?}"));
        let quoted = quoted.collect::<Vec<_>>().join(", ");
        match self.total.checked_sub(self.first.len()) {
            _ if self.total == 0 => "an empty JSON object".to_owned(),
            Some(more @ 1..) => format!("JSON with the keys {quoted} and {more} more"),
            _ => format!("JSON with the keys {quoted}"),
        }
    }
}

fn service_of_source(source: &str) -> Option<&'static str> {
    let name = source.strip_prefix("aws:").unwrap_or(source);
    let service = EVENT_SOURCES.iter().find(|(known, _)| *known == name);
    service.map(|(_, service)| *service)
}

/// Returns the key as one that this module knows.
fn known_key(key: &str) -> Option<&'static str> {
    let services = SERVICES.iter().map(|(key, _)| *key);
    let mut known = services.chain(REQUEST_KEYS).chain(VALUES);
    known.find(|known| *known == key)
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Keys<'de>, M::Error> {
        let mut keys = Keys {
            known: Vec::new(),
            first: Vec::new(),
            total: 0,
        };
        while let Some(key) = map.next_key::<String>()? {
            keys.total += 1;
            if keys.first.len() < MAX_QUOTED_KEYS {
                keys.first
                    .push(key.chars().take(MAX_QUOTED_CHARS).collect());
            }
            match known_key(&key) {
                Some(known) => {
                    let value: &RawValue = map.next_value()?;
                    keys.known.retain(|(key, _)| *key != known);
                    if value.get() != "null" {
                        keys.known.push((known, value));
                    }
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests;
