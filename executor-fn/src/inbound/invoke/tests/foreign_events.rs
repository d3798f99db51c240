//! Events of other services, and warmers.

use super::*;

#[tokio::test]
async fn an_event_of_another_service_is_an_error_that_names_it() {
    for (payload, received) in [
        (
            r#"{"Records":[{"eventSource":"aws:sqs","body":"{\"data\":[]}"}]}"#,
            "Amazon SQS",
        ),
        (r#"{"Records":[{"EventSource":"aws:sns"}]}"#, "Amazon SNS"),
        (
            r#"{"Records":[{"eventSource":"aws:dynamodb"}]}"#,
            "Amazon DynamoDB",
        ),
        (r#"{"eventSource":"aws:kafka","records":{}}"#, "Amazon MSK"),
        (
            r#"{"source":"aws.s3","detail-type":"Object Created","detail":{}}"#,
            "Amazon EventBridge",
        ),
        (
            r#"{"version":"2.0","rawPath":"/post","requestContext":{},"body":"{\"data\":[]}"}"#,
            "HTTP",
        ),
        (
            r#"{"httpMethod":"POST","path":"/post","body":"{}"}"#,
            "HTTP",
        ),
        (r#"{"foo":1}"#, "JSON with the keys \"foo\""),
        ("{}", "an empty JSON object"),
    ] {
        let never = Executor::new("E").on_default(|_| async { panic!("called") });
        let bytes = Bytes::from_static(payload.as_bytes());
        let error = answer_error(never, bytes, None).await;
        let kind = Some(FunctionErrorKind::BadPayload);
        assert_eq!(error.kind(), kind, "{payload}");
        for part in [received, "expected", "execEndpoint"] {
            let message = &error.error_message;
            assert!(message.contains(part), "{payload}: {message}");
        }
    }
}

#[tokio::test]
async fn a_warmer_is_answered_without_a_handler() {
    let never = Executor::new("E").on_default(|_| async { panic!("called") });
    let server = server(never);
    for payload in [
        r#"{"source":"serverless-plugin-warmup"}"#,
        r#"{"warmer":true}"#,
        r#"{"source":"aws.events","detail-type":"Scheduled Event","detail":{}}"#,
    ] {
        let bytes = Bytes::from_static(payload.as_bytes());
        let answer = server.answer(bytes, None).await.expect("an answer");
        assert_eq!(&*answer, WARM_UP_ANSWER, "{payload}");
    }
}
