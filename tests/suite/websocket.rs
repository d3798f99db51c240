//! WebSocket connections: errors are reported in close frames, pings are answered while requests are in flight, and a
//! disconnected client cancels its requests.

use std::time::Duration;

use flowgate_config::Protocol;
use flowgate_tests::{
    client::{Socket, open_websocket, websocket},
    flow::{ServedGateway, eventually},
    gate::Gate,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

const FLOW: &str = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\nexecutors:\n  - {name: g, uses: 'inproc://greet'}\n";

fn close(frames: &[Message]) -> (u16, String) {
    match frames.last() {
        Some(Message::Close(Some(close))) => (close.code.into(), close.reason.to_string()),
        other => panic!("expected a close frame: {other:?}"),
    }
}

#[tokio::test]
async fn an_invalid_frame_closes_the_connection_with_the_error() {
    let gateway = ServedGateway::start(FLOW).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let cases = [
        (None, Message::text("{"), 1007, "invalid JSON"),
        (None, Message::text(r#"{"data": 3}"#), 1008, "data"),
        (
            None,
            Message::text(r#"{"data": [], "target_executor": "("}"#),
            1008,
            "re.error",
        ),
        (None, Message::binary(vec![0]), 1003, "binary frame"),
        (Some("bytes"), Message::text("{}"), 1003, "text frame"),
        (Some("bytes"), Message::binary(Vec::new()), 1007, "empty"),
        (
            Some("bytes"),
            Message::binary(b"garbage".to_vec()),
            1007,
            "jina.DataRequestProto",
        ),
    ];
    for (subprotocol, frame, code, reason) in cases {
        let received = websocket(&authority, "/", subprotocol, vec![frame.clone()]).await;
        let (actual_code, actual_reason) = close(&received);
        assert_eq!(actual_code, code, "{frame:?}: {actual_reason}");
        assert!(actual_reason.contains(reason), "{frame:?}: {actual_reason}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn frames_without_a_request_are_ignored() {
    let gateway = ServedGateway::start(FLOW).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let frames = vec![
        Message::text("[]"),
        Message::text("3"),
        Message::Ping("x".into()),
        Message::text("{}"),
    ];
    let received = websocket(&authority, "/", None, frames).await;
    assert_eq!(close(&received), (1000, String::new()));
    assert!(received.iter().all(|frame| !frame.is_text()));
    gateway.stop().await;
}

#[tokio::test]
async fn a_large_document_is_accepted_and_a_frame_over_the_limit_rejected() {
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0, limits: {max_message_bytes: 1000000}}\n\
                executors:\n  - {name: g, uses: 'inproc://greet'}\n";
    let gateway = ServedGateway::start(yaml).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let frame = |size: usize| {
        Message::text(format!(
            r#"{{"data": [{{"text": "{}"}}]}}"#,
            "x".repeat(size)
        ))
    };
    let received = websocket(
        &authority,
        "/",
        None,
        vec![frame(900_000), Message::text("{}")],
    )
    .await;
    assert_eq!(close(&received), (1000, String::new()));
    assert!(received[0].len() > 900_000);
    let received = websocket(&authority, "/", None, vec![frame(1_100_000)]).await;
    assert_eq!(close(&received).0, 1009);
    gateway.stop().await;
}

/// Opens a WebSocket that has sent one request, which the gate holds, and the end of its requests.
async fn socket_with_held_request(gate: &Gate) -> (ServedGateway, Socket) {
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    for frame in [r#"{"data": [{"text": "x"}]}"#, "{}"] {
        socket.send(Message::text(frame)).await.expect("sent");
    }
    gate.wait_for_requests(1).await;
    (gateway, socket)
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    next.expect("in time")
        .expect("an open connection")
        .expect("a frame")
}

#[tokio::test]
async fn a_ping_is_answered_while_requests_are_in_flight() {
    let gate = Gate::closed();
    let (gateway, mut socket) = socket_with_held_request(&gate).await;
    let ping = Message::Ping("there?".into());
    socket.send(ping).await.expect("sent");
    assert_eq!(next(&mut socket).await, Message::Pong("there?".into()));
    gate.release(1);
    assert!(next(&mut socket).await.is_text());
    assert_eq!(close(&[next(&mut socket).await]), (1000, String::new()));
    assert!(socket.next().await.is_none());
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_or_disconnects_cancels_its_requests() {
    for sends_close_frame in [true, false] {
        let gate = Gate::closed();
        let (gateway, mut socket) = socket_with_held_request(&gate).await;
        if sends_close_frame {
            socket.close(None).await.expect("sent");
        } else {
            drop(socket);
        }
        eventually("the work is cancelled", || async { gate.cancelled() == 1 }).await;
        gateway.stop().await;
    }
}
