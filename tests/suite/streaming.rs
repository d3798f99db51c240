//! `jina.JinaRPC/Call`: concurrency, order of responses, and how one failed request ends a stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use executor_fn::{Executor, Reply, Request};
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    flow::{ClosedPort, ServedExecutor, ServedGateway},
};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::{Code, Streaming, metadata::MetadataMap};

const CALL: &str = "/jina.JinaRPC/Call";

/// Holds requests with the id `slow` until the semaphore is released.
fn hold_slow_requests(open: &Arc<Semaphore>) -> Executor {
    let open = Arc::clone(open);
    Executor::new("HoldSlowRequests").on_default(move |request: Request| {
        let open = Arc::clone(&open);
        async move {
            if request.header().request_id == "slow" {
                open.acquire().await.expect("never closed").forget();
            }
            Ok(Reply::unchanged())
        }
    })
}

fn requests(ids: &[&str]) -> Vec<Bytes> {
    ids.iter()
        .map(|id| {
            let header = HeaderProto {
                request_id: (*id).to_owned(),
                exec_endpoint: Some("/".to_owned()),
                ..Default::default()
            };
            DataRequest {
                header,
                ..Default::default()
            }
            .encode_to_vec()
            .into()
        })
        .collect()
}

async fn stream(gateway: &ServedGateway, in_order: &str, ids: &[&str]) -> Streaming<Bytes> {
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let mut metadata = MetadataMap::new();
    metadata.insert("__results_in_order__", in_order.parse().expect("ASCII"));
    client
        .streaming(CALL, metadata, tokio_stream::iter(requests(ids)))
        .await
        .expect("a stream")
        .into_inner()
}

async fn next_id(responses: &mut Streaming<Bytes>) -> Result<Option<String>, Code> {
    let response = responses.message().await.map_err(|status| status.code())?;
    Ok(response.map(|bytes| {
        DataRequest::decode(bytes)
            .expect("a request")
            .header
            .request_id
    }))
}

async fn responses_until_end(
    gateway: &ServedGateway,
    in_order: &str,
    ids: &[&str],
) -> (Vec<String>, Option<Code>) {
    let mut responses = stream(gateway, in_order, ids).await;
    let mut order = Vec::new();
    loop {
        match next_id(&mut responses).await {
            Ok(Some(id)) => order.push(id),
            Ok(None) => return (order, None),
            Err(code) => return (order, Some(code)),
        }
    }
}

async fn flow(open: &Arc<Semaphore>) -> (ServedGateway, ServedExecutor) {
    let executor = ServedExecutor::start(hold_slow_requests(open), "e").await;
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  - {{name: e, external: true, port: {}}}\n",
        executor.port()
    );
    (ServedGateway::start(&yaml).await, executor)
}

#[tokio::test]
async fn responses_come_as_soon_as_they_are_ready() {
    // Only the exact value `true` requests the order.
    for in_order in ["false", "True", "1"] {
        let open = Arc::new(Semaphore::new(0));
        let (gateway, executor) = flow(&open).await;
        let mut responses = stream(&gateway, in_order, &["slow", "f1", "f2"]).await;
        let mut first: Vec<_> = [next_id(&mut responses).await, next_id(&mut responses).await]
            .map(|id| id.expect("a response"))
            .into();
        first.sort();
        assert_eq!(
            first,
            [Some("f1".to_owned()), Some("f2".to_owned())],
            "{in_order}"
        );
        open.add_permits(1);
        assert_eq!(next_id(&mut responses).await, Ok(Some("slow".to_owned())));
        assert_eq!(next_id(&mut responses).await, Ok(None));
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn responses_come_in_the_order_of_the_requests_when_requested() {
    let open = Arc::new(Semaphore::new(0));
    let (gateway, executor) = flow(&open).await;
    let mut responses = stream(&gateway, "true", &["f0", "slow", "f1", "f2"]).await;
    assert_eq!(
        next_id(&mut responses).await,
        Ok(Some("f0".to_owned())),
        "before the slow one is released"
    );
    open.add_permits(1);
    for id in ["slow", "f1", "f2"] {
        assert_eq!(next_id(&mut responses).await, Ok(Some(id.to_owned())));
    }
    assert_eq!(next_id(&mut responses).await, Ok(None));
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn a_failed_request_ends_the_stream_after_its_own_response() {
    let closed = ClosedPort::reserve();
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, retries: 0}}\n\
         executors:\n  - {{name: e, external: true, host: localhost, port: {}}}\n",
        closed.port()
    ))
    .await;
    let (order, end) = responses_until_end(&gateway, "false", &["r1"]).await;
    assert_eq!(order, ["r1"]);
    assert_eq!(end, Some(Code::Unavailable));
    gateway.stop().await;
}

#[tokio::test]
async fn hundreds_of_requests_succeed_with_a_small_prefetch() {
    let gateway = ServedGateway::start(
        "jtype: Flow\ngateway: {protocol: grpc, port: 0, prefetch: 3}\nexecutors:\n  - {name: g, uses: 'inproc://greet'}\n",
    )
    .await;
    let ids: Vec<String> = (0..500).map(|index| format!("r{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let responses = tokio::time::timeout(
        Duration::from_secs(30),
        responses_until_end(&gateway, "true", &ids),
    )
    .await;
    let (order, end) = responses.expect("in time");
    assert_eq!(order, ids);
    assert_eq!(end, None);
    gateway.stop().await;
}
