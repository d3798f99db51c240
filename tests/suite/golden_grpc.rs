//! Replays the gRPC recordings against Flowgate's Gateway and Executors.

use std::collections::BTreeSet;

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{
    DataRequest, Struct, docarray::DocumentProto, jina::HeaderProto, jina::RouteProto,
};
use flowgate_tests::{
    client::RawGrpc,
    flow::eventually,
    golden::{Recording, mask, mask_ports, recordings},
};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::golden::GoldenFlow;

#[tokio::test]
async fn a_single_executor_answers_as_jina() {
    replay("single").await;
}

#[tokio::test]
async fn a_join_answers_as_jina() {
    replay("join").await;
}

#[tokio::test]
async fn a_join_without_reduce_answers_as_jina() {
    replay("join_no_reduce").await;
}

#[tokio::test]
async fn a_flow_without_executors_answers_as_jina() {
    replay("no_executors").await;
}

#[tokio::test]
async fn an_executor_that_is_down_is_reported_as_by_jina() {
    replay("executor_down").await;
}

#[tokio::test]
async fn floating_and_skipped_executors_are_reported_as_by_jina() {
    let running = GoldenFlow::start("chain_floating").await;
    let gateway = RawGrpc::new(&running.gateway.authority(Protocol::Grpc));
    for recording in recordings("grpc", "chain_floating") {
        // Executors are skipped only after endpoint discovery, which runs concurrently with the first request.
        eventually(&recording.name, || {
            let (mut gateway, recording) = (gateway.clone(), recording.clone());
            async move { response_to(&mut gateway, &recording).await == expected(&recording) }
        })
        .await;
    }
    running.stop().await;
}

async fn replay(flow: &str) {
    let running = GoldenFlow::start(flow).await;
    let mut gateway = RawGrpc::new(&running.gateway.authority(Protocol::Grpc));
    for recording in recordings("grpc", flow) {
        match recording.name.as_str() {
            "27-warmup_discard" => replay_race(&mut gateway, &recording).await,
            // Jina fails with an internal error on a request without bytes, which is a valid empty request.
            "16-empty_message" => {
                let response = gateway
                    .unary(method(&recording), tonic::Request::new(Bytes::new()))
                    .await;
                assert_eq!(
                    routes(&response.expect("a response").into_inner()),
                    ["gateway", "exec0"]
                );
            }
            "20-stream_in_order" => replay_stream(&mut gateway, &recording).await,
            "22-executor_direct_echo"
            | "23-executor_direct_error"
            | "26-executor_direct_endpoints" => {
                let mut executor =
                    RawGrpc::new(&format!("localhost:{}", running.executors[0].port()));
                replay_one(&mut executor, &recording).await;
            }
            _ => replay_one(&mut gateway, &recording).await,
        }
    }
    running.stop().await;
}

async fn replay_one(client: &mut RawGrpc, recording: &Recording) {
    assert_eq!(
        response_to(client, recording).await,
        expected(recording),
        "{}",
        recording.name
    );
}

/// Compares all but the order and the fields of documents: which branch comes first is a race in Jina.
async fn replay_race(client: &mut RawGrpc, recording: &Recording) {
    let (received, recorded) = (response_to(client, recording).await, expected(recording));
    let (Outcome::Request(received), Outcome::Request(recorded)) = (received, recorded) else {
        panic!("{}: no data request", recording.name)
    };
    assert_eq!(received.without_race(), recorded.without_race());
}

/// The outcome of a call, in a comparable form.
#[derive(Debug, PartialEq)]
enum Outcome {
    Request(Box<Timeless>),
    Message(Value),
    Status(Code, String),
}

/// A data request without the values that differ from run to run.
#[derive(Debug, PartialEq)]
struct Timeless {
    header: HeaderProto,
    parameters: Option<Struct>,
    /// The routes, with their times replaced by zero.
    routes: Vec<RouteProto>,
    documents: Vec<DocumentProto>,
    is_error: bool,
}

impl Timeless {
    fn without_race(mut self: Box<Self>) -> (Self, BTreeSet<String>) {
        let documents = std::mem::take(&mut self.documents);
        let ids = documents.into_iter().map(|document| document.id);
        self.routes
            .sort_by(|one, other| one.executor.cmp(&other.executor));
        (*self, ids.collect())
    }
}

async fn response_to(client: &mut RawGrpc, recording: &Recording) -> Outcome {
    let mut request =
        tonic::Request::new(Bytes::from(recording.bytes(".req.bin").unwrap_or_default()));
    *request.metadata_mut() = metadata(recording);
    match client.unary(method(recording), request).await {
        Ok(response) => {
            let is_error = response.metadata().contains_key("is-error");
            message(recording, response.get_ref(), is_error)
        }
        Err(status) => Outcome::Status(status.code(), mask_ports(status.message())),
    }
}

