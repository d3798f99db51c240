//! Requests, warmers and events of other services. All samples of the crate `aws_lambda_events` are tested beside the Gateway's
//! function, which depends on that crate.

use super::*;

fn received(text: &str) -> String {
    match recognize_json(text) {
        JsonPayload::Foreign(event) => event.received().to_owned(),
        other => panic!("{text} is taken for {other:?}"),
    }
}

#[test]
fn json_with_a_key_of_a_request_is_one() {
    for text in [
        r#"{"data":[]}"#,
        r#"{"exec_endpoint":"/"}"#,
        r#"{"execEndpoint":"/","foo":1}"#,
        r#"{"targetExecutor":"a","version":1}"#,
        r#"{"parameters":{},"source":"me"}"#,
        r#"{"data":[],"warmer":false,"requestContext":null}"#,
        r#"{"data":[],"warmer":true}"#,
        // Their decoder says what is wrong with them.
        "[]",
        "{",
        "",
    ] {
        assert_eq!(recognize_json(text), JsonPayload::Request, "{text}");
    }
}

#[test]
fn warmers_are_recognized() {
    for text in [
        r#"{"source":"serverless-plugin-warmup"}"#,
        r#"{"warmer":true,"concurrency":3}"#,
        r#"{"warmup":true}"#,
        r#"{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}"#,
        r#"{"version":"0","detail-type":"Scheduled Event","source":"aws.scheduler","detail":"{}"}"#,
    ] {
        assert_eq!(recognize_json(text), JsonPayload::WarmUp, "{text}");
    }
}

#[test]
fn an_event_of_another_service_names_it() {
    for (text, service) in [
        (r#"{"Records":[{"eventSource":"aws:sqs"}]}"#, "Amazon SQS"),
        (r#"{"Records":[{"EventSource":"aws:sns"}]}"#, "Amazon SNS"),
        (r#"{"Records":[]}"#, "a service that sends Records"),
        (r#"{"Records":5}"#, "a service that sends Records"),
        (
            r#"{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification"}"#,
            "Amazon EventBridge",
        ),
        (r#"{"eventSource":"aws:kafka","records":{}}"#, "Amazon MSK"),
        (
            r#"{"type":"TOKEN","authorizationToken":"a","methodArn":"arn"}"#,
            "an API Gateway authorizer",
        ),
        (
            r#"{"httpMethod":"GET","path":"/","data":[]}"#,
            "an HTTP API",
        ),
        (
            r#"{"requestContext":{"condition":"Success"},"requestPayload":{},"responsePayload":{}}"#,
            "a destination of AWS Lambda",
        ),
        // A Bedrock agent's event has a key of a request too.
        (
            r#"{"actionGroup":"a","parameters":[]}"#,
            "an Amazon Bedrock agent",
        ),
    ] {
        assert_eq!(received(text), format!("an event of {service}"), "{text}");
    }
}

#[test]
fn other_json_is_described_by_its_keys() {
    assert_eq!(received("{}"), "an empty JSON object");
    assert_eq!(received(r#"{"foo":1}"#), r#"JSON with the keys "foo""#);
    assert_eq!(
        received(r#"{"a\n":1,"b":1,"c":1,"d":1,"e":1,"f":1}"#),
        r#"JSON with the keys "a\n", "b", "c", "d", "e" and 1 more"#
    );
    let long = format!("{{\"{}\":1}}", "x".repeat(1 << 20));
    assert!(received(&long).len() < 100);
    let JsonPayload::Foreign(event) = recognize_json(r#"{"data":null}"#) else {
        panic!("null is a missing key");
    };
    let text = event.to_string();
    assert!(
        text.contains("POST /post") && text.contains("execEndpoint"),
        "{text}"
    );
}
