//! Limits of WebSockets: the handshake is checked, the close frame of a message over the limit arrives, and clients that send
//! more than their share leave places for others.

use std::time::Duration;

use flowgate::container::Shutdown;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, docarray::DocumentProto};
use flowgate_tests::{
    client::{open_websocket, post},
    flow::ServedGateway,
    frames::{BINARY, CLOSE, FrameSocket, KEY, PONG, TEXT, TEXT_BEGIN, frame, handshake},
    gate::Gate,
};
use futures_util::SinkExt as _;
use prost::Message as _;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const FLOW: &str = "jtype: Flow\ngateway: {protocol: websocket, port: 0, limits: {max_message_bytes: 1000000}}\n\
                    executors:\n  - {name: e, uses: 'inproc://pass_through'}\n";

#[tokio::test]
async fn a_handshake_that_is_not_one_is_refused() {
    let gateway = ServedGateway::start(FLOW).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let version = "sec-websocket-version: 13\r\n";
    let key = format!("sec-websocket-key: {KEY}\r\n");
    let cases = [
        ("GET / HTTP/1.1", format!("{upgrade}{version}"), 400),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}sec-websocket-key: \r\n"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}sec-websocket-key: dGhlIHNhbXBsZQ==\r\n"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}sec-websocket-key: not base64 at all, no\r\n"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}{key}{key}"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("upgrade: websocket\r\n{version}{key}"),
            400,
        ),
        ("GET / HTTP/1.1", format!("{upgrade}{key}"), 426),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}sec-websocket-version: 8\r\n{key}"),
            426,
        ),
        ("POST / HTTP/1.1", format!("{upgrade}{version}{key}"), 405),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}{key}content-length: 5\r\n"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}{key}transfer-encoding: chunked\r\n"),
            400,
        ),
        (
            "GET / HTTP/1.1",
            format!("{upgrade}{version}{key}content-length: 0\r\n"),
            101,
        ),
        ("GET / HTTP/1.0", format!("{upgrade}{version}{key}"), 400),
        (
            "GET /other HTTP/1.1",
            format!("{upgrade}{version}{key}"),
            403,
        ),
    ];
    for (request_line, headers, status) in cases {
        let (_stream, head) = handshake(&authority, request_line, &headers).await;
        let actual = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        assert_eq!(actual, Some(status), "{request_line} {headers}: {head}");
        assert_eq!(
            head.contains("sec-websocket-version: 13\r\n"),
            status == 426,
            "{head}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_close_frame_of_a_message_over_the_limit_arrives() {
    let gateway = ServedGateway::start(FLOW).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let whole = frame(TEXT, &[b' '; 30_000_000]);
    let fragment = frame(TEXT_BEGIN, &[b' '; 999_999]);
    let fragments = [&fragment[..], &frame(0x00, &[b' '; 20_000_000])].concat();
    for bytes in [whole, fragments] {
        let mut socket = FrameSocket::open(&authority, "json").await;
        // All of it is sent before anything is read.
        socket.send(&bytes).await;
        let frames = socket.receive_all().await;
        let [(CLOSE, payload)] = &frames[..] else {
            panic!("expected a close frame: {frames:?}");
        };
        assert_eq!(payload[..2], 1009_u16.to_be_bytes());
        assert_eq!(
            &payload[2..],
            b"the message has more than 1000000 bytes, the limit"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_ping_is_answered_while_requests_wait_for_their_turn() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0, prefetch: 2}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = FrameSocket::open(&gateway.authority(Protocol::WebSocket), "json").await;
    for _ in 0..50 {
        socket
            .send(&frame(TEXT, br#"{"data": [{"text": "x"}]}"#))
            .await;
    }
    socket.send(&frame(TEXT, b"{}")).await;
    socket.send(&frame(0x89, b"there?")).await;
    assert_eq!(socket.receive().await, Some((PONG, b"there?".to_vec())));
    gate.wait_for_requests(2).await;
    gate.release(50);
    let answers = tokio::time::timeout(Duration::from_secs(10), async {
        let mut answers = 0;
        while let Some((first, _)) = socket.receive().await {
            if first == CLOSE {
                socket.send(&frame(CLOSE, b"")).await;
            } else {
                answers += 1;
            }
        }
        answers
    });
    assert_eq!(answers.await.expect("in time"), 50);
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_with_ten_websockets_leaves_places_for_others() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: [http, websocket], port: [0, 0], limits: {max_concurrent_requests: 400}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::WebSocket);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = open_websocket(&authority, "/", None).await;
        for _ in 0..400 {
            socket
                .send(Message::text(r#"{"data": []}"#))
                .await
                .expect("sent");
        }
        sockets.push(socket);
    }
    // Each has a tenth of what the others leave, and at least eight.
    gate.wait_for_requests(150).await;
    let http = gateway.authority(Protocol::Http);
    let other = tokio::spawn(async move { post(&http, &json!({"data": []})).await.status });
    gate.wait_for_requests(1).await;
    gate.release(1_000_000);
    assert_eq!(other.await.expect("a response"), 200);
    drop(sockets);
    gateway.stop().await;
}

/// The message itself has room, but what it becomes has none.
#[tokio::test]
async fn a_message_that_cannot_be_decoded_now_leaves_the_other_requests_their_answers() {
    let lists = vec!["[]"; 1000].join(",");
    let lists = format!(r#"{{"data":[],"parameters":{{"a":[{lists}]}}}}"#);
    let documents = |count| {
        let request = DataRequest {
            documents: vec![DocumentProto::default(); count].into(),
            ..Default::default()
        };
        request.encode_to_vec()
    };
    let small = br#"{"data":[]}"#.to_vec();
    for (subprotocol, kind, bytes, small, large) in [
        ("json", TEXT, 100_000, small, lists.into_bytes()),
        ("bytes", BINARY, 1_000_000, documents(1), documents(1200)),
    ] {
        let gate = Gate::closed();
        let yaml = format!(
            "jtype: Flow\ngateway: {{protocol: websocket, port: 0, limits: {{max_bytes_in_flight: {bytes}}}}}\n\
             executors:\n  - {{name: e, uses: 'inproc://gate'}}\n"
        );
        let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
        let authority = gateway.authority(Protocol::WebSocket);
        let mut socket = FrameSocket::open(&authority, subprotocol).await;
        socket.send(&frame(kind, &small)).await;
        gate.wait_for_requests(1).await;
        let mut other = FrameSocket::open(&authority, subprotocol).await;
        other.send(&frame(kind, &large)).await;
        gate.wait_for_requests(1).await;
        socket.send(&frame(kind, &large)).await;
        socket.send(&frame(0x89, b"read")).await;
        let exchange = async {
            let pong = socket.receive().await.expect("an answer to the ping");
            assert_eq!(pong, (PONG, b"read".to_vec()), "{subprotocol}");
            // The first request that came to the gate.
            gate.release(1);
            let (first, _) = socket.receive().await.expect("an answer");
            assert_eq!(first, kind, "{subprotocol}");
            let (first, close) = socket.receive().await.expect("a close frame");
            assert_eq!(
                (first, &close[..2]),
                (CLOSE, &1013_u16.to_be_bytes()[..]),
                "{subprotocol}"
            );
        };
        let exchanged = tokio::time::timeout(Duration::from_secs(60), exchange).await;
        exchanged.expect("in time");
        gate.release(1);
        let (first, _) = other.receive().await.expect("an answer");
        assert_eq!(first, kind, "{subprotocol}");
        drop((socket, other));
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_after_the_time_that_is_set() {
    let yaml = FLOW
        .replace("port: 0,", "port: 0, slow_client_timeout: 50,")
        .replace("1000000", "100000000");
    let gateway = ServedGateway::start(&yaml).await;
    let mut socket = FrameSocket::open(&gateway.authority(Protocol::WebSocket), "json").await;
    // More than the buffers of both sockets hold.
    let text = "x".repeat(30 << 20);
    let message = format!(r#"{{"data": [{{"text": "{text}"}}]}}"#);
    socket.send(&frame(TEXT, message.as_bytes())).await;
    // The client does not read, and the stop need not wait for it.
    assert_eq!(gateway.stop().await, Shutdown::Drained);
    drop(socket);
}
