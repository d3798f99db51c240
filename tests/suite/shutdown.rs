//! Shutdown: requests in flight and floating work are finished within a deadline, and idle connections do not delay it.

use std::{convert::Infallible, io::Write as _, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use flowgate::container::Shutdown;
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{RawGrpc, open_websocket, post},
    flow::{ServedGateway, eventually},
    frames::{CLOSE, FrameSocket, OPEN, TEXT, frame},
    gate::Gate,
};
use futures_util::{SinkExt as _, StreamExt as _, future::join_all, stream};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::{Code, metadata::MetadataMap};
use tonic_health::pb::{health_check_response::ServingStatus, health_client::HealthClient};

use crate::introspection::{channel, check_of};

const GREET: &str = "executors:\n  - {name: g, uses: 'inproc://greet'}\n";

/// Stops an idle Gateway, and asserts that this takes much less than the 25 s granted to requests in flight.
async fn stop_at_once(gateway: ServedGateway) {
    let ended = tokio::time::timeout(Duration::from_secs(8), gateway.stop()).await;
    assert_eq!(
        ended.expect("an idle gateway stops at once"),
        Shutdown::Drained
    );
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request =
        tokio::spawn(async move { post(&authority, &json!({"data": [{"text": "x"}]})).await });
    gate.wait_for_requests(1).await;
    gateway.begin_stop();
    gate.release(1);
    assert_eq!(request.await.expect("a response").status, 200);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
}

#[tokio::test]
async fn floating_work_is_finished_after_its_response() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: a, uses: 'inproc://greet'}\n  \
                - {name: f, uses: 'inproc://gate', floating: true}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let response = post(
        &gateway.authority(Protocol::Http),
        &json!({"data": [{"text": "x"}]}),
    )
    .await;
    assert_eq!(response.status, 200, "the response does not wait for f");
    gate.wait_for_requests(1).await;
    assert_eq!(gate.completed(), 0);
    gateway.begin_stop();
    gate.release(1);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
    assert_eq!(gate.completed(), 1);
}

#[tokio::test]
async fn requests_beyond_the_deadline_are_cut_off() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0, shutdown_timeout: 50}\nexecutors:\n  \
                - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request = tokio::spawn(async move { post(&authority, &json!({"data": []})).await });
    gate.wait_for_requests(1).await;
    assert_eq!(gateway.stop().await, Shutdown::CutOff);
    let response = request.await.expect("a response");
    assert_eq!(response.status, 503, "{:?}", response.body);
}

const REQUEST: &[u8] = b"POST /post HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                         content-length: 12\r\n\r\n{\"data\": []}";

/// Reads one connection to its end.
async fn read_all(mut connection: TcpStream) -> String {
    let mut response = String::new();
    let read = connection.read_to_string(&mut response).await;
    read.expect("an answer and an orderly close");
    response
}

#[tokio::test]
async fn requests_that_have_arrived_before_the_stop_are_answered() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0}}\n{GREET}"
    ))
    .await;
    let authority = gateway.authority(Protocol::Http);
    // This thread runs the Gateway's listener too: it accepts none of these before the stop.
    let connections: Vec<_> = (0..50)
        .map(|_| {
            let connection = std::net::TcpStream::connect(&authority).expect("queued");
            (&connection).write_all(REQUEST).expect("sent");
            connection.set_nonblocking(true).expect("a socket");
            TcpStream::from_std(connection).expect("a socket")
        })
        .collect();
    gateway.begin_stop();
    for response in join_all(connections.into_iter().map(read_all)).await {
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn a_request_on_an_idle_connection_is_answered_just_after_the_stop() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0}}\n{GREET}"
    ))
    .await;
    let connecting = TcpStream::connect(gateway.authority(Protocol::Http));
    let mut connection = connecting.await.expect("listening");
    connection.write_all(REQUEST).await.expect("sent");
    let mut first = [0; 12];
    connection.read_exact(&mut first).await.expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    gateway.begin_stop();
    let authority = gateway.authority(Protocol::Http);
    eventually("the port is closed", || async {
        TcpStream::connect(&authority).await.is_err()
    })
    .await;
    connection.write_all(REQUEST).await.expect("sent");
    let rest = read_all(connection).await;
    let second = rest.split("HTTP/1.1 200").nth(1);
    assert!(
        second.is_some_and(|answer| answer.contains("connection: close")),
        "{rest}"
    );
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn connections_are_accepted_during_the_delay() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: [http, grpc], port: [0, 0], shutdown_delay: 600000, shutdown_timeout: 600000}}\n{GREET}"
    ))
    .await;
    let authority = gateway.authority(Protocol::Http);
    let health = HealthClient::new(channel(&gateway));
    gateway.begin_stop();
    eventually("health checks fail", || {
        let mut health = health.clone();
        async move {
            let checked = health.check(check_of("")).await.expect("an answer");
            checked.into_inner().status() == ServingStatus::NotServing
        }
    })
    .await;
    // Those over HTTP too, but not requests.
    let request = http::Request::get(format!("http://{authority}/")).body(Bytes::new());
    let checked = flowgate_tests::client::http(request.expect("a request")).await;
    assert_eq!(checked.status, 503, "{:?}", checked.body);
    assert_eq!(post(&authority, &json!({"data": []})).await.status, 200);
}

