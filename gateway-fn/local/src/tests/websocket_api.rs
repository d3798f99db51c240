//! The WebSocket API: handshakes, messages, `@connections` and every way in which a connection ends.

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

use super::{Bench, after, said, send};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Bench {
    /// A client that the function lets in.
    async fn client(&self) -> (Client, Value) {
        let url = format!("ws://{}/?a=1", self.local.addresses().websocket);
        let (client, event) =
            tokio::join!(connect_async(url), self.serve(json!({"statusCode": 200})));
        (client.expect("let in").0, event)
    }

    async fn connections(&self, method: Method, id: &str, body: &str) -> Response<Bytes> {
        let path = format!(
            "/@connections/{}",
            id.replace('/', "%2F").replace('=', "%3D")
        );
        let signed = [("authorization", "AWS4-HMAC-SHA256 Credential=x")];
        send(
            self.local.addresses().websocket,
            method,
            &path,
            &signed,
            body,
        )
        .await
    }
}

/// What the client hears next, pings aside.
async fn hear(client: &mut Client) -> Message {
    let heard = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    heard.expect("in time").expect("open").expect("a frame")
}

async fn closed(client: &mut Client) -> (u16, String) {
    match hear(client).await {
        Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
        other => panic!("no close frame: {other:?}"),
    }
}

fn text(message: &Message) -> &str {
    message.to_text().expect("text")
}

