//! `$connect`, messages and `$disconnect`, one event at a time.

use base64::Engine as _;
use prost::Message as _;

use super::*;

/// Returns the response to one event, which needs no call of `@connections`.
async fn respond(executor: &str, event: Value) -> Value {
    let aws = Aws::start().await;
    let events = events(executor, &aws, &WebSocketConfig::default());
    let response = events.respond(event, &lambda(LONG)).await;
    assert_eq!(aws.requests(), [""; 0], "no calls");
    response
}

#[tokio::test]
async fn connect_is_answered_with_a_subprotocol_that_the_client_offers() {
    assert_eq!(
        respond("pass_through", event("connect", |_| {})).await,
        json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "json"}})
    );
    let single = event("connect", |event| {
        event["headers"]["Sec-WebSocket-Protocol"] = "bytes".into();
        event["multiValueHeaders"] = Value::Null;
    });
    assert_eq!(
        respond("pass_through", single).await["headers"],
        json!({"Sec-WebSocket-Protocol": "bytes"})
    );
    let none = event("connect", |event| {
        event["headers"] = Value::Null;
        event["multiValueHeaders"] = Value::Null;
    });
    assert_eq!(
        respond("pass_through", none).await,
        json!({"statusCode": 200})
    );
    let unsupported = event("connect", |event| {
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!(["chat"]);
    });
    assert_eq!(
        respond("pass_through", unsupported).await,
        json!({"statusCode": 400})
    );
}

#[tokio::test]
async fn a_json_message_is_answered_as_in_a_container() {
    let response = body(&respond("pass_through", event("message", |_| {})).await);
    assert_eq!(response["header"]["request_id"], "mine");
    assert_eq!(response["data"][0]["text"], "hello");
    assert_eq!(response["routes"][1]["executor"], "it");
    assert_eq!(response.get("part"), None);
}

/// As escapes it would take 264 kB, twice as many bytes as API Gateway takes.
#[tokio::test]
async fn text_outside_of_ascii_is_not_escaped() {
    let text = "й".repeat(44 << 10);
    let sent = json!({"data": [{"text": text}]}).to_string();
    let response = respond("pass_through", message(&sent)).await;
    let bytes = response["body"].as_str().expect("a body").len();
    assert!(bytes <= limits::MAX_WEBSOCKET_MESSAGE_BYTES, "{bytes}");
    assert_eq!(body(&response)["data"][0]["text"], text);
}

#[tokio::test]
async fn null_is_read_as_a_missing_field() {
    let missing = event("message", |event| {
        for field in ["headers", "multiValueHeaders", "isBase64Encoded"] {
            event[field] = Value::Null;
        }
        for (name, value) in event["requestContext"].as_object_mut().expect("an object") {
            if name != "connectionId" {
                *value = Value::Null;
            }
        }
    });
    let response = body(&respond("pass_through", missing).await);
    assert_eq!(response["data"][0]["text"], "hello");
    let connect = event("connect", |event| {
        event["multiValueHeaders"] = json!({"Host": null, "X-A": [null, "b"]});
    });
    assert_eq!(respond("pass_through", connect).await["statusCode"], 200);
}

#[tokio::test]
async fn protobuf_is_sent_as_base64() {
    let mut request = DataRequest::default();
    request.header.request_id = "mine".to_owned();
    let text = encode::BASE64.encode(request.encode_to_vec());
    let plain = message(&text);
    let converted = event("message", |event| {
        event["body"] = text.clone().into();
        event["isBase64Encoded"] = true.into();
    });
    for event in [plain, converted] {
        let response = respond("pass_through", event).await;
        let bytes = encode::BASE64.decode(response["body"].as_str().expect("a body"));
        let response = DataRequest::decode(&bytes.expect("base64")[..]).expect("protobuf");
        assert_eq!(response.header.request_id, "mine");
        assert_eq!(response.routes.len(), 2);
    }
}

