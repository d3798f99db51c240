//! More connections than `limits.max_connections`: idle and unfinished ones are closed for new clients; if all are in use,
//! health checks are answered, and other clients get an error at once.

use std::time::Duration;

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{RawGrpc, http, post},
    flow::{ServedGateway, eventually},
    frames::FrameSocket,
    gate::Gate,
};
use http::Request;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;
use tonic_health::pb::{health_check_response::ServingStatus, health_client::HealthClient};

use crate::introspection::{channel, check_of};

const FLOW: &str = "jtype: Flow\ngateway: {protocol: [http, grpc, websocket], port: [0, 0, 0], limits: {max_connections: 2}}\n\
                    executors:\n  - {name: g, uses: 'inproc://greet'}\n";

/// Opens a connection that is in use as long as it is open.
async fn open_in_use(gateway: &ServedGateway) -> FrameSocket {
    FrameSocket::open(&gateway.authority(Protocol::WebSocket), "json").await
}

/// Opens a connection that has been served and stays open.
async fn open(gateway: &ServedGateway) -> TcpStream {
    let authority = gateway.authority(Protocol::Http);
    let mut socket = TcpStream::connect(authority).await.expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(request).await.expect("sent");
    let mut response = Vec::new();
    while !response.ends_with(b"{}") {
        let read = socket.read_buf(&mut response).await.expect("a response");
        assert_ne!(read, 0, "closed before its response");
    }
    socket
}

#[tokio::test]
async fn health_checks_are_answered_and_others_come_back_later() {
    let gateway = ServedGateway::start(FLOW).await;
    let authority = gateway.authority(Protocol::Http);
    let open = [open_in_use(&gateway).await, open_in_use(&gateway).await];
    for _ in 0..100 {
        let request = Request::get(format!("http://{authority}/"));
        let response = http(request.body(Bytes::new()).expect("a request")).await;
        assert_eq!((response.status, &response.body[..]), (200, &b"{}"[..]));
        assert_eq!(response.headers["connection"], "close");
    }
    let response = post(&authority, &json!({"data": []})).await;
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.headers["retry-after"], "1");
    let detail = response.json()["detail"].to_string();
    assert!(detail.contains("limits.max_connections"), "{detail}");

    let mut health = HealthClient::new(channel(&gateway));
    let checked = health.check(check_of("jina.JinaRPC")).await;
    let status = checked.expect("an answer").into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let method = "/jina.JinaSingleDataRequestRPC/process_single_data";
    let status = client
        .unary(method, tonic::Request::new(Bytes::new()))
        .await
        .expect_err("one too many");
    assert_eq!(status.code(), Code::Unavailable, "{status}");

    drop(open);
    eventually("requests are served again", || async {
        post(&authority, &json!({"data": []})).await.status == 200
    })
    .await;
    gateway.stop().await;
}

/// Posts until a request is served, and not refused because of the limit.
async fn assert_served_soon(gateway: &ServedGateway) {
    let authority = gateway.authority(Protocol::Http);
    eventually("a new client is served", || async {
        post(&authority, &json!({"data": []})).await.status == 200
    })
    .await;
}

/// Waits for the end of a connection.
async fn assert_closed(socket: &mut TcpStream) {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut rest));
    // A reset is an error.
    let _ = closed.await.expect("it is closed");
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn connections_without_a_whole_head_are_closed_for_new_clients() {
    let gateway = ServedGateway::start(FLOW).await;
    for begun in [
        &b"POST /post HT"[..],
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut unfinished = Vec::new();
        for _ in 0..2 {
            let authority = gateway.authority(Protocol::Http);
            let mut socket = TcpStream::connect(authority).await.expect("a connection");
            socket.write_all(begun).await.expect("sent");
            unfinished.push(socket);
        }
        let authority = gateway.authority(Protocol::Http);
        // At once, because none of them has to be waited for.
        let response = post(&authority, &json!({"data": []})).await;
        assert_eq!(response.status, 200, "{begun:?}: {response:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed_for_new_clients() {
    let gateway = ServedGateway::start(FLOW).await;
    let mut idle = [open(&gateway).await, open(&gateway).await];
    assert_served_soon(&gateway).await;
    assert_closed(&mut idle[0]).await;
    gateway.stop().await;
}

#[tokio::test]
async fn idle_http2_connections_are_closed_for_new_clients() {
    let gateway = ServedGateway::start(FLOW).await;
    let mut clients = Vec::new();
    let method = "/jina.JinaSingleDataRequestRPC/process_single_data";
    for _ in 0..2 {
        let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
        let request = tonic::Request::new(Bytes::new());
        client.unary(method, request).await.expect("an answer");
        clients.push(client);
    }
    assert_served_soon(&gateway).await;
    // The clients have received a GOAWAY, and connect again when there is a place.
    for client in &clients {
        eventually("a client is served again", || async {
            let request = tonic::Request::new(Bytes::new());
            client.clone().unary(method, request).await.is_ok()
        })
        .await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_connection_with_a_request_in_progress_stays() {
    let gate = Gate::closed();
    let flow = FLOW
        .replace("greet", "gate")
        .replace("max_connections: 2", "max_connections: 1");
    let gateway = ServedGateway::start_with(&flow, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let held = tokio::spawn({
        let authority = authority.clone();
        async move { post(&authority, &json!({"data": []})).await.status }
    });
    gate.wait_for_requests(1).await;
    assert_eq!(post(&authority, &json!({"data": []})).await.status, 503);
    gate.release(1);
    assert_eq!(held.await.expect("no panic"), 200);
    gateway.stop().await;
}
