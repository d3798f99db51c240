//! Executors that are Lambda functions: graphs of them, their payloads and the warm-up.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use executor_fn::{Executor, Reply, Request};
use flowgate_config::Protocol;
use flowgate_proto::{
    Compression, DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::Call,
    jina::HeaderProto,
};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http, post},
    executors::tag,
    flow::{ServedGateway, eventually},
    lambda_api::LambdaApi,
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Status;

mod failures;

mod large_requests;

mod same_everywhere;

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// Starts a Gateway, over gRPC and HTTP, whose Flow invokes functions at the fake API.
async fn gateway(api: &LambdaApi, keys: &str, invoke: &str, executors: &str) -> ServedGateway {
    let setting = api.invoke_setting(invoke);
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http], port: [0, 0], {setting}{keys}}}\nexecutors:\n{executors}"
    );
    let registry = Registry::default().with("c", || tag("c"));
    ServedGateway::start_with(&yaml, &registry).await
}

/// Starts a Gateway whose Flow has one function `e`.
async fn single_function(api: &LambdaApi, keys: &str) -> ServedGateway {
    let executors = "  - {name: e, host: 'lambda://e'}\n";
    gateway(api, keys, ", warm_up: none, max_retry_pause: 1", executors).await
}

async fn post_document(gateway: &ServedGateway) -> HttpResponse {
    let body = json!({"data": [{"text": "x"}], "execEndpoint": "/"});
    post(&gateway.authority(Protocol::Http), &body).await
}

async fn send(gateway: &ServedGateway, request: &DataRequest) -> Result<DataRequest, Status> {
    let call = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let response = client.unary(SINGLE, call).await?;
    Ok(DataRequest::decode(response.into_inner()).expect("a request"))
}

/// Creates documents of incompressible bytes.
fn blobs(count: usize, bytes: usize) -> DataRequest {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut blob = || (0..bytes / 8).flat_map(|_| random()).collect::<Vec<u8>>();
    let document = |index: usize| DocumentProto {
        id: format!("d{index}"),
        content: Some(Content::Blob(blob().into())),
        ..DocumentProto::default()
    };
    DataRequest {
        header: HeaderProto {
            request_id: "r1".to_owned(),
            exec_endpoint: Some("/".to_owned()),
            ..HeaderProto::default()
        },
        documents: (0..count).map(document).collect::<Vec<_>>().into(),
        ..DataRequest::default()
    }
}

#[tokio::test]
async fn functions_can_form_a_chain_branches_and_a_join() {
    let api = LambdaApi::start().await;
    for function in ["a", "b", "j"] {
        api.serve(function, tag(function));
    }
    let executors = "  - {name: a, host: 'lambda://a:live'}\n  - {name: b, host: 'lambda://b'}\n  \
                     - {name: c, uses: 'inproc://c', needs: a}\n  \
                     - {name: j, uses: 'lambda://j', needs: [b, c]}\n";
    let gateway = gateway(&api, "", ", warm_up: none", executors).await;
    let response = post_document(&gateway).await;
    assert_eq!(response.status, 200, "{:?}", response.body);
    let response = response.json();
    let text = response["data"][0]["text"].as_str().expect("a text");
    assert!(text.starts_with("x+a+") && text.ends_with("+j"), "{text}");
    let routes = response["routes"].as_array().expect("routes");
    let routes: Vec<_> = routes
        .iter()
        .map(|route| route["executor"].as_str())
        .collect();
    for executor in ["gateway", "a", "b", "c", "j"] {
        assert!(routes.contains(&Some(executor)), "{routes:?}");
    }
    let first = api.process_invocations().remove(0);
    assert_eq!(
        (first.function.as_str(), first.query.as_str()),
        ("a", "Qualifier=live")
    );
    gateway.stop().await;
    api.stop().await;
}

fn executor_with_one_endpoint() -> Executor {
    Executor::new("E").on("/there", async |_: Request| Ok(Reply::unchanged()))
}

/// A request by JSON to an endpoint.
fn call_to(endpoint: &str) -> Value {
    json!({"data": [{"text": "x"}], "execEndpoint": endpoint})
}

