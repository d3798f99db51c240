//! `jina.JinaRPC/Call`: concurrency, order, and how one failed request ends a stream.

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

/// Answers requests called `slow` when it is let.
fn slow_when_let(open: &Arc<Semaphore>) -> Executor {
    let open = Arc::clone(open);
    Executor::new("SlowWhenLet").on_default(move |request: Request| {
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

async fn next_id(answers: &mut Streaming<Bytes>) -> Result<Option<String>, Code> {
    let answer = answers.message().await.map_err(|status| status.code())?;
    Ok(answer.map(|bytes| {
        DataRequest::decode(bytes)
            .expect("a request")
            .header
            .request_id
    }))
}

async fn answered_ids(
    gateway: &ServedGateway,
    in_order: &str,
    ids: &[&str],
) -> (Vec<String>, Option<Code>) {
    let mut answers = stream(gateway, in_order, ids).await;
    let mut order = Vec::new();
    loop {
        match next_id(&mut answers).await {
            Ok(Some(id)) => order.push(id),
            Ok(None) => return (order, None),
            Err(code) => return (order, Some(code)),
        }
    }
}

async fn flow(open: &Arc<Semaphore>) -> (ServedGateway, ServedExecutor) {
    let executor = ServedExecutor::start(slow_when_let(open), "e").await;
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  - {{name: e, external: true, port: {}}}\n",
        executor.port()
    );
    (ServedGateway::start(&yaml).await, executor)
}

#[tokio::test]
async fn answers_come_as_they_are_ready() {
    // Only `true` itself asks for order.
    for asked in ["false", "True", "1"] {
        let open = Arc::new(Semaphore::new(0));
        let (gateway, executor) = flow(&open).await;
        let mut answers = stream(&gateway, asked, &["slow", "f1", "f2"]).await;
        let mut first: Vec<_> = [next_id(&mut answers).await, next_id(&mut answers).await]
            .map(|id| id.expect("an answer"))
            .into();
        first.sort();
        assert_eq!(
            first,
            [Some("f1".to_owned()), Some("f2".to_owned())],
            "{asked}"
        );
        open.add_permits(1);
        assert_eq!(next_id(&mut answers).await, Ok(Some("slow".to_owned())));
        assert_eq!(next_id(&mut answers).await, Ok(None));
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests_where_that_is_asked_for() {
    let open = Arc::new(Semaphore::new(0));
    let (gateway, executor) = flow(&open).await;
    let mut answers = stream(&gateway, "true", &["f0", "slow", "f1", "f2"]).await;
    assert_eq!(
        next_id(&mut answers).await,
        Ok(Some("f0".to_owned())),
        "before the slow one is let"
    );
    open.add_permits(1);
    for id in ["slow", "f1", "f2"] {
        assert_eq!(next_id(&mut answers).await, Ok(Some(id.to_owned())));
    }
    assert_eq!(next_id(&mut answers).await, Ok(None));
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn a_failed_request_ends_the_stream_after_saying_which_it_was() {
    let closed = ClosedPort::hold();
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, retries: 0}}\n\
         executors:\n  - {{name: e, external: true, host: localhost, port: {}}}\n",
        closed.number()
    ))
    .await;
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
    let answers = tokio::time::timeout(
        Duration::from_secs(30),
        answered_ids(&gateway, "true", &ids),
    )
    .await;
    let (order, end) = answers.expect("in time");
    assert_eq!(order, ids);
    assert_eq!(end, None);
    gateway.stop().await;
}