#[tokio::test]
async fn requests_that_have_not_arrived_at_the_deadline_get_an_error() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, shutdown_timeout: 50}}\n{GREET}"
    ))
    .await;
    let authority = gateway.authority(Protocol::Http);
    let mut connections = Vec::new();
    for (path, content_type) in [
        ("/post", "application/json"),
        (
            "/jina.JinaSingleDataRequestRPC/process_single_data",
            "application/proto",
        ),
    ] {
        let mut connection = TcpStream::connect(&authority).await.expect("listening");
        // The client learns from `100 Continue` that its body is being read.
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\n\
             content-length: 100000\r\nexpect: 100-continue\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        let mut begin = [0; 25];
        connection.read_exact(&mut begin).await.expect("an answer");
        assert_eq!(&begin, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection.write_all(b"{").await.expect("sent");
        connections.push(connection);
    }
    assert_eq!(gateway.stop().await, Shutdown::CutOff);
    for response in join_all(connections.into_iter().map(read_all)).await {
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
        assert!(response.contains("connection: close"), "{response}");
        let detail = "the Gateway has stopped before the request was finished";
        assert!(response.contains(detail), "{response}");
    }
}

#[tokio::test]
async fn a_call_whose_message_has_not_arrived_at_the_deadline_gets_an_error() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{port: 0, shutdown_timeout: 50}}\n{GREET}"
    ))
    .await;
    let authority = gateway.authority(Protocol::Grpc);
    let (taken, is_taken) = oneshot::channel();
    // One byte of five, and nothing more.
    let begin = stream::once(async move {
        taken.send(()).expect("waited for");
        Ok::<_, Infallible>(Bytes::from_static(&[0]))
    });
    let body = Body::from_stream(begin.chain(stream::pending()));
    let path = "/jina.JinaSingleDataRequestRPC/process_single_data";
    let request = http::Request::post(format!("http://{authority}{path}"))
        .header("content-type", "application/grpc")
        .body(body)
        .expect("a request");
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let response = tokio::spawn(client.request(request));
    is_taken.await.expect("a connection");
    assert_eq!(gateway.stop().await, Shutdown::CutOff);
    let response = response.await.expect("no panic").expect("a response");
    assert_eq!(response.headers()["grpc-status"], "14");
}

#[tokio::test]
async fn a_websocket_with_work_at_the_deadline_is_closed_with_an_error() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0, shutdown_timeout: 50, prefetch: 1}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    // The second waits for its turn.
    for _ in 0..2 {
        let request = Message::text(r#"{"data": [{"text": "x"}]}"#);
        socket.send(request).await.expect("sent");
    }
    gate.wait_for_requests(1).await;
    let stopping = tokio::spawn(gateway.stop());
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => {
            assert_eq!(u16::from(close.code), 1011);
            let reason = "the Gateway has stopped before the request was finished";
            assert_eq!(close.reason.as_str(), reason);
        }
        other => panic!("expected a close frame: {other:?}"),
    }
    assert_eq!(stopping.await.expect("no panic"), Shutdown::CutOff);
}

#[tokio::test]
async fn an_idle_stream_of_requests_does_not_delay_the_shutdown() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n{GREET}"
    ))
    .await;
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let (requests, stream) = mpsc::channel(1);
    requests
        .send(Bytes::new())
        .await
        .expect("room in the stream");
    let call = client
        .streaming(
            "/jina.JinaRPC/Call",
            MetadataMap::new(),
            ReceiverStream::new(stream),
        )
        .await;
    let mut responses = call.expect("a stream").into_inner();
    assert!(responses.message().await.expect("a response").is_some());
    // The client keeps its side of the stream open.
    stop_at_once(gateway).await;
    // The stream must end with an error: OK would mean that all requests were answered.
    let status = responses
        .message()
        .await
        .expect_err("the stream is cut short");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    drop(requests);
}

