//! Stopping: what is under way is finished, what floats too, what is idle holds nothing up, and a deadline bounds it.

use std::time::Duration;

use bytes::Bytes;
use flowgate::container::Shutdown;
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{RawGrpc, open_websocket, post},
    flow::{ServedGateway, eventually},
    gate::Gate,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::{Code, metadata::MetadataMap};
use tonic_health::pb::{health_check_response::ServingStatus, health_client::HealthClient};

use crate::introspection::{channel, of};

const GREET: &str = "executors:\n  - {name: g, uses: 'inproc://greet'}\n";

/// Stops a Gateway that has nothing to do any more, far within the 25 s that work under way would get.
async fn stop_at_once(gateway: ServedGateway) {
    let ended = tokio::time::timeout(Duration::from_secs(8), gateway.stop()).await;
    assert_eq!(ended.expect("nothing holds it up"), Shutdown::Drained);
}

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request =
        tokio::spawn(async move { post(&authority, &json!({"data": [{"text": "x"}]})).await });
    gate.begun(1).await;
    gateway.begin_stop();
    gate.open(1);
    assert_eq!(request.await.expect("an answer").status, 200);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
}

#[tokio::test]
async fn floating_work_is_finished_after_its_answer() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors:\n  - {name: a, uses: 'inproc://greet'}\n  \
                - {name: f, uses: 'inproc://gate', floating: true}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let answer = post(
        &gateway.authority(Protocol::Http),
        &json!({"data": [{"text": "x"}]}),
    )
    .await;
    assert_eq!(answer.status, 200, "the answer does not wait for f");
    gate.begun(1).await;
    assert_eq!(gate.answered(), 0);
    gateway.begin_stop();
    gate.open(1);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
    assert_eq!(gate.answered(), 1);
}

#[tokio::test]
async fn what_takes_longer_than_the_deadline_is_cut_off() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: http, port: 0, shutdown_timeout: 50}\nexecutors:\n  \
                - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request = tokio::spawn(async move { post(&authority, &json!({"data": []})).await });
    gate.begun(1).await;
    assert_eq!(gateway.stop().await, Shutdown::CutOff);
    request.abort();
}

#[tokio::test]
async fn an_idle_stream_of_requests_holds_nothing_up() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n{GREET}"
    ))
    .await;
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let (requests, stream) = mpsc::channel(1);
    requests
        .send(Bytes::new())
        .await
        .expect("a place in the stream");
    let call = client
        .streaming(
            "/jina.JinaRPC/Call",
            MetadataMap::new(),
            ReceiverStream::new(stream),
        )
        .await;
    let mut answers = call.expect("a stream").into_inner();
    assert!(answers.message().await.expect("an answer").is_some());
    // The client could still send: it keeps its side open.
    stop_at_once(gateway).await;
    // An end that is well would say that whatever it has sent since was answered.
    let status = answers
        .message()
        .await
        .expect_err("the stream is cut short");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    drop(requests);
}

#[tokio::test]
async fn an_idle_websocket_is_told_that_the_gateway_goes_away() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: websocket, port: 0}}\n{GREET}"
    ))
    .await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    let request = Message::text(r#"{"data": []}"#);
    socket.send(request).await.expect("sent");
    let answer = socket.next().await.expect("an answer").expect("a frame");
    assert!(answer.is_text(), "{answer:?}");
    gateway.begin_stop();
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("no close frame but {other:?}"),
    }
    // The library answers the close frame when it is read on.
    assert!(socket.next().await.is_none());
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn a_websocket_with_a_request_under_way_gets_its_answer_first() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: websocket, port: 0}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let mut socket = open_websocket(&gateway.authority(Protocol::WebSocket), "/", None).await;
    let request = Message::text(r#"{"data": [{"text": "x"}]}"#);
    socket.send(request).await.expect("sent");
    gate.begun(1).await;
    gateway.begin_stop();
    gate.open(1);
    let answer = socket.next().await.expect("an answer").expect("a frame");
    assert!(answer.is_text(), "{answer:?}");
    match socket.next().await {
        Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1001),
        other => panic!("no close frame but {other:?}"),
    }
    assert!(socket.next().await.is_none());
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn who_watches_health_is_told_and_holds_nothing_up() {
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\n{GREET}"
    ))
    .await;
    let mut health = HealthClient::new(channel(&gateway));
    let watch = health.watch(of("jina.JinaRPC")).await.expect("a stream");
    let mut watch = watch.into_inner();
    let mut unknown = health.watch(of("x")).await.expect("a stream").into_inner();
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
    // Both streams are still held here.
    stop_at_once(gateway).await;
}

#[tokio::test]
async fn no_connection_is_taken_any_more() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: [grpc, http, websocket], port: [0, 0, 0]}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let request = tokio::spawn(async move { post(&authority, &json!({"data": []})).await });
    gate.begun(1).await;
    gateway.begin_stop();
    // Not even on the port at which a request is still under way.
    for protocol in [Protocol::Grpc, Protocol::Http, Protocol::WebSocket] {
        let authority = gateway.authority(protocol);
        eventually("connections are refused", || async {
            // A connection that is neither taken nor refused waits for long.
            let tried = TcpStream::connect(&authority);
            let tried = tokio::time::timeout(Duration::from_secs(1), tried).await;
            tried.is_ok_and(|connection| connection.is_err())
        })
        .await;
    }
    gate.open(1);
    assert_eq!(request.await.expect("an answer").status, 200);
    assert_eq!(gateway.stop().await, Shutdown::Drained);
}
