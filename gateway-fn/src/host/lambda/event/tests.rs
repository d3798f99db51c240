//! How sources are recognized, and what the error for an unknown event says.

use super::*;

fn source(text: &str) -> EventSource {
    Event::parse(text).expect(text).source
}

#[test]
fn sources_are_recognized_by_their_keys() {
    let url = |has_authorizer| EventSource::FunctionUrl { has_authorizer };
    for (event, expected) in [
        (
            r#"{"version":"2.0","requestContext":{"http":{}}}"#,
            EventSource::HttpApi,
        ),
        (
            r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws"}}"#,
            url(false),
        ),
        (
            r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws","authorizer":{"iam":{}}}}"#,
            url(true),
        ),
        // Null is a missing authorizer.
        (
            r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws","authorizer":null}}"#,
            url(false),
        ),
        (
            r#"{"version":"2.0","requestContext":{"http":{},"domainName":"a.lambda-url.eu-west-1.on.aws","authorizer":{"iam":null}}}"#,
            url(false),
        ),
        (
            r#"{"httpMethod":"GET","requestContext":{"elb":{}}}"#,
            EventSource::LoadBalancer,
        ),
        (
            r#"{"httpMethod":"GET","requestContext":{"elb":null,"connectionId":null,"eventType":null,"stage":"a"}}"#,
            EventSource::RestApi,
        ),
        (
            r#"{"version":"1.0","httpMethod":"GET","requestContext":{"stage":"a"}}"#,
            EventSource::HttpApiV1,
        ),
        (
            r#"{"version":"2.0","path":"/","method":"GET","requestContext":{"serviceArn":"arn"}}"#,
            EventSource::VpcLatticeV2,
        ),
        (
            r#"{"raw_path":"/","method":"GET","headers":{}}"#,
            EventSource::VpcLatticeV1,
        ),
        (
            r#"{"requestContext":{"connectionId":"a","eventType":"MESSAGE"}}"#,
            EventSource::WebSocketApi,
        ),
        (
            r#"{"requestContext":{"connectionId":"a","eventType":null,"routeKey":"$connect"}}"#,
            EventSource::WebSocketApi,
        ),
        (r#"{"flowgateWebSocket":{}}"#, EventSource::WebSocketPush),
        (r#"{"flowgate":1,"call":"status"}"#, EventSource::Gateway),
        (r#" {"call":"status","flowgate":2}"#, EventSource::Gateway),
        (r#"{"data":[],"execEndpoint":"/"}"#, EventSource::PlainJson),
        (r#"{"exec_endpoint":"/"}"#, EventSource::PlainJson),
        (
            r#"{"targetExecutor":"a","version":1,"path":{},"body":[{}]}"#,
            EventSource::PlainJson,
        ),
        (
            r#"{"source":"serverless-plugin-warmup"}"#,
            EventSource::Warmer,
        ),
        (
            r#"{"detail-type":"Scheduled Event","source":"aws.events"}"#,
            EventSource::Warmer,
        ),
    ] {
        assert_eq!(source(event), expected, "{event}");
    }
}

#[test]
fn the_error_for_an_unknown_event_says_what_came_and_what_is_expected() {
    for (event, received) in [
        ("[]", "not a JSON object"),
        (r#""text""#, "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "not valid JSON"),
        ("{}", "an empty JSON object"),
        (r#"{"foo":1}"#, r#"the keys "foo""#),
        (r#"{"Records":[{"eventSource":"aws:sqs"}]}"#, "Amazon SQS"),
        (r#"{"awslogs":{"data":""}}"#, "Amazon CloudWatch Logs"),
        (r#"{"httpMethod":"GET","path":"/"}"#, "an HTTP API"),
        (
            r#"{"version":2,"requestContext":{"http":{}}}"#,
            "an HTTP or WebSocket API",
        ),
        (
            r#"{"requestContext":"text","httpMethod":"GET"}"#,
            "an HTTP or WebSocket API",
        ),
        (
            r#"{"type":"REQUEST","methodArn":"arn","httpMethod":"GET","requestContext":{"stage":"a"}}"#,
            "an API Gateway authorizer",
        ),
        (
            r#"{"version":"2.0","type":"REQUEST","routeArn":"arn","requestContext":{"http":{"method":"GET"}}}"#,
            "an API Gateway authorizer",
        ),
    ] {
        let error = Event::parse(event).expect_err(event).to_string();
        assert!(error.contains(received), "{event}: {error}");
        assert!(error.contains("requestContext.elb"), "{error}");
    }
}

#[test]
fn the_arrival_is_read_in_each_unit() {
    let arrived = |context: &str| {
        let event = format!(
            r#"{{"version":"2.0","httpMethod":"GET","requestContext":{{"stage":"a",{context}}}}}"#
        );
        Event::parse(&event).expect("an event").arrived()
    };
    let expected = from_unix_millis(1_724_875_399_456);
    for context in [
        r#""timeEpoch":1724875399456"#,
        r#""requestTimeEpoch":1724875399456"#,
        r#""timeEpoch":"1724875399456789""#,
    ] {
        assert_eq!(arrived(context), expected, "{context}");
    }
    assert_eq!(arrived(r#""timeEpoch":"soon""#), None);
    assert_eq!(arrived(r#""timeEpoch":null"#), None);
}
