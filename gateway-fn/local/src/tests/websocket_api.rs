//! The WebSocket API: handshakes, messages, `@connections`, and each way in which a connection closes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

use super::{Harness, advance, send, status_and_body};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Harness {
    /// Returns a client whose `$connect` the function has accepted, and the event.
    async fn connect(&self) -> (Client, Value) {
        let url = format!("ws://{}/?a=1", self.emulator.addresses().websocket);
        let (client, event) =
            tokio::join!(connect_async(url), self.respond(json!({"statusCode": 200})));
        (client.expect("accepted").0, event)
    }

    /// Sends a signed request to `@connections`.
    async fn connections(&self, method: Method, id: &str, body: &str) -> Response<Bytes> {
        let id = id.replace('/', "%2F").replace('=', "%3D");
        let path = format!("/@connections/{id}");
        let signature = [("authorization", "AWS4-HMAC-SHA256 Credential=x")];
        let address = self.emulator.addresses().websocket;
        send(address, method, &path, &signature, body).await
    }
}

/// Returns the next message to the client.
async fn receive(client: &mut Client) -> Message {
    let message = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    message.expect("in time").expect("open").expect("a frame")
}

/// Returns the code and the reason of the close frame to the client.
async fn receive_close(client: &mut Client) -> (u16, String) {
    match receive(client).await {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("not a close frame: {other:?}"),
    }
}

fn text(message: &Message) -> &str {
    message.to_text().expect("text")
}

#[tokio::test]
async fn messages_reach_the_function_and_responses_and_posts_the_client() {
    let harness = Harness::start(|options| options.routes = vec!["join".to_owned()]).await;
    let (mut client, connect) = harness.connect().await;
    assert_eq!(connect["requestContext"]["eventType"], "CONNECT");
    assert_eq!(connect["queryStringParameters"], json!({"a": "1"}));
    assert_eq!(connect["headers"]["Sec-WebSocket-Version"], "13");
    let id = connect["requestContext"]["connectionId"]
        .as_str()
        .expect("an id")
        .to_owned();

    for (message, route) in [
        ("{\"action\":\"join\"}", "join"),
        ("{\"action\":\"x\"}", "$default"),
        ("not JSON", "$default"),
    ] {
        client.send(Message::text(message)).await.expect("sent");
        let event = harness
            .respond(json!({"statusCode": 200, "body": "response"}))
            .await;
        assert_eq!(event["requestContext"]["routeKey"], route);
        assert_eq!(event["body"], message);
        assert_eq!(text(&receive(&mut client).await), "response");
    }

    let (posted, received) = tokio::join!(
        harness.connections(Method::POST, &id, "pushed"),
        receive(&mut client)
    );
    assert_eq!(
        (posted.status(), text(&received)),
        (StatusCode::OK, "pushed")
    );
    let state = harness.connections(Method::GET, &id, "").await;
    let state: Value = serde_json::from_slice(state.body()).expect("JSON");
    assert_eq!(state["identity"]["sourceIp"], "127.0.0.1");
    let large = harness
        .connections(Method::POST, &id, &"x".repeat((128 << 10) + 1))
        .await;
    assert_eq!(
        large.headers()["x-amzn-errortype"],
        "PayloadTooLargeException"
    );

    let deleted = harness.connections(Method::DELETE, &id, "").await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        receive_close(&mut client).await,
        (1000, "Connection Closed Normally".to_owned())
    );
    drop(client);
    let event = harness.respond(json!({"statusCode": 200})).await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1000);
    let gone = harness.connections(Method::POST, &id, "late").await;
    assert_eq!(gone.headers()["x-amzn-errortype"], "GoneException");
    assert_eq!(gone.status(), StatusCode::GONE);
    let invalid = harness.connections(Method::POST, "a%20b", "").await;
    assert_eq!(invalid.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unsigned_calls_of_connections_are_rejected() {
    let harness = Harness::start(|_| {}).await;
    let address = harness.emulator.addresses().websocket;
    let response = send(address, Method::POST, "/@connections/a", &[], "x").await;
    assert_eq!(
        status_and_body(&response),
        (403, "{\"message\":\"Missing Authentication Token\"}")
    );
}

#[tokio::test]
async fn only_the_function_selects_a_subprotocol() {
    let harness = Harness::start(|_| {}).await;
    for (response, accepted) in [
        (
            json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "json"}}),
            Some("json"),
        ),
        (json!({"statusCode": 403}), None),
    ] {
        let url = format!("ws://{}", harness.emulator.addresses().websocket);
        let mut request = url.into_client_request().expect("a valid URL");
        let offered = http::HeaderValue::from_static("json");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offered);
        let (client, event) = tokio::join!(connect_async(request), harness.respond(response));
        assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "json");
        match (client, accepted) {
            (Ok((client, response)), Some(accepted)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], accepted);
                drop(client);
                harness.respond(json!({"statusCode": 200})).await;
            }
            (Err(tungstenite::Error::Http(response)), None) => assert_eq!(response.status(), 403),
            (client, _) => panic!("{client:?}"),
        }
    }
}

