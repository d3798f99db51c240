//! The bytes of all requests together are bounded, and requests that do not fit are refused before they are read.

use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, docarray::DocumentProto};
use flowgate_tests::{client::RawGrpc, flow::ServedGateway, gate::Gate};
use prost::Message as _;
use tonic::{Code, Request, Status};

const YAML: &str = "jtype: Flow\n\
    gateway: {protocol: grpc, port: 0, limits: {max_bytes_in_flight: 100000}}\n\
    executors:\n  - {name: e, uses: 'inproc://gate'}\n";

/// Sends one document of this size.
async fn send(authority: &str, bytes: usize) -> Result<(), Status> {
    let document = DocumentProto {
        id: "x".repeat(bytes),
        ..Default::default()
    };
    let request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    let path = "/jina.JinaSingleDataRequestRPC/process_single_data";
    let message = Request::new(request.encode_to_vec().into());
    let mut client = RawGrpc::new(authority);
    client.unary(path, message).await.map(|_| ())
}

#[tokio::test]
async fn a_request_that_does_not_fit_beside_the_others_is_refused() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let held = tokio::spawn({
        let authority = authority.clone();
        async move { send(&authority, 60_000).await }
    });
    gate.wait_for_requests(1).await;
    let status = send(&authority, 60_000).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("100000"), "{status}");
    gate.release(3);
    held.await.expect("no panic").expect("an answer");
    send(&authority, 1_000).await.expect("an answer");
    send(&authority, 60_000).await.expect("there is room again");
    gateway.stop().await;
}
