//! What an Executor is sent, how it is called, and when it is called again.

use std::time::Duration;

use bytes::Bytes;
use executor_fn::structure;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    executors::{tag, text, text_of},
    flow::{ServedGateway, eventually},
    recorder::{Recorder, Rpc, Sent},
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// Every way in which Jina's own Executors can be called.
const AS_JINA: &[Rpc] = &[Rpc::Single, Rpc::List, Rpc::Endpoints];

/// A Gateway with some keys, and a deployment `e` with others.
async fn gateway(gateway_keys: &str, executor: &Recorder, executor_keys: &str) -> ServedGateway {
    let port = executor.port();
    ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0{gateway_keys}}}\n\
         executors:\n  - {{name: e, external: true, port: {port}{executor_keys}}}\n"
    ))
    .await
}

fn request(endpoint: Option<&str>) -> DataRequest {
    DataRequest {
        header: HeaderProto {
            request_id: "r1".to_owned(),
            exec_endpoint: endpoint.map(str::to_owned),
            ..Default::default()
        },
        documents: vec![text("d0", &"x".repeat(10_000))].into(),
        ..Default::default()
    }
}

async fn send(gateway: &ServedGateway, request: &DataRequest) -> Result<DataRequest, Status> {
    send_with(gateway, request, MetadataMap::new()).await
}

async fn send_with(
    gateway: &ServedGateway,
    request: &DataRequest,
    metadata: MetadataMap,
) -> Result<DataRequest, Status> {
    let mut call = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    *call.metadata_mut() = metadata;
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let answer = client.unary(SINGLE, call).await?;
    Ok(DataRequest::decode(answer.into_inner()).expect("a request"))
}