#[tokio::test]
async fn too_large_and_binary_messages_close_with_their_codes() {
    let harness = Harness::start(|_| {}).await;
    let in_frames = |sizes: &[usize]| -> Vec<Message> {
        use tungstenite::protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        };
        let last = sizes.len() - 1;
        let frame = |(position, &size): (usize, &usize)| {
            let kind = if position == 0 {
                Data::Text
            } else {
                Data::Continue
            };
            Message::Frame(Frame::message(
                vec![b'x'; size],
                OpCode::Data(kind),
                position == last,
            ))
        };
        sizes.iter().enumerate().map(frame).collect()
    };
    let frame = 32 << 10;
    for (messages, code) in [
        (vec![Message::text("x".repeat(frame + 1))], 1009),
        (in_frames(&[frame, frame, frame, frame, 1]), 1009),
        (vec![Message::binary(vec![1])], 1003),
    ] {
        let (mut client, _) = harness.connect().await;
        for message in messages {
            client.send(message).await.expect("sent");
        }
        assert_eq!(receive_close(&mut client).await.0, code);
        drop(client);
        let event = harness.respond(json!({"statusCode": 200})).await;
        assert_eq!(event["requestContext"]["disconnectStatusCode"], code);
    }
    let (mut client, _) = harness.connect().await;
    for message in in_frames(&[frame, frame, frame, frame]) {
        client.send(message).await.expect("sent");
    }
    let event = harness
        .respond(json!({"statusCode": 200, "body": "received"}))
        .await;
    assert_eq!(event["body"].as_str().map(str::len), Some(4 * frame));
    assert_eq!(text(&receive(&mut client).await), "received");
}

#[tokio::test]
async fn errors_and_timeouts_are_sent_to_the_client() {
    let harness = Harness::start(Harness::long_timeout).await;
    let (mut client, _) = harness.connect().await;
    client.send(Message::text("a")).await.expect("sent");
    // A response without a status is invalid.
    harness.respond(json!({"body": "a"})).await;
    let received: Value = serde_json::from_str(text(&receive(&mut client).await)).expect("JSON");
    assert_eq!(received["message"], "Internal server error");
    client.send(Message::text("b")).await.expect("sent");
    let invocation = harness.next().await;
    advance(Duration::from_secs(30)).await;
    let received: Value = serde_json::from_str(text(&receive(&mut client).await)).expect("JSON");
    assert_eq!(received["message"], "Endpoint request timed out");
    assert_eq!(
        received["connectionId"],
        invocation.event["requestContext"]["connectionId"]
    );
    assert_eq!(
        received["requestId"],
        invocation.event["requestContext"]["requestId"]
    );
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    for is_old in [false, true] {
        let harness = Harness::start(|options| {
            let timeout = if is_old {
                &mut options.timeouts.websocket_duration
            } else {
                &mut options.timeouts.websocket_idle
            };
            *timeout = Duration::from_millis(200);
        })
        .await;
        let (mut client, _) = harness.connect().await;
        assert_eq!(
            receive_close(&mut client).await,
            (1001, "Going away".to_owned())
        );
    }
}

#[tokio::test]
async fn a_clients_close_reaches_the_function_with_its_reason() {
    let harness = Harness::start(|_| {}).await;
    let frame = CloseFrame {
        code: 4001.into(),
        reason: "enough".into(),
    };
    for (frame, code, reason) in [
        (Some(frame), 4001, "enough"),
        (None, 1005, "Client-side close frame status not set"),
    ] {
        let (mut client, _) = harness.connect().await;
        client.close(frame).await.expect("sent");
        let event = harness.respond(json!({"statusCode": 200})).await;
        let context = &event["requestContext"];
        assert_eq!(
            (
                &context["disconnectStatusCode"],
                &context["disconnectReason"]
            ),
            (&json!(code), &json!(reason))
        );
    }
}