#[tokio::test]
async fn an_idle_websocket_is_closed_as_going_away() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: websocket, port: 0}}\n{GREET}"
    ))
    .await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    let request = Message::text(r#"{"data": []}"#);
    socket.send(request).await.expect("sent");
    let response = socket.next().await.expect("a response").expect("a frame");
    assert!(response.is_text(), "{response:?}");
    gateway.begin_stop();
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("expected a close frame: {other:?}"),
    }
    // The library responds to the close frame on the next read.
    assert!(socket.next().await.is_none());
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn a_websocket_with_a_request_in_flight_gets_its_response_before_it_closes() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    let request = Message::text(r#"{"data": [{"text": "x"}]}"#);
    socket.send(request).await.expect("sent");
    gate.wait_for_requests(1).await;
    gateway.begin_stop();
    gate.release(1);
    let response = socket.next().await.expect("a response").expect("a frame");
    assert!(response.is_text(), "{response:?}");
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("expected a close frame: {other:?}"),
    }
    assert!(socket.next().await.is_none());
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn websocket_messages_that_have_arrived_before_the_stop_are_answered() {
    const MESSAGES: usize = 50;
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: websocket, port: 0}}\n{GREET}"
    ))
    .await;
    let authority = gateway.authority(Protocol::WebSocket);
    // The first is open before the stop; this thread runs the Gateway's listener too, which accepts the second after it.
    let mut open = TcpStream::connect(&authority).await.expect("listening");
    open.write_all(OPEN.as_bytes()).await.expect("sent");
    open.peek(&mut [0; 12]).await.expect("a response");
    let mut open = open.into_std().expect("a socket");
    let mut queued = std::net::TcpStream::connect(&authority).expect("queued");
    queued.write_all(OPEN.as_bytes()).expect("sent");
    let messages = frame(TEXT, br#"{"data": [{"text": "x"}]}"#).repeat(MESSAGES);
    for socket in [&mut open, &mut queued] {
        socket.write_all(&messages).expect("sent");
    }
    gateway.begin_stop();
    for socket in [open, queued] {
        socket.set_nonblocking(true).expect("a socket");
        let socket = TcpStream::from_std(socket).expect("a socket");
        let mut socket = FrameSocket::opened(socket).await;
        for number in 0..MESSAGES {
            let (kind, payload) = socket.receive().await.expect("an answer");
            let text = String::from_utf8_lossy(&payload);
            assert_eq!(kind, TEXT, "{number}: {text}");
        }
        let (kind, close) = socket.receive().await.expect("a close frame");
        assert_eq!((kind, &close[..2]), (CLOSE, &1001_u16.to_be_bytes()[..]));
    }
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn a_health_watch_is_notified_and_does_not_delay_the_shutdown() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n{GREET}"
    ))
    .await;
    let mut health = HealthClient::new(channel(&gateway));
    let watch = health
        .watch(check_of("jina.JinaRPC"))
        .await
        .expect("a stream");
    let mut watch = watch.into_inner();
    let mut unknown = health
        .watch(check_of("x"))
        .await
        .expect("a stream")
        .into_inner();
    for (stream, status) in [
        (&mut watch, ServingStatus::Serving),
        (&mut unknown, ServingStatus::ServiceUnknown),
    ] {
        let first = stream
            .message()
            .await
            .expect("a message")
            .expect("a status");
        assert_eq!(first.status(), status);
    }
    gateway.begin_stop();
    let next = watch.message().await.expect("a message").expect("a status");
    assert_eq!(next.status(), ServingStatus::NotServing);
    // Both streams are still open on the client's side.
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn no_connection_is_accepted_after_the_stop() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: [grpc, http, websocket], port: [0, 0, 0]}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request = tokio::spawn(async move { post(&authority, &json!({"data": []})).await });
    gate.wait_for_requests(1).await;
    gateway.begin_stop();
    // Not even on the port of a request in flight.
    for protocol in [Protocol::Grpc, Protocol::Http, Protocol::WebSocket] {
        let authority = gateway.authority(protocol);
        eventually("connections are refused", || async {
            // A connection that is neither accepted nor refused would block for long.
            let tried = TcpStream::connect(&authority);
            let tried = tokio::time::timeout(Duration::from_secs(1), tried).await;
            tried.is_ok_and(|connection| connection.is_err())
        })
        .await;
    }
    gate.release(1);
    assert_eq!(request.await.expect("a response").status, 200);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
}
