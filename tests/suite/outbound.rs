//! Calls to Executors over gRPC: metadata, deadline, compression, parameters, the RPC in use, and retries.

use std::time::Duration;

use bytes::Bytes;
use executor_fn::struct_from_json;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    executors::{tag, text, text_of},
    flow::{ServedGateway, eventually},
    recorder::{RecordedCall, Recorder, Rpc},
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// The RPCs that Jina's own Executors serve.
const JINA_RPCS: &[Rpc] = &[Rpc::Single, Rpc::List, Rpc::Endpoints];

/// Starts a Gateway with these keys, and a deployment `e` with its own.
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
    let response = client.unary(SINGLE, call).await?;
    Ok(DataRequest::decode(response.into_inner()).expect("a request"))
}

/// Returns the only data call.
fn only_call(executor: &Recorder) -> RecordedCall {
    let mut sent = executor.data_calls();
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.remove(0)
}

#[tokio::test]
async fn metadata_has_the_deployments_keys_and_the_endpoint() {
    let executor = Recorder::start(JINA_RPCS).await;
    let keys = ", grpc_metadata: {authorization: 'Bearer x', x-team: search}";
    let gateway = gateway("", &executor, keys).await;
    let mut client_metadata = MetadataMap::new();
    client_metadata.insert("endpoint", MetadataValue::from_static("/clients"));
    client_metadata.insert("x-client", MetadataValue::from_static("1"));
    send_with(&gateway, &request(Some("/foo")), client_metadata.clone())
        .await
        .expect("a response");
    let sent = only_call(&executor);
    assert_eq!(sent.text("authorization"), Some("Bearer x"));
    assert_eq!(sent.text("x-team"), Some("search"));
    assert_eq!(sent.text("endpoint"), Some("/foo"));
    assert_eq!(
        sent.text("x-client"),
        None,
        "client metadata is not forwarded"
    );
    assert_eq!(sent.text("grpc-timeout"), None, "no timeout_send");

    for endpoint in [None, Some("")] {
        send_with(&gateway, &request(endpoint), client_metadata.clone())
            .await
            .expect("a response");
        let sent = executor.data_calls().pop().expect("a call");
        assert_eq!(sent.text("endpoint"), None, "{endpoint:?}");
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn each_attempt_has_the_deadline() {
    let executor = Recorder::start(JINA_RPCS).await;
    let gateway = gateway(", timeout_send: 2500", &executor, "").await;
    executor.fail_next(1, &Status::unavailable("busy"));
    send(&gateway, &request(Some("/")))
        .await
        .expect("a response");
    let sent = executor.data_calls();
    assert_eq!(sent.len(), 2);
    for sent in sent {
        let timeout = sent.text("grpc-timeout").expect("a deadline");
        assert_eq!(
            parse_timeout(timeout),
            Duration::from_millis(2500),
            "{timeout}"
        );
    }
    gateway.stop().await;
    executor.stop().await;
}

/// Parses a timeout in gRPC's format: up to eight digits and a unit.
fn parse_timeout(timeout: &str) -> Duration {
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
async fn requests_are_compressed_as_configured() {
    for (name, encoding) in [
        ("none", None),
        ("NoCompression", None),
        ("gzip", Some("gzip")),
        ("Deflate", Some("deflate")),
    ] {
        let executor = Recorder::start(JINA_RPCS).await;
        let gateway = gateway(&format!(", compression: {name}"), &executor, "").await;
        let request = request(Some("/"));
        let response = send(&gateway, &request).await.expect("a response");
        let sent = only_call(&executor);
        assert_eq!(sent.text("grpc-encoding"), encoding, "{name}");
        for documents in [&sent.request().documents, &response.documents] {
            assert_eq!(
                documents.decode().expect("documents"),
                request.documents.decode().expect("documents"),
                "{name}"
            );
        }
        // Endpoint discovery is not compressed.
        let discovery = endpoint_discovery(&executor).await;
        assert_eq!(discovery.text("grpc-encoding"), None, "{name}");
        gateway.stop().await;
        executor.stop().await;
    }
}

/// Waits for the call of endpoint discovery, which runs concurrently with the first request.
async fn endpoint_discovery(executor: &Recorder) -> RecordedCall {
    let find_call = || {
        let mut calls = executor.calls().into_iter();
        calls.find(|call| call.rpc == Rpc::Endpoints)
    };
    eventually("the endpoints are requested", || async {
        find_call().is_some()
    })
    .await;
    find_call().expect("just found")
}

#[tokio::test]
async fn endpoints_are_requested_once_without_metadata_and_deadline() {
    let executor = Recorder::start(JINA_RPCS).await;
    let keys = ", grpc_metadata: {x-team: search}";
    let gateway = gateway(", timeout_send: 2500", &executor, keys).await;
    send(&gateway, &request(Some("/foo")))
        .await
        .expect("a response");
    let discovery = endpoint_discovery(&executor).await;
    for key in ["x-team", "endpoint", "grpc-timeout"] {
        assert_eq!(discovery.text(key), None, "{key}");
    }
    for _ in 0..5 {
        send(&gateway, &request(Some("/foo")))
            .await
            .expect("a response");
    }
    let calls = executor.calls();
    let discoveries = calls.iter().filter(|call| call.rpc == Rpc::Endpoints);
    assert_eq!(discoveries.count(), 1);
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn target_executor_is_empty_in_requests_to_executors() {
    let executor = Recorder::start(JINA_RPCS).await;
    let gateway = gateway("", &executor, "").await;
    for target in [Some("e.*"), Some(""), None] {
        let mut request = request(Some("/"));
        request.header.target_executor = target.map(str::to_owned);
        send(&gateway, &request).await.expect("a response");
        let sent = executor.data_calls().pop().expect("a call");
        let header = &sent.request().header;
        assert_eq!(header.target_executor.as_deref(), Some(""), "{target:?}");
        assert_eq!(header.request_id, "r1");
        assert_eq!(header.exec_endpoint.as_deref(), Some("/"));
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn each_executor_gets_its_own_parameters() {
    let (a, b) = (
        Recorder::start(JINA_RPCS).await,
        Recorder::start(JINA_RPCS).await,
    );
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0}}\nexecutors:\n  \
         - {{name: a, external: true, port: {}}}\n  - {{name: b, external: true, port: {}}}\n",
        a.port(),
        b.port()
    ))
    .await;
    let parameters = json!({"k": 0, "a__k": 1, "b": {"k": 5, "own": true}, "nobody__k": 2});
    let mut request = request(Some("/"));
    request.parameters = fields(&parameters).into();
    let response = send(&gateway, &request).await.expect("a response");
    assert_eq!(response.parameters.decode(), Ok(fields(&parameters)));
    let parameters_of = |executor: &Recorder| only_call(executor).request().parameters.decode();
    let object = json!({"k": 5, "own": true});
    assert_eq!(parameters_of(&a), Ok(fields(&json!({"k": 1, "b": object}))));
    assert_eq!(
        parameters_of(&b),
        Ok(fields(&json!({"k": 5, "own": true, "b": object})))
    );
    gateway.stop().await;
    a.stop().await;
    b.stop().await;
}

fn fields(json: &Value) -> flowgate_proto::Struct {
    struct_from_json(json.clone()).expect("an object")
}

#[tokio::test]
async fn by_default_only_a_call_that_was_not_run_is_retried() {
    for (code, expected_calls) in [
        (Code::Unavailable, 4),
        (Code::DeadlineExceeded, 1),
        (Code::Cancelled, 1),
        (Code::Unknown, 1),
        (Code::Internal, 1),
    ] {
        let executor = Recorder::start(JINA_RPCS).await;
        let gateway = gateway("", &executor, "").await;
        executor.fail_next(4, &Status::new(code, "not now"));
        let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(executor.data_calls().len(), expected_calls, "{code:?}");
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn retryable_errors_of_an_executor_are_retried_as_in_jina() {
    for code in [
        Code::Unavailable,
        Code::DeadlineExceeded,
        Code::Cancelled,
        Code::Unknown,
        Code::Internal,
    ] {
        let executor = Recorder::start(JINA_RPCS).await;
        let gateway = gateway(", retry_policy: jina", &executor, "").await;
        // Jina's default: four attempts with up to three replicas.
        executor.fail_next(3, &Status::new(code, "not now"));
        let response = send(&gateway, &request(Some("/"))).await;
        assert!(response.is_ok(), "{code:?}: {response:?}");
        assert_eq!(executor.data_calls().len(), 4, "{code:?}");
        executor.fail_next(4, &Status::new(code, "not now"));
        let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with("not now"), "{status}");
        assert_eq!(executor.data_calls().len(), 8, "{code:?}");
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn permanent_errors_of_an_executor_are_not_retried() {
    let executor = Recorder::start(JINA_RPCS).await;
    let gateway = gateway("", &executor, "").await;
    for (calls_before, code) in [
        Code::InvalidArgument,
        Code::ResourceExhausted,
        Code::Unauthenticated,
        Code::NotFound,
    ]
    .into_iter()
    .enumerate()
    {
        executor.fail_next(1, &Status::new(code, "never"));
        let status = send(&gateway, &request(Some("/")))
            .await
            .expect_err("rejected");
        assert_eq!(status.code(), code);
        assert!(status.message().contains("never"), "{status}");
        assert_eq!(executor.data_calls().len(), calls_before + 1, "{code:?}");
    }
    gateway.stop().await;
    executor.stop().await;
}

#[tokio::test]
async fn the_setting_retries_limits_the_attempts() {
    for (retries, attempts) in [(0, 1), (1, 2), (6, 7), (-1, 4)] {
        let executor = Recorder::start(JINA_RPCS).await;
        let gateway = gateway(&format!(", retries: {retries}"), &executor, "").await;
        executor.fail_next(100, &Status::unavailable("not now"));
        let status = send(&gateway, &request(Some("/"))).await.expect_err("down");
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(executor.data_calls().len(), attempts, "retries: {retries}");
        gateway.stop().await;
        executor.stop().await;
    }
}

#[tokio::test]
async fn trailing_metadata_of_an_error_reaches_the_client() {
    let executor = Recorder::start(JINA_RPCS).await;
    let gateway = gateway(", retries: 0", &executor, "").await;
    let mut trailers = MetadataMap::new();
    trailers.insert("x-reason", MetadataValue::from_static("too hot"));
    executor.fail_next(
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
async fn an_executor_is_called_by_an_rpc_that_it_serves() {
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
            let response = send(&gateway, &request(Some("/foo"))).await;
            let response = response.expect("a response");
            assert_eq!(response.documents.decode().expect("documents").len(), 1);
            let sent = executor.data_calls();
            assert_eq!(sent.len(), number, "{served:?}");
            let sent = &sent[number - 1];
            assert_eq!(sent.rpc, rpc, "{served:?}");
            assert_eq!(sent.request().header.request_id, "r1");
            // Metadata and deadline are the same for every RPC.
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
async fn a_join_without_reduction_gets_all_parts_in_the_order_of_needs() {
    let join = Recorder::start(JINA_RPCS).await;
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
    let mut request = request(Some("/"));
    request.documents = vec![text("d0", "x")].into();
    request.parameters = fields(&json!({"j__k": 1})).into();
    send(&gateway, &request).await.expect("a response");
    let sent = only_call(&join);
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
