//! Which responses are encoded as text and which as base64, and which headers are passed on.

use serde_json::Value;

use super::*;

async fn encode(source: EventSource, response: Response) -> Value {
    let format = ResponseFormat {
        protocol: ClientProtocol::GrpcWeb,
        ..ResponseFormat::of(source)
    };
    let (head, body) = complete(response).await;
    let encoded = format.encode(head, body).await.expect("JSON");
    serde_json::from_str(encoded.json.get()).expect("JSON")
}

fn of_type(content_type: &'static str, body: &'static [u8]) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

#[tokio::test]
async fn bytes_are_base64_and_text_is_text() {
    for (content_type, body, is_base64) in [
        ("application/json", &b"{}"[..], false),
        ("text/html; charset=utf-8", "ü".as_bytes(), false),
        ("text/plain", b"\xff", true),
        ("application/grpc-web+proto", b"abc", true),
        ("application/grpc-web-text+proto", b"YWJj", false),
        ("application/proto", b"", true),
    ] {
        let encoded = encode(EventSource::HttpApi, of_type(content_type, body)).await;
        assert_eq!(encoded["isBase64Encoded"], is_base64, "{content_type}");
    }
}

#[tokio::test]
async fn connection_headers_are_removed_and_lists_are_joined() {
    let mut response = of_type("text/plain", b"a");
    for (name, value) in [
        ("content-length", "1"),
        ("vary", "a"),
        ("vary", "b"),
        ("set-cookie", "c=1"),
        ("set-cookie", "d=2"),
    ] {
        response
            .headers_mut()
            .append(name, HeaderValue::from_static(value));
    }
    let encoded = encode(EventSource::HttpApi, response).await;
    assert_eq!(encoded["headers"]["vary"], "a, b");
    assert!(encoded["headers"].get("content-length").is_none());
    assert_eq!(encoded["cookies"], json!(["c=1", "d=2"]));
}

#[tokio::test]
async fn a_grpc_web_response_that_is_too_large_becomes_a_grpc_status() {
    static LARGE: [u8; 6 << 20] = [0; 6 << 20];
    let response = of_type("application/grpc-web+proto", &LARGE);
    let encoded = encode(EventSource::HttpApi, response).await;
    assert_eq!(encoded["statusCode"], 200);
    assert_eq!(encoded["headers"]["grpc-status"], "8");
    let message = encoded["headers"]["grpc-message"].as_str().expect("text");
    assert!(message.contains("6291456"), "{message}");
}

#[tokio::test]
async fn an_error_of_the_host_has_the_format_of_the_clients_protocol() {
    for (protocol, status, expected) in [
        (ClientProtocol::Http, 413, "detail"),
        (ClientProtocol::Connect, 429, "resource_exhausted"),
    ] {
        let response = error_response(protocol, ErrorCode::TooLarge, "too large");
        let encoded = encode(EventSource::HttpApi, response).await;
        assert_eq!(encoded["statusCode"], status);
        let body = encoded["body"].as_str().expect("text");
        assert!(
            body.contains(expected) && body.contains("too large"),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_page_can_read_that_a_response_is_too_large() {
    static LARGE: [u8; 6 << 20] = [b'a'; 6 << 20];
    let mut response = of_type("text/plain", &LARGE);
    let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    response
        .headers_mut()
        .insert(name, HeaderValue::from_static("*"));
    let encoded = encode(EventSource::HttpApi, response).await;
    assert_eq!(encoded["headers"]["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn each_front_door_gets_its_type() {
    let response = || {
        let mut response = of_type("text/plain", b"a");
        for value in ["c=1", "d=2"] {
            let value = HeaderValue::from_static(value);
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        let latin1 = HeaderValue::from_bytes(b"\xe9").expect("allowed");
        response.headers_mut().insert("x-name", latin1);
        response
    };
    for source in [EventSource::VpcLatticeV1, EventSource::VpcLatticeV2] {
        let lattice = encode(source, response()).await;
        let expected = json!({
            "statusCode": 200, "isBase64Encoded": false, "body": "a",
            "headers": {"content-type": "text/plain", "set-cookie": "d=2", "x-name": "\u{fffd}"},
        });
        assert_eq!(lattice, expected);
    }
    let balanced = encode(EventSource::LoadBalancer, response()).await;
    assert_eq!(balanced["statusDescription"], "200 OK");
    assert_eq!(balanced["headers"]["set-cookie"], "d=2");
    let rest = encode(EventSource::RestApi, response()).await;
    assert_eq!(
        rest["multiValueHeaders"]["set-cookie"],
        json!(["c=1", "d=2"])
    );
    assert_eq!(rest["headers"], json!({}));
}
