//! Limits of `Call` streams: clients that send more than their share leave places for others, and requests end also while
//! their client reads no answers.

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    executors::text,
    flow::{ServedGateway, eventually},
    gate::Gate,
};
use futures_util::StreamExt as _;
use prost::Message as _;
use tonic::{Streaming, metadata::MetadataMap};

const CALL: &str = "/jina.JinaRPC/Call";
const PROCESS_SINGLE_DATA: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

fn request(text_bytes: usize) -> Bytes {
    let header = HeaderProto {
        exec_endpoint: Some("/".to_owned()),
        ..Default::default()
    };
    let request = DataRequest {
        header,
        documents: vec![text("d", &"x".repeat(text_bytes))].into(),
        ..Default::default()
    };
    request.encode_to_vec().into()
}

/// Sends as many requests as are taken, and reads no answers. The stream does not end.
async fn send_all(client: &mut RawGrpc, requests: usize, text_bytes: usize) -> Streaming<Bytes> {
    let requests = vec![request(text_bytes); requests];
    let requests = tokio_stream::iter(requests).chain(futures_util::stream::pending());
    let streaming = client.streaming(CALL, MetadataMap::new(), requests);
    streaming.await.expect("a stream").into_inner()
}

async fn is_ok(authority: &str) -> bool {
    let mut client = RawGrpc::new(authority);
    let request = tonic::Request::new(request(1));
    client.unary(PROCESS_SINGLE_DATA, request).await.is_ok()
}

#[tokio::test]
async fn clients_with_streams_leave_places_for_others() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0, limits: {max_concurrent_requests: 400}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut client = RawGrpc::new(&authority);
        streams.push(send_all(&mut client, 400, 1).await);
    }
    // Each has a tenth of what the others leave, and at least eight.
    gate.wait_for_requests(150).await;
    let other = tokio::spawn(async move { is_ok(&authority).await });
    gate.wait_for_requests(1).await;
    gate.release(1_000_000);
    assert!(other.await.expect("no panic"));
    drop(streams);
    gateway.stop().await;
}

#[tokio::test]
async fn the_streams_of_one_connection_share_its_places() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0, limits: {max_concurrent_requests: 400}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let mut client = RawGrpc::new(&authority);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(send_all(&mut client, 400, 1).await);
    }
    // All of them take a tenth of the free places, and at most one more each.
    gate.wait_for_requests(36).await;
    let others: Vec<_> = (0..300)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move { is_ok(&authority).await })
        })
        .collect();
    gate.wait_for_requests(300).await;
    gate.release(1_000_000);
    for other in others {
        assert!(other.await.expect("no panic"));
    }
    drop(streams);
    gateway.stop().await;
}

#[tokio::test]
async fn requests_whose_answers_are_not_read_leave_their_places() {
    const REQUESTS: usize = 50;
    let gate = Gate::closed();
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, limits: {{max_concurrent_requests: {REQUESTS}, connection_share: 100}}}}\n\
         executors:\n  - {{name: e, uses: 'inproc://gate'}}\n"
    );
    let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    // Together more than the client's window: some answers wait for ever.
    let unread = send_all(&mut RawGrpc::new(&authority), REQUESTS, 500_000).await;
    gate.wait_for_requests(50).await;
    assert!(!is_ok(&authority).await, "all places are taken");
    gate.release(1_000_000);
    eventually("a place is free", || is_ok(&authority)).await;
    drop(unread);
    gateway.stop().await;
}
