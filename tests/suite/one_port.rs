//! Protocols that are given one port share it: each request is told apart.

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::{RawGrpc, http, post, websocket},
    flow::ServedGateway,
};
use http::Request;
use prost::Message as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

#[tokio::test]
async fn grpc_http_and_websocket_answer_on_one_port() {
    let gateway = ServedGateway::start_on_one_port(|port| {
        format!(
            "jtype: Flow\ngateway: {{protocol: [grpc, http, websocket], port: [{port}, {port}, {port}]}}\n\
             executors:\n  - {{name: g, uses: 'inproc://greet'}}\n"
        )
    })
    .await;
    let authority = gateway.authority(Protocol::Grpc);

    let header = HeaderProto {
        exec_endpoint: Some("/".to_owned()),
        ..Default::default()
    };
    let request: Bytes = DataRequest {
        header,
        ..Default::default()
    }
    .encode_to_vec()
    .into();
    let answer = RawGrpc::new(&authority)
        .unary(SINGLE, tonic::Request::new(request))
        .await
        .expect("gRPC");
    let documents = DataRequest::decode(answer.into_inner())
        .expect("a request")
        .documents;
    assert_eq!(documents.decode().expect("documents").len(), 1);

    let answer = post(&authority, &json!({"data": []})).await;
    assert_eq!(answer.json()["data"][0]["text"], "hello from Flowgate");

    let frames = vec![Message::text(r#"{"data": []}"#), Message::text("{}")];
    let received = websocket(&authority, "/", None, frames).await;
    let first: Value = serde_json::from_str(received[0].to_text().expect("text")).expect("JSON");
    assert_eq!(first["data"][0]["text"], "hello from Flowgate");
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_port_serves_its_plain_routes() {
    let gateway = ServedGateway::start(
        "jtype: Flow\ngateway: {protocol: websocket, port: 0}\nexecutors: []\n",
    )
    .await;
    let authority = gateway.authority(Protocol::WebSocket);
    for (path, key) in [("/status", "jina"), ("/dry_run", "code")] {
        let request = Request::get(format!("http://{authority}{path}"))
            .body(Bytes::new())
            .expect("a request");
        let answer = http(request).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.json().get(key).is_some(),
            "{path}: {:?}",
            answer.body
        );
    }
    let request = Request::get(format!("http://{authority}/"))
        .body(Bytes::new())
        .expect("a request");
    assert_eq!(http(request).await.json(), json!({}));
    gateway.stop().await;
}

#[tokio::test]
async fn a_grpc_port_says_so_to_plain_http() {
    let gateway =
        ServedGateway::start("jtype: Flow\ngateway: {protocol: grpc, port: 0}\nexecutors: []\n")
            .await;
    let authority = gateway.authority(Protocol::Grpc);
    let request = Request::get(format!("http://{authority}/status"))
        .body(Bytes::new())
        .expect("a request");
    let answer = http(request).await;
    assert_eq!(answer.status, 415);
    assert_eq!(&answer.body[..], b"this port speaks gRPC only\n");
    gateway.stop().await;
}
