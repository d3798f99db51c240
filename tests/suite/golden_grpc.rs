//! The gRPC recordings, sent to our Gateway and our Executor.

use std::collections::BTreeSet;

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{
    DataRequest, Struct, docarray::DocumentProto, jina::HeaderProto, jina::RouteProto,
};
use flowgate_tests::{
    client::RawGrpc,
    flow::eventually,
    golden::{Recording, masked, masked_ports, recordings},
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
async fn an_executor_that_is_down_is_told_as_jina_does() {
    replay("executor_down").await;
}

#[tokio::test]
async fn floating_and_skipped_executors_are_told_as_jina_does() {
    let running = GoldenFlow::start("chain_floating").await;
    let gateway = RawGrpc::new(&running.gateway.authority(Protocol::Grpc));
    for recording in recordings("grpc", "chain_floating") {
        // Endpoints are learnt beside the first request: who is skipped is seen a little later.
        eventually(&recording.name, || {
            let (mut gateway, recording) = (gateway.clone(), recording.clone());
            async move { answer_of(&mut gateway, &recording).await == expected(&recording) }
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
            // Jina takes the request that has no byte for a fault of its own; it is an empty request.
            "16-empty_message" => {
                let answer = gateway
                    .unary(method(&recording), tonic::Request::new(Bytes::new()))
                    .await;
                assert_eq!(
                    routes(&answer.expect("an answer").into_inner()),
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
        answer_of(client, recording).await,
        expected(recording),
        "{}",
        recording.name
    );
}

/// Which branch's documents come first, and so whose fields stay, is a race in Jina: the rest is compared.
async fn replay_race(client: &mut RawGrpc, recording: &Recording) {
    let (ours, jinas) = (answer_of(client, recording).await, expected(recording));
    let (Seen::Request(ours), Seen::Request(jinas)) = (ours, jinas) else {
        panic!("{}: no data request", recording.name)
    };
    assert_eq!(ours.without_race(), jinas.without_race());
}

/// What a call came to, in a form that can be compared.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(Box<Timeless>),
    Message(Value),
    Status(Code, String),
}

/// A data request without what differs from run to run.
#[derive(Debug, PartialEq)]
struct Timeless {
    header: HeaderProto,
    parameters: Option<Struct>,
    /// Executor, whether it began, whether it ended, its status.
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

async fn answer_of(client: &mut RawGrpc, recording: &Recording) -> Seen {
    let mut request =
        tonic::Request::new(Bytes::from(recording.bytes(".req.bin").unwrap_or_default()));
    *request.metadata_mut() = metadata(recording);
    match client.unary(method(recording), request).await {
        Ok(answer) => {
            let is_error = answer.metadata().contains_key("is-error");
            message(recording, answer.get_ref(), is_error)
        }
        Err(status) => Seen::Status(status.code(), masked_ports(status.message())),
    }
}

fn expected(recording: &Recording) -> Seen {
    let response = &recording.json["response"];
    let is_error = response["trailing_metadata"]
        .as_array()
        .is_some_and(|list| list.contains(&json!(["is-error", "true"])));
    match recording.bytes(".resp.bin") {
        Some(bytes) => message(recording, &bytes, is_error),
        None => Seen::Status(
            code(response["code"].as_str().expect("a code")),
            masked_ports(response["details"].as_str().expect("details")),
        ),
    }
}

fn message(recording: &Recording, bytes: &[u8], is_error: bool) -> Seen {
    match method(recording) {
        "/jina.JinaSingleDataRequestRPC/process_single_data" => {
            let request = DataRequest::decode(bytes).expect("a data request");
            Seen::Request(Box::new(timeless(request, &recording.name, is_error)))
        }
        "/jina.JinaGatewayDryRunRPC/dry_run" => {
            let status = flowgate_proto::jina::StatusProto::decode(bytes).expect("a status");
            let exception = status.exception.unwrap_or_default();
            Seen::Message(masked(json!([
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
            // The Executor of the recordings binds more than what is recorded here.
            let ours: BTreeSet<_> = executor_endpoints()
                .into_iter()
                .filter(|name| found.contains(name))
                .collect();
            Seen::Message(json!([ours, found.last()]))
        }
        other => panic!("no answer of {other} was recorded"),
    }
}

fn executor_endpoints() -> Vec<String> {
    let executor = flowgate_tests::executors::multi();
    executor
        .into_service(executor_fn::Identity::of("exec0"))
        .endpoints()
}

fn timeless(request: DataRequest, name: &str, is_error: bool) -> Timeless {
    let mut header = request.header;
    mask_stacks(&mut header.status);
    let mut routes = request.routes;
    for route in &mut routes {
        route.start_time = route.start_time.map(|_| Default::default());
        // Whether a floating Executor has ended by then is a race.
        let races = name == "36-floating_first" && route.executor == "f";
        route.end_time = route
            .end_time
            .filter(|_| !races)
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
        // Their content is free; that there are any, is not.
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
    let mut answers = call.expect("a stream").into_inner();
    for bytes in recorded {
        let jinas = DataRequest::decode(&bytes[..]).expect("a data request");
        let ours = answers
            .message()
            .await
            .expect("an answer")
            .expect("as many answers as recorded");
        let ours = DataRequest::decode(ours).expect("a data request");
        assert_eq!(
            timeless(ours, &recording.name, false),
            timeless(jinas, &recording.name, false)
        );
    }
    assert!(answers.message().await.expect("a clean end").is_none());
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
