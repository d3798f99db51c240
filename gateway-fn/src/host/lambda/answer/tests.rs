//! What of an answer travels as text, what as base64, and what not at all.

use serde_json::Value;

use super::*;

async fn written(sender: Sender, answer: Response) -> Value {
    let form = Form {
        sender,
        multi_value: false,
        dialect: Dialect::GrpcWeb,
    };
    let written = form.write(answer, None).await.expect("JSON");
    serde_json::from_str(&written.text).expect("JSON")
}

fn of_kind(kind: &'static str, body: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

#[tokio::test]
async fn bytes_are_base64_and_text_is_text() {
    for (kind, body, is_base64) in [
        ("application/json", &b"{}"[..], false),
        ("text/html; charset=utf-8", "ü".as_bytes(), false),
        ("text/plain", b"\xff", true),
        ("application/grpc-web+proto", b"abc", true),
        ("application/grpc-web-text+proto", b"YWJj", false),
        ("application/proto", b"", true),
    ] {
        let written = written(Sender::HttpApi, of_kind(kind, body)).await;
        assert_eq!(written["isBase64Encoded"], is_base64, "{kind}");
    }
}

#[tokio::test]
async fn headers_of_the_connection_stay_behind_and_lists_are_joined() {
    let mut answer = of_kind("text/plain", b"a");
    for (name, value) in [
        ("content-length", "1"),
        ("vary", "a"),
        ("vary", "b"),
        ("set-cookie", "c=1"),
        ("set-cookie", "d=2"),
    ] {
        answer
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
    let written = written(Sender::HttpApi, answer).await;
    assert_eq!(written["headers"]["vary"], "a, b");
    assert!(written["headers"].get("content-length").is_none());
    assert_eq!(written["cookies"], json!(["c=1", "d=2"]));
}

#[tokio::test]
async fn a_grpc_web_answer_that_is_too_large_is_a_grpc_status() {
    static LARGE: [u8; 6 << 20] = [0; 6 << 20];
    let answer = of_kind("application/grpc-web+proto", &LARGE);
    let written = written(Sender::HttpApi, answer).await;
    assert_eq!(written["statusCode"], 200);
    assert_eq!(written["headers"]["grpc-status"], "8");
    let message = written["headers"]["grpc-message"].as_str().expect("text");
    assert!(message.contains("6291456"), "{message}");
}

#[tokio::test]
async fn a_failure_of_the_function_is_told_as_the_client_speaks() {
    for (dialect, status, said) in [
        (Dialect::Http, 413, "detail"),
        (Dialect::Connect, 429, "resource_exhausted"),
    ] {
        let answer = failed(dialect, ErrorCode::TooLarge, "too large");
        let written = written(Sender::HttpApi, answer).await;
        assert_eq!(written["statusCode"], status);
        let body = written["body"].as_str().expect("text");
        assert!(body.contains(said) && body.contains("too large"), "{body}");
    }
}

#[tokio::test]
async fn a_page_may_read_that_an_answer_is_too_large() {
    static LARGE: [u8; 6 << 20] = [b'a'; 6 << 20];
    let mut answer = of_kind("text/plain", &LARGE);
    let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static("*"));
    let written = written(Sender::HttpApi, answer).await;
    assert_eq!(written["headers"]["access-control-allow-origin"], "*");
}
