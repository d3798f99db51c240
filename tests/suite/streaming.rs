//! `jina.JinaRPC/Call`: concurrency, order, and how one failed request ends a stream.

use std::time::Duration;

use bytes::Bytes;
use executor_fn::{Executor, Reply, Request};
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    flow::{ServedExecutor, ServedGateway},
};
use gateway::config::Protocol;
use prost::Message as _;
use tonic::{Code, metadata::MetadataMap};

const CALL: &str = "/jina.JinaRPC/Call";

/// Answers `slow` requests last, without a clock: they wait until every `fast` one has been seen.
fn fast_before_slow(fast: usize) -> Executor {
    let seen = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    Executor::new("FastFirst").on_default(move |request: Request| {
        let seen = seen.clone();
        async move {
            if request.header().request_id.starts_with("slow") {
                let all = seen.acquire_many(u32::try_from(fast).expect("few")).await;
                all.expect("never closed").forget();
            } else {
                seen.add_permits(1);
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
            DataRequest { header, ..Default::default() }.encode_to_vec().into()
        })
        .collect()
}

async fn answered_ids(gateway: &ServedGateway, in_order: &str, ids: &[&str]) -> (Vec<String>, Option<Code>) {
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let mut metadata = MetadataMap::new();
    metadata.insert("__results_in_order__", in_order.parse().expect("ASCII"));
    let call = client.streaming(CALL, metadata, requests(ids)).await;
    let mut answers = call.expect("a stream").into_inner();
    let mut order = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                order.push(DataRequest::decode(answer).expect("a request").header.request_id);
            }
            Ok(None) => return (order, None),
            Err(status) => return (order, Some(status.code())),
        }
    }
}

#[tokio::test]
async fn answers_come_as_they_are_ready_unless_order_is_asked_for() {
    for (asked, expected) in
        [("true", ["slow", "f1", "f2"]), ("false", ["f1", "f2", "slow"]), ("True", ["f1", "f2", "slow"])]
    {
        let executor = ServedExecutor::start(fast_before_slow(2), "e").await;
        let yaml = format!(
            "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  - {{name: e, external: true, port: {}}}\n",
            executor.port()
        );
        let gateway = ServedGateway::start(&yaml).await;
        let (mut order, end) = answered_ids(&gateway, asked, &["slow", "f1", "f2"]).await;
        if asked != "true" {
            order[..2].sort();
        }
        assert_eq!(order, expected, "{asked}");
        assert_eq!(end, None);
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn a_failed_request_ends_the_stream_after_saying_which_it_was() {
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0, retries: 0}\n\
                executors:\n  - {name: e, external: true, host: localhost, port: 20499}\n";
    let gateway = ServedGateway::start(yaml).await;
    let (order, end) = answered_ids(&gateway, "false", &["r1"]).await;
    assert_eq!(order, ["r1"]);
    assert_eq!(end, Some(Code::Unavailable));
    gateway.stop().await;
}

#[tokio::test]
async fn hundreds_of_requests_come_back_with_little_prefetch() {
    let gateway = ServedGateway::start(
        "jtype: Flow\ngateway: {protocol: grpc, port: 0, prefetch: 3}\nexecutors:\n  - {name: g, uses: 'inproc://greet'}\n",
    )
    .await;
    let ids: Vec<String> = (0..500).map(|index| format!("r{index}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answers = tokio::time::timeout(Duration::from_secs(30), answered_ids(&gateway, "true", &ids)).await;
    let (order, end) = answers.expect("in time");
    assert_eq!(order, ids);
    assert_eq!(end, None);
    gateway.stop().await;
}
