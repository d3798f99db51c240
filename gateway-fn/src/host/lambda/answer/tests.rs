//! What of an answer travels as text, what as base64, and what not at all.

use serde_json::Value;

use super::*;

async fn written(sender: Sender, answer: Response) -> Value {
    let form = Form {
        sender,
        multi_value: false,
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