/// The one data request that was sent.
fn only(executor: &Recorder) -> Sent {
    let mut sent = executor.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

#[tokio::test]
async fn metadata_is_the_deployments_and_the_endpoint() {
    let executor = Recorder::start(AS_JINA).await;
    let keys = ", grpc_metadata: {authorization: 'Bearer x', x-team: search}";
    let gateway = gateway("", &executor, keys).await;
    let mut clients = MetadataMap::new();
    clients.insert("endpoint", MetadataValue::from_static("/clients"));
    clients.insert("x-client", MetadataValue::from_static("1"));
    send_with(&gateway, &request(Some("/foo")), clients.clone())
        .await
        .expect("an answer");
    let sent = only(&executor);
    assert_eq!(sent.text("authorization"), Some("Bearer x"));
    assert_eq!(sent.text("x-team"), Some("search"));
    assert_eq!(sent.text("endpoint"), Some("/foo"));
    assert_eq!(sent.text("x-client"), None, "a client's stays here");
    assert_eq!(sent.text("grpc-timeout"), None, "no timeout_send");

    for endpoint in [None, Some("")] {
        send_with(&gateway, &request(endpoint), clients.clone())
            .await
            .expect("an answer");
        let sent = executor.sent().pop().expect("a call");
        assert_eq!(sent.text("endpoint"), None, "{endpoint:?}");
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn the_deadline_goes_with_each_try() {
    let executor = Recorder::start(AS_JINA).await;
    let gateway = gateway(", timeout_send: 2500", &executor, "").await;
    executor.refuse(1, &Status::unavailable("busy"));
    send(&gateway, &request(Some("/")))
        .await
        .expect("an answer");
    let sent = executor.sent();
    assert_eq!(sent.len(), 2);
    for sent in sent {
        let timeout = sent.text("grpc-timeout").expect("a deadline");
        assert_eq!(duration(timeout), Duration::from_millis(2500), "{timeout}");
    }
    gateway.stop().await;
    executor.stop().await;
}

/// As the gRPC protocol writes it: up to eight digits and a unit.
fn duration(timeout: &str) -> Duration {
    let (digits, unit) = timeout.split_at(timeout.len() - 1);
    assert!(digits.len() <= 8, "{timeout}");
    let number = digits.parse().expect("a number");
    match unit {
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        other => panic!("unit {other}"),
    }
}

#[tokio::test]
async fn requests_are_compressed_as_the_flow_says() {
    for (name, encoding) in [
        ("none", None),
        ("NoCompression", None),
        ("gzip", Some("gzip")),
        ("Deflate", Some("deflate")),
    ] {
        let executor = Recorder::start(AS_JINA).await;
        let gateway = gateway(&format!(", compression: {name}"), &executor, "").await;
        let asked = request(Some("/"));
        let answer = send(&gateway, &asked).await.expect("an answer");
        let sent = only(&executor);
        assert_eq!(sent.text("grpc-encoding"), encoding, "{name}");
        for documents in [&sent.request().documents, &answer.documents] {
            assert_eq!(
                documents.decode().expect("documents"),
                asked.documents.decode().expect("documents"),
                "{name}"
            );
        }
        // Only data is.
        let asks = asks_for_endpoints(&executor).await;
        assert_eq!(asks.text("grpc-encoding"), None, "{name}");
        gateway.stop().await;
        executor.stop().await;
    }
}

/// Endpoint discovery, which runs beside the first request.
async fn asks_for_endpoints(executor: &Recorder) -> Sent {
    let ask = || {
        let mut calls = executor.calls().into_iter();
        calls.find(|call| call.rpc == Rpc::Endpoints)
    };
    eventually("the endpoints are asked for", || async { ask().is_some() }).await;
    ask().expect("just seen")
}

#[tokio::test]
async fn endpoints_are_asked_for_once_without_metadata_or_deadline() {
    let executor = Recorder::start(AS_JINA).await;
    let keys = ", grpc_metadata: {x-team: search}";
    let gateway = gateway(", timeout_send: 2500", &executor, keys).await;
    send(&gateway, &request(Some("/foo")))
        .await
        .expect("an answer");
    let asks = asks_for_endpoints(&executor).await;
    for key in ["x-team", "endpoint", "grpc-timeout"] {
        assert_eq!(asks.text(key), None, "{key}");
    }
    for _ in 0..5 {
        send(&gateway, &request(Some("/foo")))
            .await
            .expect("an answer");
    }
    let calls = executor.calls();
    let asks = calls.iter().filter(|call| call.rpc == Rpc::Endpoints);
    assert_eq!(asks.count(), 1);
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn target_executor_is_empty_in_what_an_executor_is_sent() {
    let executor = Recorder::start(AS_JINA).await;
    let gateway = gateway("", &executor, "").await;
    for target in [Some("e.*"), Some(""), None] {
        let mut asked = request(Some("/"));
        asked.header.target_executor = target.map(str::to_owned);
        send(&gateway, &asked).await.expect("an answer");
        let sent = executor.sent().pop().expect("a call");
        let header = &sent.request().header;
        assert_eq!(header.target_executor.as_deref(), Some(""), "{target:?}");
        assert_eq!(header.request_id, "r1");
        assert_eq!(header.exec_endpoint.as_deref(), Some("/"));
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn each_executor_is_sent_its_own_parameters() {
    let (a, b) = (
        Recorder::start(AS_JINA).await,
        Recorder::start(AS_JINA).await,
    );
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  \
         - {{name: a, external: true, port: {}}}\n  - {{name: b, external: true, port: {}}}\n",
        a.port(),
        b.port()
    ))
    .await;
    let parameters = json!({"k": 0, "a__k": 1, "b": {"k": 5, "own": true}, "nobody__k": 2});
    let mut asked = request(Some("/"));
    asked.parameters = fields(&parameters).into();
    let answer = send(&gateway, &asked).await.expect("an answer");
    assert_eq!(answer.parameters.decode(), Ok(fields(&parameters)));
    let seen = |executor: &Recorder| only(executor).request().parameters.decode();
    let object = json!({"k": 5, "own": true});
    assert_eq!(seen(&a), Ok(fields(&json!({"k": 1, "b": object}))));
    assert_eq!(
        seen(&b),
        Ok(fields(&json!({"k": 5, "own": true, "b": object})))
    );
    gateway.stop().await;
    a.stop().await;
    b.stop().await;
}

fn fields(json: &Value) -> flowgate_proto::Struct {
    structure(json.clone()).expect("an object")
}

#[tokio::test]
async fn an_executor_that_may_do_better_is_tried_again() {
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Unknown,
        Code::Internal,
    ] {
        let executor = Recorder::start(AS_JINA).await;
        let gateway = gateway("", &executor, "").await;
        // Jina's default: four tries where there are up to three replicas.
        executor.refuse(3, &Status::new(code, "not now"));
        let answer = send(&gateway, &request(Some("/"))).await;
        assert!(answer.is_ok(), "{code:?}: {answer:?}");
        assert_eq!(executor.sent().len(), 4, "{code:?}");
        executor.refuse(4, &Status::new(code, "not now"));
        let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with("not now"), "{status}");
        assert_eq!(executor.sent().len(), 8, "{code:?}");
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn an_executor_that_refuses_for_good_is_not_tried_again() {
    let executor = Recorder::start(AS_JINA).await;
    let gateway = gateway("", &executor, "").await;
    for (done, code) in [
        Code::InvalidArgument,
        Code::ResourceExhausted,
        Code::Unauthenticated,
        Code::NotFound,
    ]
    .into_iter()
    .enumerate()
    {
        executor.refuse(1, &Status::new(code, "never"));
        let status = send(&gateway, &request(Some("/")))
            .await
            .expect_err("refused");
        assert_eq!(status.code(), code);
        assert!(status.message().contains("never"), "{status}");
        assert_eq!(executor.sent().len(), done + 1, "{code:?}");
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn retries_say_how_often() {
    for (retries, tries) in [(0, 1), (1, 2), (6, 7), (-1, 4)] {
        let executor = Recorder::start(AS_JINA).await;
        let gateway = gateway(&format!(", retries: {retries}"), &executor, "").await;
        executor.refuse(100, &Status::unavailable("not now"));
        let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(executor.sent().len(), tries, "retries: {retries}");
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn trailing_metadata_of_a_failure_reaches_the_client() {
    let executor = Recorder::start(AS_JINA).await;
    let gateway = gateway(", retries: 0", &executor, "").await;
    let mut trailers = MetadataMap::new();
    trailers.insert("x-reason", MetadataValue::from_static("too hot"));
    executor.refuse(
        1,
        &Status::with_metadata(Code::Unavailable, "not now", trailers),
    );
    let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
    let reason = status.metadata().get("x-reason").expect("the trailer");
    assert_eq!(reason, "too hot");
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn an_executor_is_called_the_way_it_can_be_called() {
    for (served, rpc) in [
        (&[Rpc::Single] as &[Rpc], Rpc::Single),
        (&[Rpc::Call], Rpc::Call),
        (&[Rpc::List], Rpc::List),
        (&[Rpc::List, Rpc::Call, Rpc::Single], Rpc::Single),
    ] {
        let executor = Recorder::start(served).await;
        let gateway = gateway(
            ", timeout_send: 60000, compression: gzip",
            &executor,
            ", grpc_metadata: {x-team: search}",
        )
        .await;
        for number in 1..=3 {
            let answer = send(&gateway, &request(Some("/foo"))).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.documents.decode().expect("documents").len(), 1);
            let sent = executor.sent();
            assert_eq!(sent.len(), number, "{served:?}");
            let sent = &sent[number - 1];
            assert_eq!(sent.rpc, rpc, "{served:?}");
            assert_eq!(sent.request().header.request_id, "r1");
            // However it is called, it is told the same.
            assert_eq!(sent.text("x-team"), Some("search"), "{served:?}");
            assert_eq!(sent.text("endpoint"), Some("/foo"), "{served:?}");
            assert_eq!(sent.text("grpc-encoding"), Some("gzip"), "{served:?}");
            assert!(sent.text("grpc-timeout").is_some(), "{served:?}");
        }
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn a_join_that_does_not_reduce_is_sent_all_parts_in_the_order_of_needs() {
    let join = Recorder::start(AS_JINA).await;
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  \
         - {{name: b, uses: 'inproc://b', needs: gateway}}\n  - {{name: c, uses: 'inproc://c', needs: gateway}}\n  \
         - {{name: j, external: true, port: {}, needs: [c, b], no_reduce: true}}\n",
        join.port()
    );
    let registry = Registry::default()
        .with("b", || tag("b"))
        .with("c", || tag("c"));
    let gateway = ServedGateway::start_with(&yaml, &registry).await;
    let mut asked = request(Some("/"));
    asked.documents = vec![text("d0", "x")].into();
    asked.parameters = fields(&json!({"j__k": 1})).into();
    send(&gateway, &asked).await.expect("an answer");
    let sent = only(&join);
    assert_eq!((sent.rpc, sent.requests.len()), (Rpc::List, 2));
    for (part, expected) in sent.requests.iter().zip(["x+c", "x+b"]) {
        assert_eq!(part.header.request_id, "r1");
        let documents = part.documents.decode().expect("documents");
        assert_eq!(text_of(&documents[0]), expected);
        assert_eq!(part.parameters.decode(), Ok(fields(&json!({"k": 1}))));
    }
    gateway.stop().await;
    join.stop().await;
}
