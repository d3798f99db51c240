//! Several protocols on one port: the Gateway detects the protocol of each request.

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
async fn grpc_http_and_websocket_share_one_port() {
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
    let response = RawGrpc::new(&authority)
        .unary(SINGLE, tonic::Request::new(request))
        .await
        .expect("gRPC");
    let documents = DataRequest::decode(response.into_inner())
        .expect("a request")
        .documents;
    assert_eq!(documents.decode().expect("documents").len(), 1);

    let response = post(&authority, &json!({"data": []})).await;
    assert_eq!(response.json()["data"][0]["text"], "hello from Flowgate");

    let frames = vec![Message::text(r#"{"data": []}"#), Message::text("{}")];
    let received = websocket(&authority, "/", None, frames).await;
    let first: Value = serde_json::from_str(received[0].to_text().expect("text")).expect("JSON");
    assert_eq!(first["data"][0]["text"], "hello from Flowgate");
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_port_serves_plain_http_routes() {
    let gateway = ServedGateway::start(
        "jtype: Flow\ngateway: {protocol: websocket, port: 0}\nexecutors: []\n",
    )
    .await;
    let authority = gateway.authority(Protocol::WebSocket);
    for (path, key) in [("/status", "jina"), ("/dry_run", "code")] {
        let request = Request::get(format!("http://{authority}{path}"))
            .body(Bytes::new())
            .expect("a request");
        let response = http(request).await;
        assert_eq!(response.status, 200);
        assert!(
            response.json().get(key).is_some(),
            "{path}: {:?}",
            response.body
        );
    }
    let request = Request::get(format!("http://{authority}/"))
        .body(Bytes::new())
        .expect("a request");
    assert_eq!(http(request).await.json(), json!({}));
    gateway.stop().await;
}

#[tokio::test]
async fn a_grpc_port_rejects_plain_http_with_an_explanation() {
    let gateway =
        ServedGateway::start("jtype: Flow\ngateway: {protocol: grpc, port: 0}\nexecutors: []\n")
            .await;
    let authority = gateway.authority(Protocol::Grpc);
    let request = Request::get(format!("http://{authority}/status"))
        .body(Bytes::new())
        .expect("a request");
    let response = http(request).await;
    assert_eq!(response.status, 415);
    assert_eq!(&response.body[..], b"this port speaks gRPC only\n");
    gateway.stop().await;
}
