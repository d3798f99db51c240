//! More connections than `limits.max_connections`: health checks are answered, and other clients get an error at once.

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_tests::{
    client::{RawGrpc, http, post},
    flow::{ServedGateway, eventually},
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

const FLOW: &str = "jtype: Flow\ngateway: {protocol: [http, grpc], port: [0, 0], limits: {max_connections: 2}}\n\
                    executors:\n  - {name: g, uses: 'inproc://greet'}\n";

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
    let open = [open(&gateway).await, open(&gateway).await];
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