/// With a reserved concurrency of one, a second invocation beside the first request would get 429.
#[tokio::test]
async fn a_cold_function_lists_its_endpoints_with_its_first_answer() {
    let api = LambdaApi::start().await;
    api.serve("e", executor_with_one_endpoint());
    let gateway = single_function(&api, "").await;
    let authority = gateway.authority(Protocol::Http);
    assert_eq!(post(&authority, &call_to("/there")).await.status, 200);
    assert_eq!(post(&authority, &call_to("/elsewhere")).await.status, 200);
    assert_eq!(post(&authority, &call_to("/there")).await.status, 200);
    gateway.stop().await;
    let sent = api.invocations();
    let asked: Vec<_> = sent
        .iter()
        .map(|sent| sent.invocation().list_endpoints)
        .collect();
    assert_eq!(
        asked,
        [true, false],
        "the second request skips the function"
    );
    api.stop().await;
}

#[tokio::test]
async fn replicas_take_turns_and_functions_that_list_no_endpoints_are_asked() {
    let api = LambdaApi::start().await;
    for function in ["one", "two"] {
        api.serve_without_list(function, executor_with_one_endpoint());
    }
    let executors = "  - {name: e, external: true, host: 'lambda://one,lambda://two'}\n";
    let gateway = gateway(&api, "", ", warm_up: none", executors).await;
    let authority = gateway.authority(Protocol::Http);
    for _ in 0..4 {
        assert_eq!(post(&authority, &call_to("/there")).await.status, 200);
    }
    let sent = |name| {
        api.invocations()
            .iter()
            .filter(|sent| sent.function == name)
            .count()
    };
    eventually("endpoints are requested", || async {
        api.invocations()
            .iter()
            .any(|sent| sent.has_call(Call::Endpoints))
    })
    .await;
    assert!(
        sent("one") >= 2 && sent("two") >= 2,
        "{} {}",
        sent("one"),
        sent("two")
    );
    eventually("an Executor without the endpoint is skipped", || async {
        let before = api.process_invocations().len();
        let response = post(&authority, &call_to("/elsewhere")).await;
        response.status == 200 && api.process_invocations().len() == before
    })
    .await;
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn each_invocation_has_trace_and_deadline() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, ", timeout_send: 60000, compression: gzip").await;
    let request = http::Request::post(format!("http://{}/post", gateway.authority(Protocol::Http)))
        .header("content-type", "application/json")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .header(
            "x-amzn-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
        )
        .body(Bytes::from_static(br#"{"data": [], "execEndpoint": "/"}"#));
    let before = unix_millis();
    assert_eq!(http(request.expect("a request")).await.status, 200);
    let sent = api.process_invocations().remove(0);
    let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
    assert_eq!(sent.header("x-amzn-trace-id"), Some(root));
    let invocation = sent.invocation();
    assert_eq!(invocation.encoding(), Compression::Gzip);
    let parent = invocation.trace.get("traceparent").map(String::as_str);
    assert_eq!(
        parent,
        Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    );
    assert_eq!(
        invocation.trace.len(),
        1,
        "the X-Ray header is not in the payload"
    );
    let deadline = invocation.deadline.expect("a deadline");
    assert!((before + 60_000..=unix_millis() + 60_000).contains(&deadline));
    gateway.stop().await;
    api.stop().await;
}

fn unix_millis() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500 million")
}

#[tokio::test]
async fn the_warm_up_follows_the_setting() {
    let executors = "  - {name: a, host: 'lambda://a'}\n  - {name: b, external: true, host: 'lambda://b,lambda://c'}\n";
    for (setting, expected) in [
        ("none", Vec::new()),
        // An emulator might count the check as an invocation.
        ("connect", Vec::new()),
        ("dry_run", vec![("a", None), ("b", None), ("c", None)]),
    ] {
        let api = LambdaApi::start().await;
        for function in ["a", "b", "c"] {
            api.serve(function, tag(function));
        }
        let gateway = gateway(&api, "", &format!(", warm_up: {setting}"), executors).await;
        eventually(setting, || async {
            api.invocations().len() >= expected.len()
        })
        .await;
        let mut seen: Vec<_> = api.invocations();
        seen.sort_by(|one, other| one.function.cmp(&other.function));
        let kind = |kind: &str| (kind != "RequestResponse").then(|| kind.to_owned());
        let seen: Vec<_> = seen
            .iter()
            .map(|sent| {
                let kind = sent.header("x-amz-invocation-type").and_then(kind);
                (sent.function.clone(), kind)
            })
            .collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind.map(str::to_owned)))
            .collect();
        assert_eq!(seen, expected, "{setting}");
        gateway.stop().await;
        api.stop().await;
    }
}