fn expected(recording: &Recording) -> Outcome {
    let response = &recording.json["response"];
    let is_error = response["trailing_metadata"]
        .as_array()
        .is_some_and(|list| list.contains(&json!(["is-error", "true"])));
    match recording.bytes(".resp.bin") {
        Some(bytes) => message(recording, &bytes, is_error),
        None => Outcome::Status(
            code(response["code"].as_str().expect("a code")),
            mask_ports(response["details"].as_str().expect("details")),
        ),
    }
}

fn message(recording: &Recording, bytes: &[u8], is_error: bool) -> Outcome {
    match method(recording) {
        "/jina.JinaSingleDataRequestRPC/process_single_data" => {
            let request = DataRequest::decode(bytes).expect("a data request");
            Outcome::Request(Box::new(timeless(request, &recording.name, is_error)))
        }
        "/jina.JinaGatewayDryRunRPC/dry_run" => {
            let status = flowgate_proto::jina::StatusProto::decode(bytes).expect("a status");
            let exception = status.exception.unwrap_or_default();
            Outcome::Message(mask(json!([
                status.code,
                status.description,
                exception.name,
                exception.args
            ])))
        }
        "/jina.JinaDiscoverEndpointsRPC/endpoint_discovery" => {
            let found = flowgate_proto::jina::EndpointsProto::decode(bytes)
                .expect("endpoints")
                .endpoints;
            // The recorded Executor has more endpoints than the one of this suite.
            let known: BTreeSet<_> = executor_endpoints()
                .into_iter()
                .filter(|name| found.contains(name))
                .collect();
            Outcome::Message(json!([known, found.last()]))
        }
        other => panic!("no response of {other} was recorded"),
    }
}

fn executor_endpoints() -> Vec<String> {
    let executor = flowgate_tests::executors::multi();
    executor
        .into_service(executor_fn::Identity::first_replica("exec0"))
        .endpoints()
}

fn timeless(request: DataRequest, name: &str, is_error: bool) -> Timeless {
    let mut header = request.header;
    mask_stacks(&mut header.status);
    let mut routes = request.routes;
    for route in &mut routes {
        route.start_time = route.start_time.map(|_| Default::default());
        // Whether a floating Executor has ended by then is a race.
        let is_race = name == "36-floating_first" && route.executor == "f";
        route.end_time = route
            .end_time
            .filter(|_| !is_race)
            .map(|_| Default::default());
        mask_stacks(&mut route.status);
    }
    let parameters = request
        .parameters
        .is_present()
        .then(|| request.parameters.decode().expect("a Struct"));
    let mut documents = request.documents.into_vec().expect("documents");
    for document in &mut documents {
        if name == "11-no_endpoint_no_id" && document.id.len() == 32 {
            document.id = "<doc_id>".to_owned();
        }
    }
    Timeless {
        header,
        parameters,
        routes,
        documents,
        is_error,
    }
}

fn mask_stacks(status: &mut Option<flowgate_proto::jina::StatusProto>) {
    if let Some(exception) = status.as_mut().and_then(|status| status.exception.as_mut()) {
        // The content may differ, but not whether there are any.
        if !exception.stacks.is_empty() {
            exception.stacks = vec!["<stack line>".to_owned()];
        }
    }
}

async fn replay_stream(client: &mut RawGrpc, recording: &Recording) {
    let requests: Vec<Bytes> = (0..)
        .map_while(|index| recording.bytes(&format!(".req{index}.bin")))
        .map(Bytes::from)
        .collect();
    let recorded = (0..).map_while(|index| recording.bytes(&format!(".resp{index}.bin")));
    let call = client
        .streaming(
            method(recording),
            metadata(recording),
            tokio_stream::iter(requests),
        )
        .await;
    let mut responses = call.expect("a stream").into_inner();
    for bytes in recorded {
        let expected = DataRequest::decode(&bytes[..]).expect("a data request");
        let received = responses
            .message()
            .await
            .expect("a response")
            .expect("as many responses as recorded");
        let received = DataRequest::decode(received).expect("a data request");
        assert_eq!(
            timeless(received, &recording.name, false),
            timeless(expected, &recording.name, false)
        );
    }
    assert!(responses.message().await.expect("a clean end").is_none());
}

fn method(recording: &Recording) -> &str {
    recording.json["method"].as_str().expect("a method")
}

fn metadata(recording: &Recording) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    for pair in recording.json["request_metadata"]
        .as_array()
        .expect("metadata")
    {
        let key: tonic::metadata::AsciiMetadataKey = pair[0]
            .as_str()
            .expect("a key")
            .parse()
            .expect("a metadata key");
        metadata.insert(
            key,
            pair[1]
                .as_str()
                .expect("a value")
                .parse()
                .expect("a metadata value"),
        );
    }
    metadata
}

fn routes(bytes: &[u8]) -> Vec<String> {
    let request = DataRequest::decode(bytes).expect("a data request");
    request
        .routes
        .into_iter()
        .map(|route| route.executor)
        .collect()
}

fn code(name: &str) -> Code {
    match name {
        "UNKNOWN" => Code::Unknown,
        "UNIMPLEMENTED" => Code::Unimplemented,
        "UNAVAILABLE" => Code::Unavailable,
        "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
        other => panic!("{}", Status::internal(other)),
    }
}
