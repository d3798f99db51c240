//! Limits over gRPC and HTTP: messages that are too large and requests beyond the concurrency limit are rejected. Also:
//! a client that disconnects cancels its call.

use std::sync::Arc;

use bytes::Bytes;
use executor_fn::{Executor, Reply, ServeOptions};
use flowgate_config::Protocol;
use flowgate_proto::{
    DataRequest,
    jina::{HeaderProto, jina_single_data_request_rpc_client::JinaSingleDataRequestRpcClient},
};
use flowgate_tests::{
    client::{RawGrpc, http, post},
    executors::text,
    flow::{ServedExecutor, ServedGateway, eventually},
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tonic::{Code, codec::CompressionEncoding, transport::Endpoint};

const PROCESS_SINGLE_DATA: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const FLOW_WITH_100_KB_LIMIT: &str = "jtype: Flow
gateway: {protocol: [grpc, http], port: [0, 0], limits: {max_message_bytes: 100000}}
executors:
  - {name: g, uses: 'inproc://greet'}
";

fn request_of_size(bytes: usize) -> DataRequest {
    let header = HeaderProto {
        exec_endpoint: Some("/".to_owned()),
        ..Default::default()
    };
    DataRequest {
        header,
        documents: vec![text("d0", &"x".repeat(bytes))].into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_message_that_decompresses_beyond_the_limit_is_rejected() {
    let gateway = ServedGateway::start(FLOW_WITH_100_KB_LIMIT).await;
    let address = format!("http://{}", gateway.authority(Protocol::Grpc));
    let channel = Endpoint::from_shared(address)
        .expect("an address")
        .connect_lazy();
    let mut client =
        JinaSingleDataRequestRpcClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    // Compressed, each has a few hundred bytes.
    assert!(
        client
            .process_single_data(request_of_size(90_000))
            .await
            .is_ok()
    );
    let status = client
        .process_single_data(request_of_size(110_000))
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_rejected_over_every_protocol() {
    let gateway = ServedGateway::start(FLOW_WITH_100_KB_LIMIT).await;
    for (bytes, is_ok) in [(90_000, true), (110_000, false)] {
        let message: Bytes = request_of_size(bytes).encode_to_vec().into();
        let mut grpc = RawGrpc::new(&gateway.authority(Protocol::Grpc));
        let request = tonic::Request::new(message.clone());
        let answer = grpc.unary(PROCESS_SINGLE_DATA, request).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        let framed = [&[0], &length[..], &message].concat();
        let post = |content_type, body| {
            let authority = gateway.authority(Protocol::Http);
            let request = http::Request::post(format!("http://{authority}{PROCESS_SINGLE_DATA}"));
            let request = request.header("content-type", content_type).body(body);
            http(request.expect("a request"))
        };
        let web = post("application/grpc-web+proto", framed.into()).await;
        let connect = post("application/proto", message).await;
        if is_ok {
            assert_eq!((code, connect.status), (Code::Ok, 200));
            assert!(!web.headers.contains_key("grpc-status"), "{web:?}");
            continue;
        }
        assert_eq!(code, Code::ResourceExhausted);
        assert_eq!(web.headers["grpc-status"], "8", "{web:?}");
        let detail = web.headers["grpc-message"].to_str().expect("ASCII");
        assert!(detail.contains("100000"), "{detail}");
        assert_eq!(connect.status, 429, "{connect:?}");
        assert_eq!(connect.json()["code"], "resource_exhausted");
        assert!(connect.json()["message"].to_string().contains("100000"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_executor_rejects_a_message_beyond_the_limit() {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let socket = socket.expect("a free port");
    let address = socket.local_addr().expect("bound");
    let options = ServeOptions {
        max_message_bytes: 100_000,
        ..ServeOptions::default()
    };
    let executor = Executor::new("E").on_default(async |_| Ok(Reply::unchanged()));
    let serving = tokio::spawn(executor_fn::serve_on(
        socket,
        executor,
        options,
        std::future::pending(),
    ));
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let channel = Endpoint::from_shared(format!("http://{address}"));
        let channel = channel.expect("an address").connect_lazy();
        let mut client = JinaSingleDataRequestRpcClient::new(channel);
        if let Some(encoding) = compression {
            client = client.send_compressed(encoding);
        }
        let sent = client.process_single_data(request_of_size(90_000)).await;
        assert!(sent.is_ok(), "{sent:?}");
        let sent = client.process_single_data(request_of_size(110_000)).await;
        let status = sent.expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("100000"), "{status}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413() {
    let gateway = ServedGateway::start(FLOW_WITH_100_KB_LIMIT).await;
    let authority = gateway.authority(Protocol::Http);
    let body = |size: usize| json!({"data": [{"text": "x".repeat(size)}]});
    assert_eq!(post(&authority, &body(90_000)).await.status, 200);
    let response = post(&authority, &body(110_000)).await;
    assert_eq!(response.status, 413);
    assert!(
        response.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("100000"))
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_response_beyond_the_limit_is_an_error_that_names_the_executor() {
    let large = Executor::new("Large")
        .on_default(async |_| Ok(Reply::documents(vec![text("d", &"x".repeat(110_000))])));
    let executor = ServedExecutor::start(large, "large").await;
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, limits: {{max_message_bytes: 100000}}}}\n\
         executors:\n  - {{name: large, external: true, port: {}}}\n",
        executor.port()
    ))
    .await;
    let request: Bytes = request_of_size(1).encode_to_vec().into();
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let status = client
        .unary(PROCESS_SINGLE_DATA, tonic::Request::new(request))
        .await
        .expect_err("too large");
    assert!(status.message().contains("large"), "{status}");
    assert!(status.message().contains("100000"), "{status}");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn a_gateway_at_its_concurrency_limit_rejects_requests() {
    let gate = Arc::new(Semaphore::new(0));
    let started = Arc::new(Semaphore::new(0));
    let registry = {
        let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
        Registry::default().with("gate", move || {
            let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
            Executor::new("Gate").on_default(move |_| {
                let (gate, started) = (Arc::clone(&gate), Arc::clone(&started));
                async move {
                    started.add_permits(1);
                    gate.acquire().await.expect("never closed").forget();
                    Ok(Reply::unchanged())
                }
            })
        })
    };
    let yaml = "jtype: Flow\ngateway: {protocol: [grpc, http], port: [0, 0], limits: {max_concurrent_requests: 1}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &registry).await;
    let authority = gateway.authority(Protocol::Http);
    let first = {
        let authority = authority.clone();
        tokio::spawn(async move { post(&authority, &json!({"data": []})).await.status })
    };
    started.acquire().await.expect("never closed").forget();
    let response = post(&authority, &json!({"data": []})).await;
    assert_eq!(response.status, 429, "{:?}", response.body);
    let mut grpc = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let status = grpc
        .unary(PROCESS_SINGLE_DATA, tonic::Request::new(Bytes::new()))
        .await
        .expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted);
    // One for the first request and one for the request that follows it.
    gate.add_permits(2);
    assert_eq!(first.await.expect("a response"), 200);
    assert_eq!(
        post(&authority, &json!({"data": []})).await.status,
        200,
        "the slot is free again"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_the_call() {
    let dropped = Arc::new(Semaphore::new(0));
    let started = Arc::new(Semaphore::new(0));
    let executor = {
        let (dropped, started) = (Arc::clone(&dropped), Arc::clone(&started));
        Executor::new("Endless").on_default(move |_| {
            let (guard, started) = (SignalOnDrop(Arc::clone(&dropped)), Arc::clone(&started));
            async move {
                started.add_permits(1);
                std::future::pending::<()>().await;
                drop(guard);
                Ok(Reply::unchanged())
            }
        })
    };
    let executor = ServedExecutor::start(executor, "e").await;
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0}}\nexecutors:\n  - {{name: e, external: true, port: {}}}\n",
        executor.port()
    ))
    .await;
    let authority = gateway.authority(Protocol::Http);
    let client = tokio::spawn(async move { post(&authority, &json!({"data": []})).await.status });
    started.acquire().await.expect("never closed").forget();
    client.abort();
    eventually("the executor's work is cancelled", || async {
        dropped.available_permits() == 1
    })
    .await;
    gateway.stop().await;
    executor.stop().await;
}

struct SignalOnDrop(Arc<Semaphore>);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
