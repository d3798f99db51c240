//! `$connect`, messages and `$disconnect`, one event at a time.

use base64::Engine as _;
use prost::Message as _;

use super::*;

async fn answer(executor: &str, event: Value) -> Value {
    let aws = Aws::start().await;
    let events = events(executor, &aws, &WebSocketConfig::default());
    let answer = events.take(event, &lambda(LONG)).await;
    assert_eq!(aws.asked(), [""; 0], "a route response needs no call");
    answer
}

#[tokio::test]
async fn a_client_is_answered_a_subprotocol_that_it_offered() {
    assert_eq!(
        answer("pass_through", event("connect", |_| {})).await,
        json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "json"}})
    );
    let single = event("connect", |event| {
        event["headers"]["Sec-WebSocket-Protocol"] = "bytes".into();
        event["multiValueHeaders"] = Value::Null;
    });
    assert_eq!(
        answer("pass_through", single).await["headers"],
        json!({"Sec-WebSocket-Protocol": "bytes"})
    );
    let none = event("connect", |event| {
        event["headers"] = Value::Null;
        event["multiValueHeaders"] = Value::Null;
    });
    assert_eq!(
        answer("pass_through", none).await,
        json!({"statusCode": 200})
    );
    let unusable = event("connect", |event| {
        event["multiValueHeaders"]["Sec-WebSocket-Protocol"] = json!(["chat"]);
    });
    assert_eq!(
        answer("pass_through", unusable).await,
        json!({"statusCode": 400})
    );
}

#[tokio::test]
async fn a_json_message_is_answered_as_in_a_container() {
    let answer = body(&answer("pass_through", event("message", |_| {})).await);
    assert_eq!(answer["header"]["request_id"], "mine");
    assert_eq!(answer["data"][0]["text"], "hello");
    assert_eq!(answer["routes"][1]["executor"], "it");
    assert_eq!(answer.get("part"), None);
}

#[tokio::test]
async fn protobuf_travels_as_base64() {
    let mut request = DataRequest::default();
    request.header.request_id = "mine".to_owned();
    let text = message::BASE64.encode(request.encode_to_vec());
    let plain = message(&text);
    let converted = event("message", |event| {
        event["body"] = text.clone().into();
        event["isBase64Encoded"] = true.into();
    });
    for event in [plain, converted] {
        let answer = answer("pass_through", event).await;
        let bytes = message::BASE64.decode(answer["body"].as_str().expect("a body"));
        let answer = DataRequest::decode(&bytes.expect("base64")[..]).expect("protobuf");
        assert_eq!(answer.header.request_id, "mine");
        assert_eq!(answer.routes.len(), 2);
    }
}

#[tokio::test]
async fn an_error_is_a_message_and_names_the_request() {
    let unreadable = body(&answer("pass_through", message(r#"{"date": []}"#)).await);
    assert_eq!(
        unreadable["error"],
        json!({
            "request_id": "J_qPCG91IAMFdsw=",
            "code": 1008,
            "status": 422,
            "detail": "data: field required",
        })
    );
    assert_eq!(unreadable["header"]["status"]["code"], 1, "ERROR");

    let request = r#"{"header": {"request_id": "mine"}, "data": [], "target_executor": "("}"#;
    let failed = body(&answer("pass_through", message(request)).await);
    assert_eq!(failed["error"]["request_id"], "mine");
    assert_eq!(failed["error"]["code"], 1008);
    assert_eq!(failed["error"]["status"], 422);
    assert_eq!(failed["header"]["request_id"], "mine");

    let mut request = DataRequest::default();
    request.header.target_executor = Some("(".to_owned());
    let text = message::BASE64.encode(request.encode_to_vec());
    let failed = answer("pass_through", message(&text)).await;
    let bytes = message::BASE64.decode(failed["body"].as_str().expect("a body"));
    let failed = DataRequest::decode(&bytes.expect("base64")[..]).expect("protobuf");
    assert_eq!(failed.header.status.expect("a status").code, 1, "ERROR");
    let keys = failed.parameters.keys().expect("a Struct");
    assert_eq!(keys, ["__error__"]);
}

#[tokio::test]
async fn work_is_cut_before_api_gateway_does_it() {
    let aws = Aws::start().await;
    let events = events("never", &aws, &WebSocketConfig::default());
    let event = event("message", |_| {});
    let answer = body(
        &events
            .take(event, &lambda(Duration::from_millis(500)))
            .await,
    );
    assert_eq!(answer["error"]["status"], 504);
    assert_eq!(answer["error"]["request_id"], "mine");
}

#[tokio::test]
async fn a_ping_is_answered() {
    let pong = answer("never", message(r#"{"action":"ping"}"#)).await;
    assert_eq!(body(&pong), json!({"action": "pong"}));
    assert_eq!(
        answer("never", message("ping")).await,
        json!({"statusCode": 200, "body": "pong"})
    );
    let by_route = event("message", |event| {
        event["requestContext"]["routeKey"] = "ping".into();
        event["body"] = r#"{"do":"ping"}"#.into();
    });
    assert_eq!(
        body(&answer("never", by_route).await),
        json!({"action": "pong"})
    );
}

#[tokio::test]
async fn the_end_of_input_ends_the_connection() {
    for end in ["{}", "AA=="] {
        let aws = Aws::start().await;
        let events = events("never", &aws, &WebSocketConfig::default());
        let answer = events.take(message(end), &lambda(LONG)).await;
        assert_eq!(answer, json!({"statusCode": 200}));
        let path = format!("DELETE /@connections/{}", CONNECTION.replace('=', "%3D"));
        assert_eq!(aws.asked(), [path]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_stops_its_work() {
    let aws = Aws::start().await;
    let events = events("never", &aws, &WebSocketConfig::default());
    let lambda = lambda(LONG);
    let mut working = Box::pin(events.take(event("message", |_| {}), &lambda));
    assert!(futures_util::poll!(&mut working).is_pending());
    let left = events.take(event("disconnect", |_| {}), &lambda).await;
    assert_eq!(left, json!({"statusCode": 200}));
    assert_eq!(working.await, json!({"statusCode": 200}));
}

#[tokio::test]
async fn an_event_of_another_kind_is_refused() {
    for other in [
        json!({}),
        json!(null),
        json!({"requestContext": {"http": {}}}),
    ] {
        assert_eq!(
            answer("pass_through", other).await,
            json!({"statusCode": 400})
        );
    }
}

#[tokio::test]
async fn the_front_doors_own_patience_counts() {
    let aws = Aws::start().await;
    let mut events = events("never", &aws, &WebSocketConfig::default());
    events.settings.front_door_timeout = Some(Duration::from_millis(200));
    let answer = events.take(event("message", |_| {}), &lambda(LONG)).await;
    assert_eq!(body(&answer)["error"]["status"], 504, "long before 29 s");
}