#[tokio::test]
async fn an_error_is_a_message_with_the_requests_id() {
    let invalid = body(&respond("pass_through", message(r#"{"date": []}"#)).await);
    assert_eq!(
        invalid["error"],
        json!({
            "request_id": "J_qPCG91IAMFdsw=",
            "code": 1008,
            "status": 422,
            "detail": "data: field required",
        })
    );
    assert_eq!(invalid["header"]["status"]["code"], 1, "ERROR");

    let request = r#"{"header": {"request_id": "mine"}, "data": [], "target_executor": "("}"#;
    let failed = body(&respond("pass_through", message(request)).await);
    assert_eq!(failed["error"]["request_id"], "mine");
    assert_eq!(failed["error"]["code"], 1008);
    assert_eq!(failed["error"]["status"], 422);
    assert_eq!(failed["header"]["request_id"], "mine");

    let mut request = DataRequest::default();
    request.header.target_executor = Some("(".to_owned());
    let text = encode::BASE64.encode(request.encode_to_vec());
    let failed = respond("pass_through", message(&text)).await;
    let bytes = encode::BASE64.decode(failed["body"].as_str().expect("a body"));
    let failed = DataRequest::decode(&bytes.expect("base64")[..]).expect("protobuf");
    assert_eq!(failed.header.status.expect("a status").code, 1, "ERROR");
    let keys = failed.parameters.keys().expect("a Struct");
    assert_eq!(keys, ["__error__"]);
}

#[tokio::test]
async fn a_request_ends_before_lambda_stops_the_invocation() {
    let aws = Aws::start().await;
    let events = events("never", &aws, &WebSocketConfig::default());
    let event = event("message", |_| {});
    let response = body(
        &events
            .respond(event, &lambda(Duration::from_millis(500)))
            .await,
    );
    assert_eq!(response["error"]["status"], 504);
    assert_eq!(response["error"]["request_id"], "mine");
}

#[tokio::test]
async fn a_ping_gets_a_pong() {
    let pong = respond("never", message(r#"{"action":"ping"}"#)).await;
    assert_eq!(body(&pong), json!({"action": "pong"}));
    assert_eq!(
        respond("never", message("ping")).await,
        json!({"statusCode": 200, "body": "pong"})
    );
    let by_route = event("message", |event| {
        event["requestContext"]["routeKey"] = "ping".into();
        event["body"] = r#"{"do":"ping"}"#.into();
    });
    assert_eq!(
        body(&respond("never", by_route).await),
        json!({"action": "pong"})
    );
}

#[tokio::test]
async fn the_end_of_input_closes_the_connection() {
    for end in ["{}", "AA=="] {
        let aws = Aws::start().await;
        let events = events("never", &aws, &WebSocketConfig::default());
        let response = events.respond(message(end), &lambda(LONG)).await;
        assert_eq!(response, json!({"statusCode": 200}));
        let path = format!("DELETE /@connections/{}", CONNECTION.replace('=', "%3D"));
        assert_eq!(aws.requests(), [path]);
    }
}

#[tokio::test]
async fn a_disconnect_cancels_the_clients_requests() {
    let aws = Aws::start().await;
    let events = events("never", &aws, &WebSocketConfig::default());
    let lambda = lambda(LONG);
    let mut working = Box::pin(events.respond(event("message", |_| {}), &lambda));
    assert!(futures_util::poll!(&mut working).is_pending());
    let disconnected = events.respond(event("disconnect", |_| {}), &lambda).await;
    assert_eq!(disconnected, json!({"statusCode": 200}));
    assert_eq!(working.await, json!({"statusCode": 200}));
}

#[tokio::test]
async fn an_event_of_another_service_is_refused() {
    for other in [
        json!({}),
        json!(null),
        json!({"requestContext": {"http": {}}}),
    ] {
        assert_eq!(
            respond("pass_through", other).await,
            json!({"statusCode": 400})
        );
    }
}

#[tokio::test]
async fn the_front_door_timeout_applies() {
    let aws = Aws::start().await;
    let mut events = events("never", &aws, &WebSocketConfig::default());
    events.settings.front_door_timeout = Some(Duration::from_millis(200));
    let response = events
        .respond(event("message", |_| {}), &lambda(LONG))
        .await;
    assert_eq!(body(&response)["error"]["status"], 504, "long before 29 s");
}
