//! Tests the answers to errors of the Gateway, which an empty Flow does not produce.

use super::*;

async fn reply(rejection: Rejection) -> Reply {
    let (head, body) = rejection.into_response().into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Reply(head.status, head.headers, body)
}

#[tokio::test]
async fn an_unreachable_executor_returns_the_request_with_503() {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let echo = json!({"header": {}}).to_string().into();
    reply(Rejection::Unreachable { status, echo })
        .await
        .assert_is(503, &json!({"header": {}}));
}

#[tokio::test]
async fn an_invalid_target_executor_is_422() {
    let error = json!({
        "loc": ["body", "targetExecutor"],
        "msg": "missing )",
        "type": "value_error.regex_pattern",
    });
    reply(Rejection::target_executor("missing )"))
        .await
        .assert_is(422, &json!({"detail": [error]}));
}

// Flowgate's: Jina answers with plain text, which its own client cannot parse.
#[tokio::test]
async fn any_other_failure_is_json_with_the_request_id() {
    let (detail, request_id) = ("no".to_owned(), "r".to_owned());
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let rejection = Rejection::Failed {
        status,
        detail,
        request_id,
        retry_after: None,
    };
    reply(rejection)
        .await
        .assert_is(500, &json!({"detail": "no", "requestId": "r"}));
}

#[tokio::test]
async fn a_long_invalid_body_is_repeated_in_part() {
    let error = json::parse(b"{\"data\":}").expect_err("broken");
    let text = "ü".repeat(100_000);
    let answer = reply(Rejection::syntax(&error, text.as_bytes()))
        .await
        .json();
    let doc = answer["detail"][0]["ctx"]["doc"]
        .as_str()
        .expect("text")
        .len();
    assert_eq!(doc, 64 * 1024);
}