#[tokio::test]
async fn messages_go_to_the_function_and_answers_and_posts_to_the_client() {
    let bench = Bench::start(|options| options.routes = vec!["join".to_owned()]).await;
    let (mut client, connect) = bench.client().await;
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
        ("no JSON", "$default"),
    ] {
        client.send(Message::text(message)).await.expect("sent");
        let event = bench
            .serve(json!({"statusCode": 200, "body": "answer"}))
            .await;
        assert_eq!(event["requestContext"]["routeKey"], route);
        assert_eq!(event["body"], message);
        assert_eq!(text(&hear(&mut client).await), "answer");
    }

    let (posted, heard) = tokio::join!(
        bench.connections(Method::POST, &id, "pushed"),
        hear(&mut client)
    );
    assert_eq!((posted.status(), text(&heard)), (StatusCode::OK, "pushed"));
    let asked = bench.connections(Method::GET, &id, "").await;
    let asked: Value = serde_json::from_slice(asked.body()).expect("JSON");
    assert_eq!(asked["identity"]["sourceIp"], "127.0.0.1");
    let large = bench
        .connections(Method::POST, &id, &"x".repeat((128 << 10) + 1))
        .await;
    assert_eq!(
        large.headers()["x-amzn-errortype"],
        "PayloadTooLargeException"
    );

    let deleted = bench.connections(Method::DELETE, &id, "").await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        closed(&mut client).await,
        (1000, "Connection Closed Normally".to_owned())
    );
    drop(client);
    let event = bench.serve(json!({"statusCode": 200})).await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1000);
    let gone = bench.connections(Method::POST, &id, "late").await;
    assert_eq!(gone.headers()["x-amzn-errortype"], "GoneException");
    assert_eq!(gone.status(), StatusCode::GONE);
    let invalid = bench.connections(Method::POST, "a%20b", "").await;
    assert_eq!(invalid.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn connections_want_a_signature() {
    let bench = Bench::start(|_| {}).await;
    let to = bench.local.addresses().websocket;
    let answer = send(to, Method::POST, "/@connections/a", &[], "x").await;
    assert_eq!(
        said(&answer),
        (403, "{\"message\":\"Missing Authentication Token\"}")
    );
}

#[tokio::test]
async fn a_subprotocol_is_answered_only_by_the_function() {
    let bench = Bench::start(|_| {}).await;
    for (answer, accepted) in [
        (
            json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "json"}}),
            Some("json"),
        ),
        (json!({"statusCode": 403}), None),
    ] {
        let url = format!("ws://{}", bench.local.addresses().websocket);
        let mut request = url.into_client_request().expect("holds");
        let offered = http::HeaderValue::from_static("json");
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offered);
        let (client, event) = tokio::join!(connect_async(request), bench.serve(answer));
        assert_eq!(event["headers"]["Sec-WebSocket-Protocol"], "json");
        match (client, accepted) {
            (Ok((client, answer)), Some(accepted)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], accepted);
                drop(client);
                bench.serve(json!({"statusCode": 200})).await;
            }
            (Err(tungstenite::Error::Http(answer)), None) => assert_eq!(answer.status(), 403),
            (client, _) => panic!("{client:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_too_large_or_binary_closes_with_its_code() {
    let bench = Bench::start(|_| {}).await;
    let in_frames = |sizes: &[usize]| -> Vec<Message> {
        use tungstenite::protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        };
        let last = sizes.len() - 1;
        let frame = |(place, &size): (usize, &usize)| {
            let kind = if place == 0 {
                Data::Text
            } else {
                Data::Continue
            };
            Message::Frame(Frame::message(
                vec![b'x'; size],
                OpCode::Data(kind),
                place == last,
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
        let (mut client, _) = bench.client().await;
        for message in messages {
            client.send(message).await.expect("sent");
        }
        assert_eq!(closed(&mut client).await.0, code);
        drop(client);
        let event = bench.serve(json!({"statusCode": 200})).await;
        assert_eq!(event["requestContext"]["disconnectStatusCode"], code);
    }
    let (mut client, _) = bench.client().await;
    for message in in_frames(&[frame, frame, frame, frame]) {
        client.send(message).await.expect("sent");
    }
    let event = bench
        .serve(json!({"statusCode": 200, "body": "taken"}))
        .await;
    assert_eq!(event["body"].as_str().map(str::len), Some(4 * frame));
    assert_eq!(text(&hear(&mut client).await), "taken");
}

#[tokio::test]
async fn errors_and_lateness_are_told_to_the_client() {
    let bench = Bench::start(Bench::never_late).await;
    let (mut client, _) = bench.client().await;
    client.send(Message::text("a")).await.expect("sent");
    // An answer without a status is none.
    bench.serve(json!({"body": "a"})).await;
    let heard: Value = serde_json::from_str(text(&hear(&mut client).await)).expect("JSON");
    assert_eq!(heard["message"], "Internal server error");
    client.send(Message::text("b")).await.expect("sent");
    let late = bench.next().await;
    after(Duration::from_secs(30)).await;
    let heard: Value = serde_json::from_str(text(&hear(&mut client).await)).expect("JSON");
    assert_eq!(heard["message"], "Endpoint request timed out");
    assert_eq!(
        heard["connectionId"],
        late.event["requestContext"]["connectionId"]
    );
    assert_eq!(
        heard["requestId"],
        late.event["requestContext"]["requestId"]
    );
}

#[tokio::test]
async fn idle_and_old_connections_go_away() {
    for old in [false, true] {
        let bench = Bench::start(|options| {
            let time = if old {
                &mut options.times.duration
            } else {
                &mut options.times.idle
            };
            *time = Duration::from_millis(200);
        })
        .await;
        let (mut client, _) = bench.client().await;
        assert_eq!(closed(&mut client).await, (1001, "Going away".to_owned()));
    }
}

#[tokio::test]
async fn a_client_that_closes_is_told_of_with_its_reason() {
    let bench = Bench::start(|_| {}).await;
    let frame = CloseFrame {
        code: 4001.into(),
        reason: "enough".into(),
    };
    for (frame, code, reason) in [
        (Some(frame), 4001, "enough"),
        (None, 1005, "Client-side close frame status not set"),
    ] {
        let (mut client, _) = bench.client().await;
        client.close(frame).await.expect("sent");
        let event = bench.serve(json!({"statusCode": 200})).await;
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
