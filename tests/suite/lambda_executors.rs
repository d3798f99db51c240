//! Executors that are Lambda functions: their payloads, retries, and the error that the client gets for each failure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use executor_fn::{Error, Executor, Reply, Request};
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
    flow::{ClosedPort, ServedGateway, eventually},
    lambda_api::{ARN, LambdaApi, ScriptedResponse},
};
use gateway::gateway::Registry;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

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

fn ids(request: &DataRequest) -> Vec<String> {
    let documents = request.documents.decode().expect("documents");
    documents
        .iter()
        .map(|document| document.id.clone())
        .collect()
}

#[tokio::test]
async fn a_chain_a_branch_and_a_join_of_functions() {
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

#[tokio::test]
async fn replicas_take_turns_and_endpoints_are_discovered() {
    let api = LambdaApi::start().await;
    for function in ["one", "two"] {
        let executor = Executor::new("E").on("/there", async |_: Request| Ok(Reply::unchanged()));
        api.serve(function, executor);
    }
    let executors = "  - {name: e, external: true, host: 'lambda://one,lambda://two'}\n";
    let gateway = gateway(&api, "", ", warm_up: none", executors).await;
    let authority = gateway.authority(Protocol::Http);
    let known = json!({"data": [{"text": "x"}], "execEndpoint": "/there"});
    for _ in 0..4 {
        assert_eq!(post(&authority, &known).await.status, 200);
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
        let unknown = json!({"data": [{"text": "x"}], "execEndpoint": "/elsewhere"});
        let response = post(&authority, &unknown).await;
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
async fn invocations_that_did_not_run_are_retried() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, "").await;
    let throttled = ScriptedResponse::api_error(429, "TooManyRequestsException")
        .with_header("retry-after", "0");
    api.script("e", throttled);
    api.script("e", ScriptedResponse::api_error(500, "ServiceException"));
    api.script(
        "e",
        ScriptedResponse::api_error(502, "ENILimitReachedException"),
    );
    assert_eq!(post_document(&gateway).await.status, 200);
    // Endpoint discovery runs concurrently and may have received one of the scripted errors.
    let attempts = api.invocations().len();
    assert!(attempts >= 4, "{attempts}");
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn retries_of_the_flow_limit_the_attempts() {
    let api = LambdaApi::start().await;
    let gateway = single_function(&api, ", retries: 2").await;
    let throttled = || ScriptedResponse::api_error(429, "TooManyRequestsException");
    (0..20).for_each(|_| api.script("e", throttled()));
    let response = post_document(&gateway).await;
    assert_eq!(response.status, 429, "{:?}", response.body);
    assert_eq!(api.process_invocations().len(), 3);
    gateway.stop().await;
    api.stop().await;
}

/// One failure per line: its source (a function's error or response, or a status of Lambda) and content; then the HTTP
/// status, gRPC code and part of the text that the client gets.
const FAILURES: &str = r#"
fault | Flowgate.BadPayload | 502 | Internal | could not read its payload
fault | Flowgate.RequestTooLarge | 413 | ResourceExhausted | the function takes
fault | Flowgate.Failed | 502 | Internal | the Flow behind the function
fault | Flowgate.AnswerTooLarge | 413 | ResourceExhausted | 6291456 bytes
fault | Flowgate.OutOfTime | 504 | DeadlineExceeded | ran out of time
fault | Flowgate.Panic | 502 | Internal | panicked
fault | Flowgate.Unavailable | 503 | Unavailable | not there
fault | Function.ResponseSizeTooLarge | 413 | ResourceExhausted | 6291456 bytes
fault | Sandbox.Timedout | 504 | DeadlineExceeded | its own timeout
fault | Runtime.ExitError | 502 | Internal | Runtime.ExitError
fault | ValueError | 502 | Internal | failed with ValueError
fault | a text <b> | 502 | Internal | an unnamed error
response |  | 502 | Internal | answer is empty
response | null | 502 | Internal | answer is empty
response | { | 502 | Internal | is invalid
response | {"statusCode":200} | 502 | Internal | no key `flowgate`
response | {"flowgate":2} | 502 | Internal | version 2
response | {"flowgate":1,"body":"?"} | 502 | Internal | not valid base64
response | {"flowgate":1,"body":"AAAA"} | 502 | Internal | protobuf
response | {"flowgate":1,"encoding":"zstd","body":"AAAA"} | 502 | Internal | zstd
413 | RequestTooLargeException | 413 | ResourceExhausted | as too large
404 | ResourceNotFoundException | 502 | FailedPrecondition | no such function
403 | AccessDeniedException | 502 | FailedPrecondition | lambda:InvokeFunction
403 | UnrecognizedClientException | 502 | FailedPrecondition | credentials
502 | KMSAccessDeniedException | 502 | FailedPrecondition | KMS
502 | InvalidSubnetIDException | 502 | FailedPrecondition | VPC
502 | InvalidRuntimeException | 502 | FailedPrecondition | runtime
400 | CodeVerificationFailedException | 502 | FailedPrecondition | code package
403 | EFSMountFailureException | 502 | FailedPrecondition | file system
400 | SnapStartException | 502 | FailedPrecondition | snapshot
400 | RecursiveInvocationException | 502 | FailedPrecondition | loop
415 | UnsupportedMediaTypeException | 502 | FailedPrecondition | status 415
502 | ResourceNotReadyException | 503 | Unavailable | not ready
409 | ResourceConflictException | 503 | Unavailable | not ready
500 | ServiceException | 503 | Unavailable | status 500
502 |  | 503 | Unavailable | may have run
429 | TooManyRequestsException | 429 | ResourceExhausted | throttled
"#;

#[tokio::test]
async fn each_failure_has_its_own_error() {
    for line in FAILURES.trim().lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let &[source, content, http, grpc, expected] = cells.as_slice() else {
            panic!("{line}")
        };
        let script = match source {
            "fault" => ScriptedResponse::function_error(content, &format!("failed at {ARN}")),
            "response" => ScriptedResponse::success(content),
            status => ScriptedResponse::api_error(status.parse().expect("a status"), content),
        };
        check_failure(line, &script, http, grpc, expected).await;
    }
}

/// `cargo lambda watch` reports a function error by its status, Lambda by a header.
#[tokio::test]
async fn a_function_error_of_an_emulator_is_not_an_error_of_lambda() {
    let mut script = ScriptedResponse::function_error("ValueError", "no");
    script.status = 500;
    script.headers.clear();
    check_failure(
        "emulator",
        &script,
        "502",
        "Internal",
        "failed with ValueError",
    )
    .await;
}

async fn check_failure(
    line: &str,
    script: &ScriptedResponse,
    http: &str,
    grpc: &str,
    expected: &str,
) {
    let api = LambdaApi::start().await;
    let keys = ", retries: 0, internal_addresses_in_errors: false";
    let gateway = single_function(&api, keys).await;
    (0..9).for_each(|_| api.script("e", script.clone()));
    let response = post_document(&gateway).await;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(response.status.to_string(), http, "{line}: {text}");
    let is_reported = text.contains(expected) && text.contains("deployment e");
    assert!(is_reported, "{line}: {text}");
    let is_arn_hidden = !text.contains("arn:") && !text.contains("123456789012");
    assert!(is_arn_hidden, "{text}");
    let status = send(&gateway, &blobs(0, 0)).await.expect_err("a failure");
    assert_eq!(format!("{:?}", status.code()), grpc, "{line}: {status}");
    assert!(status.message().contains(expected), "{status}");
    assert_eq!(api.process_invocations().len(), 2, "{line}");
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn lambdas_message_is_shown_when_internal_addresses_may_be() {
    let api = LambdaApi::start().await;
    let gateway = single_function(&api, "").await;
    (0..9).for_each(|_| {
        api.script(
            "e",
            ScriptedResponse::api_error(403, "AccessDeniedException"),
        )
    });
    let response = post_document(&gateway).await;
    let detail = response.json()["detail"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        detail.contains("'lambda://e'") && detail.contains(ARN),
        "{detail}"
    );
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn an_unreachable_api_is_503() {
    let port = ClosedPort::reserve();
    let gateway = ServedGateway::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, retries: 1, invoke: {{endpoint_url: 'http://localhost:{}', \
         sign: false, max_retry_pause: 1}}}}\nexecutors:\n  - {{name: e, host: 'lambda://e'}}\n",
        port.port()
    ))
    .await;
    let response = post_document(&gateway).await;
    assert_eq!(response.status, 503, "{:?}", response.body);
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert!(text.contains("Lambda cannot be reached"), "{text}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_function_that_times_out_is_504_and_not_retried() {
    let api = LambdaApi::start().await;
    let slow = Executor::new("Slow").on_default(async |_: Request| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(Reply::unchanged())
    });
    api.serve("e", slow);
    // Long enough to build the AWS client before the invocation.
    let gateway = single_function(&api, ", timeout_send: 2000").await;
    let response = post_document(&gateway).await;
    assert_eq!(response.status, 504, "{:?}", response.body);
    assert_eq!(api.process_invocations().len(), 1);
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_request_too_large_for_a_payload_is_compressed() {
    let api = LambdaApi::start().await;
    api.serve(
        "e",
        Executor::new("E").on_default(async |_: Request| Ok(Reply::unchanged())),
    );
    let gateway = single_function(&api, "").await;
    let mut request = blobs(1, 8);
    request.documents.edit(|documents| {
        documents[0].content = Some(Content::Blob(vec![7; 5 << 20].into()));
    });
    assert_eq!(
        ids(&send(&gateway, &request).await.expect("a response")),
        ["d0"]
    );
    let sent = api.process_invocations();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].invocation().encoding(), Compression::Zstd);
    assert!(sent[0].payload.len() < 10_000);
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_request_too_large_when_compressed_is_split_and_its_responses_joined() {
    let api = LambdaApi::start().await;
    let counts = Executor::new("E").on_default(async |request: Request| {
        let count = request.documents().len();
        let results = executor_fn::struct_from_json(json!({"count": count}))?;
        Ok(Reply::results(results))
    });
    api.serve("e", counts);
    let gateway = single_function(&api, "").await;
    let request = blobs(5, 2 << 20);
    let response = send(&gateway, &request).await.expect("a response");
    assert_eq!(ids(&response), ["d0", "d1", "d2", "d3", "d4"]);
    assert_eq!(response.documents, request.documents);
    assert_eq!(response.header.request_id, "r1");
    let results = response.parameters.decode().expect("parameters");
    assert_eq!(
        format!("{:?}", results.fields["__results__"])
            .matches("\"count\"")
            .count(),
        3
    );
    let sent = api.process_invocations();
    let sizes: Vec<_> = sent.iter().map(|sent| sent.payload.len()).collect();
    assert_eq!(sizes.len(), 3, "2 + 1 + 2 documents: {sizes:?}");
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn an_error_of_one_part_is_the_error_of_the_request() {
    let api = LambdaApi::start().await;
    let picky = Executor::new("E").on_default(async |request: Request| {
        match request
            .documents()
            .iter()
            .any(|document| document.id == "d3")
        {
            true => Err(Error::value_error("not d3")),
            false => Ok(Reply::unchanged()),
        }
    });
    api.serve("e", picky);
    let gateway = single_function(&api, "").await;
    let response = send(&gateway, &blobs(4, 2 << 20))
        .await
        .expect("a response");
    let status = response.header.status.clone().expect("a status");
    assert!(status.description.contains("not d3"), "{status:?}");
    assert_eq!(ids(&response), ["d0", "d1", "d2", "d3"]);
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_request_that_cannot_be_split_is_rejected_before_any_invocation() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, "").await;
    let status = send(&gateway, &blobs(1, 6 << 20))
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    for part in ["deployment e", "8388", "6291", "a single document"] {
        assert!(status.message().contains(part), "{part}: {status}");
    }
    assert_eq!(api.process_invocations().len(), 0);
    let body = json!({"data": [{"text": "x"}]});
    assert_eq!(
        post(&gateway.authority(Protocol::Http), &body).await.status,
        200
    );
    gateway.stop().await;
    api.stop().await;
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

#[tokio::test]
async fn an_executors_own_error_is_a_response() {
    let api = LambdaApi::start().await;
    let fails = Executor::new("E").on_default(async |_: Request| Err(Error::value_error("boom")));
    api.serve("e", fails);
    let gateway = single_function(&api, "").await;
    let response = post_document(&gateway).await;
    let status: Value = response.json()["header"]["status"].clone();
    assert!(
        status["description"]
            .as_str()
            .is_some_and(|text| text.contains("boom")),
        "{status}"
    );
    assert_eq!(api.process_invocations().len(), 1);
    gateway.stop().await;
    api.stop().await;
}
