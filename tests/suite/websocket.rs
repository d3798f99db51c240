//! WebSocket clients that make mistakes are told what is wrong by a close frame, and those that wait are not left alone.

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
        other => panic!("no close frame but {other:?}"),
    }
}

#[tokio::test]
async fn a_mistake_is_answered_by_a_close_frame_that_names_it() {
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
        let (closed, because) = close(&received);
        assert_eq!(closed, code, "{frame:?}: {because}");
        assert!(because.contains(reason), "{frame:?}: {because}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn frames_that_say_nothing_are_ignored() {
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
async fn a_large_document_passes_and_too_large_a_frame_is_refused() {
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

/// A client that has sent one request, which is held, and that nothing more comes.
async fn waiting(gate: &Gate) -> (ServedGateway, Socket) {
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    for frame in [r#"{"data": [{"text": "x"}]}"#, "{}"] {
        socket.send(Message::text(frame)).await.expect("sent");
    }
    gate.begun(1).await;
    (gateway, socket)
}

async fn next(socket: &mut Socket) -> Message {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    next.expect("in time").expect("no end").expect("a frame")
}

#[tokio::test]
async fn a_ping_is_answered_while_the_last_requests_are_under_way() {
    let gate = Gate::closed();
    let (gateway, mut socket) = waiting(&gate).await;
    let ping = Message::Ping("there?".into());
    socket.send(ping).await.expect("sent");
    assert_eq!(next(&mut socket).await, Message::Pong("there?".into()));
    gate.open(1);
    assert!(next(&mut socket).await.is_text());
    assert_eq!(close(&[next(&mut socket).await]), (1000, String::new()));
    assert!(socket.next().await.is_none());
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_closes_or_goes_cancels_its_last_requests() {
    for says_goodbye in [true, false] {
        let gate = Gate::closed();
        let (gateway, mut socket) = waiting(&gate).await;
        if says_goodbye {
            socket.close(None).await.expect("sent");
        } else {
            drop(socket);
        }
        eventually("the work is cancelled", || async { gate.cancelled() == 1 }).await;
        gateway.stop().await;
    }
}
