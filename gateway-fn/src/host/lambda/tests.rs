//! AWS's sample events through the function, and the response that each front door receives.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowgate_proto::{
    Compression, DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::{Call, InvocationResponse, compress, decompress},
    jina::{DataRequestListProto, EndpointsProto, JinaInfoProto},
};
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::{gateway::Registry, status::ProcessInfo};

mod direct;

mod grpc;

mod streaming;

mod telemetry;

const HTTP_API: &str = include_str!("../../../../tests/events/http_api.json");
const REST_API: &str = include_str!("../../../../tests/events/rest_api.json");
const FUNCTION_URL: &str = include_str!("../../../../tests/events/function_url.json");
const LOAD_BALANCER: &str = include_str!("../../../../tests/events/load_balancer.json");
const VPC_LATTICE: &str = include_str!("../../../../tests/events/vpc_lattice.json");
const VPC_LATTICE_V1: &str = include_str!("../../../../tests/events/vpc_lattice_v1.json");
const MULTI_VALUE: &str = include_str!("../../../../tests/events/load_balancer_multi_value.json");

const HELLO: &str = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;

pub(super) fn function(settings: &str) -> Function {
    let executors = "executors: [{name: greeter, uses: 'inproc://greet'}]";
    flow(&format!(
        "jtype: Flow\ngateway: {{{settings}}}\n{executors}\n"
    ))
}

/// The function that serves this Flow.
fn flow(yaml: &str) -> Function {
    flow_with_env(yaml, &|_| None)
}

fn flow_with_env(yaml: &str, more: &dyn Fn(&str) -> Option<String>) -> Function {
    let env = |name: &str| {
        let value = match name {
            "AWS_LAMBDA_FUNCTION_NAME" => "gateway-fn",
            // Without it the function takes itself for emulated.
            "AWS_LAMBDA_LOG_STREAM_NAME" => "2026/11/26/[$LATEST]0",
            "AWS_REGION" => "eu-west-1",
            name => return more(name),
        };
        Some(value.to_owned())
    };
    let config = Config::from_yaml(yaml, "flow.yml", &env)
        .expect("a valid Flow")
        .config;
    let clients = Clients::new(&config.gateway.invoke);
    let process = ProcessInfo::from_environment(&env);
    process.note_init(Duration::from_millis(5));
    let services = Services::new(&config, &Registry::default(), &clients, process);
    let mut function = Function::new(services.expect("a Gateway"), &clients, config, &env);
    discard_metrics(&mut function);
    function
}

/// Keeps metrics out of the output of `cargo test`.
fn discard_metrics(function: &mut Function) {
    let shared = Arc::get_mut(&mut function.0).expect("not shared yet");
    if let Some(metrics) = shared.metrics.as_mut() {
        metrics.output = Output::to(std::io::sink());
    }
}

/// A sample event, changed into a request for `path`.
fn event(sample: &str, method: &str, path: &str, body: &str) -> Value {
    let mut event: Value = serde_json::from_str(sample).expect("JSON");
    if event.get("raw_path").is_some() {
        event["raw_path"] = path.into();
        event["method"] = method.into();
    } else if event["requestContext"].get("serviceArn").is_some() {
        event["path"] = path.into();
        event["method"] = method.into();
    } else if event["version"] == "2.0" {
        event["rawPath"] = path.into();
        event["rawQueryString"] = "".into();
        event["requestContext"]["http"]["method"] = method.into();
    } else {
        for key in ["path", "resource"] {
            event[key] = path.into();
        }
        event["httpMethod"] = method.into();
        if event["requestContext"]["path"].is_string() {
            event["requestContext"]["path"] = path.into();
        }
    }
    event["body"] = body.into();
    set_header(&mut event, "content-type", "application/json");
    event
}

fn set_header(event: &mut Value, name: &str, value: &str) {
    if event["multiValueHeaders"].is_object() {
        event["multiValueHeaders"][name] = json!([value]);
    }
    if event["headers"].is_object() {
        event["headers"][name] = value.into();
    }
}

async fn try_respond(function: &Function, event: &Value) -> Result<LambdaResponse, Diagnostic> {
    respond_in(function, event, invocation()).await
}

pub(super) fn invocation() -> Context {
    let mut context = Context::default();
    context.deadline = 4_000_000_000_000;
    context.request_id = "r-1".to_owned();
    context
}

async fn respond_in(
    function: &Function,
    event: &Value,
    context: Context,
) -> Result<LambdaResponse, Diagnostic> {
    function.handle(event.to_string().into(), context).await
}

async fn respond(function: &Function, event: &Value) -> Value {
    match try_respond(function, event).await.expect("a response") {
        FunctionResponse::BufferedResponse(raw) => serde_json::from_str(raw.get()).expect("JSON"),
        FunctionResponse::StreamingResponse(_) => panic!("a streamed response"),
    }
}

fn body(response: &Value) -> Vec<u8> {
    let text = response["body"].as_str().expect("a body");
    match response["isBase64Encoded"].as_bool().expect("a flag") {
        true => STANDARD.decode(text).expect("base64"),
        false => text.as_bytes().to_vec(),
    }
}

fn json_body(response: &Value) -> Value {
    serde_json::from_slice(&body(response)).expect("JSON")
}

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

fn hello() -> DataRequest {
    let document = DocumentProto {
        id: "a".to_owned(),
        ..Default::default()
    };
    let mut request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    request.header.exec_endpoint = Some("/".to_owned());
    request
}

fn invoke(list: &[u8]) -> Value {
    let sent = flowgate_proto::invoke::Invocation::process(list, Compression::Zstd);
    let sent = sent.expect("compressed").to_json().expect("JSON");
    serde_json::from_slice(&sent).expect("JSON")
}

#[tokio::test]
async fn every_front_door_reaches_the_flow() {
    let function = function("");
    for sample in [
        HTTP_API,
        REST_API,
        FUNCTION_URL,
        LOAD_BALANCER,
        MULTI_VALUE,
        VPC_LATTICE,
        VPC_LATTICE_V1,
    ] {
        let response = respond(&function, &event(sample, "POST", "/post", HELLO)).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        let texts = &json_body(&response)["data"];
        assert_eq!(texts.as_array().map(Vec::len), Some(2), "{texts}");
    }
}

#[tokio::test]
async fn responses_have_the_format_of_the_front_door() {
    let function = function("");
    let of = async |sample| respond(&function, &event(sample, "GET", "/", "")).await;
    for sample in [HTTP_API, FUNCTION_URL] {
        let response = of(sample).await;
        assert_eq!(response["headers"]["content-type"], "application/json");
        assert!(response["cookies"].is_array() && response["multiValueHeaders"] == json!({}));
    }
    let rest = of(REST_API).await;
    let json = json!(["application/json"]);
    assert_eq!(rest["multiValueHeaders"]["content-type"], json);
    assert_eq!(rest["headers"], json!({}));
    let balanced = of(LOAD_BALANCER).await;
    assert_eq!(balanced["statusDescription"], "200 OK");
    assert_eq!(balanced["headers"]["content-type"], "application/json");
    let multi = of(MULTI_VALUE).await;
    assert_eq!(multi["multiValueHeaders"]["content-type"], json);
    assert_eq!(multi["headers"], json!({}));
}

#[tokio::test]
async fn errors_have_the_same_status_as_in_a_container() {
    let function = function("");
    for (method, path, body, status) in [
        ("GET", "/nowhere", "", 404),
        ("PUT", "/post", "", 405),
        ("POST", "/post", "{", 422),
        ("POST", "/post", r#"{"data":5}"#, 422),
    ] {
        let response = respond(&function, &event(HTTP_API, method, path, body)).await;
        assert_eq!(
            response["statusCode"], status,
            "{method} {path}: {response}"
        );
        assert!(json_body(&response).get("detail").is_some());
    }
    let mut broken = event(HTTP_API, "POST", "/post", "?");
    broken["isBase64Encoded"] = true.into();
    assert_eq!(respond(&function, &broken).await["statusCode"], 400);
}

#[tokio::test]
async fn a_function_url_without_authorizer_is_refused_unless_the_flow_allows_it() {
    let mut open = event(FUNCTION_URL, "GET", "/", "");
    open["requestContext"]
        .as_object_mut()
        .expect("a map")
        .remove("authorizer");
    let refused = respond(&function(""), &open).await;
    assert_eq!(refused["statusCode"], 403);
    let detail = json_body(&refused)["detail"].clone();
    assert!(
        detail
            .as_str()
            .is_some_and(|text| text.contains("public_url: true"))
    );
    let public = function("function: {public_url: true}");
    assert_eq!(respond(&public, &open).await["statusCode"], 200);
    open["rawPath"] = "/status".into();
    let sha256 = "0".repeat(64);
    for (protocol, status, connect_status) in [
        ("http", 401, 401),
        ("grpc", 403, 401),
        ("websocket", 403, 403),
    ] {
        let keys = format!("[{{name: a, sha256: '{sha256}'}}]");
        let guarded = format!("auth: {{protocols: [{protocol}], api_keys: {keys}}}");
        let guarded = function(&guarded);
        let refused = respond(&guarded, &open).await;
        assert_eq!(refused["statusCode"], status, "{protocol}: {refused}");
        let mut call = event(FUNCTION_URL, "POST", SINGLE, "");
        call["requestContext"] = open["requestContext"].clone();
        call["requestContext"]["http"]["method"] = "POST".into();
        set_header(&mut call, "content-type", "application/proto");
        let refused = respond(&guarded, &call).await;
        assert_eq!(
            refused["statusCode"], connect_status,
            "{protocol}: {refused}"
        );
        assert!(
            json_body(&refused)["code"].is_string(),
            "in Connect's format"
        );
    }
}

#[tokio::test]
async fn a_page_may_read_the_functions_own_errors() {
    let mut open = event(FUNCTION_URL, "GET", "/", "");
    open["requestContext"]
        .as_object_mut()
        .expect("a map")
        .remove("authorizer");
    set_header(&mut open, "origin", "https://a.example");
    let mut broken = event(HTTP_API, "POST", "/post", "?");
    broken["isBase64Encoded"] = true.into();
    set_header(&mut broken, "origin", "https://a.example");
    let function = function("cors: true");
    for (event, status) in [(open, 403), (broken, 400)] {
        let response = respond(&function, &event).await;
        assert_eq!(response["statusCode"], status, "{response}");
        assert!(response["headers"]["access-control-allow-origin"].is_string());
    }
}

#[tokio::test]
async fn status_describes_the_function_without_secrets() {
    let function = function("");
    let status = event(HTTP_API, "GET", "/status", "");
    for start in ["cold", "warm"] {
        let envs = json_body(&respond(&function, &status).await)["envs"].clone();
        assert_eq!(envs["AWS_LAMBDA_FUNCTION_NAME"], "gateway-fn");
        assert_eq!(envs["FLOWGATE_START"], start);
        assert_eq!(envs["FLOWGATE_INIT_MS"], "5.0");
    }
}

#[tokio::test]
async fn compressed_bodies_go_both_ways() {
    let function = function("function: {compress_answers_from: 10, rest_binary: true}");
    for (compression, coding) in [
        (Compression::Gzip, "gzip"),
        (Compression::Deflate, "deflate"),
        (Compression::Zstd, "zstd"),
    ] {
        let sent = compress(HELLO.as_bytes(), compression).expect("compressed");
        let mut event = event(REST_API, "POST", "/post", &STANDARD.encode(sent));
        event["isBase64Encoded"] = true.into();
        set_header(&mut event, "content-encoding", coding);
        set_header(&mut event, "accept-encoding", coding);
        let response = respond(&function, &event).await;
        assert_eq!(response["statusCode"], 200, "{response}");
        let headers = &response["multiValueHeaders"];
        assert_eq!(headers["content-encoding"], json!([coding]));
        let limit = 1 << 20;
        let read = decompress(body(&response), compression, limit);
        let read: Value = serde_json::from_slice(&read.expect(coding)).expect("JSON");
        assert_eq!(read["data"][0]["text"], "hello");
    }
}

/// A REST API passes on what it has decompressed, and the header.
#[tokio::test]
async fn a_body_that_a_rest_api_has_decompressed_is_read() {
    let function = function("");
    for coding in ["gzip", "deflate", "zstd"] {
        let mut event = event(REST_API, "POST", "/post", HELLO);
        set_header(&mut event, "content-encoding", coding);
        set_header(&mut event, "content-length", "7");
        let response = respond(&function, &event).await;
        assert_eq!(response["statusCode"], 200, "{coding}: {response}");
    }
}

/// As `flowgate local --stage prod` sends its own `curl` line, and an HTTP API on a custom domain.
#[tokio::test]
async fn a_named_stage_is_no_part_of_the_path() {
    let function = function("");
    for domain in ["127.0.0.1:3000", "api.example.com"] {
        let mut event = event(HTTP_API, "POST", "/prod/post", HELLO);
        event["requestContext"]["stage"] = "prod".into();
        event["requestContext"]["domainName"] = domain.into();
        let response = respond(&function, &event).await;
        assert_eq!(response["statusCode"], 200, "{domain}: {response}");
    }
}

/// It would send the client the base64.
#[tokio::test]
async fn a_rest_api_without_binary_media_types_gets_no_compressed_response() {
    let function = function("function: {compress_answers_from: 10}");
    for (version, is_compressed) in [(Value::Null, false), ("1.0".into(), true)] {
        let mut event = event(REST_API, "POST", "/post", HELLO);
        event["version"] = version;
        set_header(&mut event, "accept-encoding", "gzip");
        let response = respond(&function, &event).await;
        assert_eq!(response["isBase64Encoded"], is_compressed, "{response}");
    }
}

#[tokio::test]
async fn a_response_that_exceeds_the_limit_becomes_an_error_with_its_size() {
    let function = function("");
    let large = json!({"data": [{"text": "a".repeat(1 << 20)}], "execEndpoint": "/"}).to_string();
    let respond_to =
        async |sample| respond(&function, &event(sample, "POST", "/post", &large)).await;
    assert_eq!(respond_to(HTTP_API).await["statusCode"], 200);
    let refused = respond_to(LOAD_BALANCER).await;
    assert_eq!(refused["statusCode"], 413);
    let detail = json_body(&refused)["detail"].to_string();
    assert!(detail.contains("1048576"), "{detail}");
    let mut compressed = event(LOAD_BALANCER, "POST", "/post", &large);
    set_header(&mut compressed, "accept-encoding", "gzip");
    assert_eq!(respond(&function, &compressed).await["statusCode"], 200);
}

#[tokio::test]
async fn a_preflight_request_is_answered() {
    let function = function("cors: true");
    let mut preflight = event(HTTP_API, "OPTIONS", "/post", "");
    set_header(&mut preflight, "origin", "https://a.example");
    set_header(&mut preflight, "access-control-request-method", "POST");
    let response = respond(&function, &preflight).await;
    assert_eq!(response["statusCode"], 200);
    assert_eq!(
        response["headers"]["access-control-allow-origin"],
        "https://a.example"
    );
}

#[tokio::test]
async fn an_event_that_is_not_an_object_is_unknown() {
    let list = json!([
        null, null, null, 1, null, null, null, null, null, null, null, null
    ]);
    let error = try_respond(&function(""), &list)
        .await
        .err()
        .expect("an error");
    assert_eq!(error.error_type, "Flowgate.UnknownEvent");
}

#[tokio::test]
async fn every_caller_learns_that_an_executor_is_unavailable() {
    let function = flow(
        "jtype: Flow\ngateway: {retries: 0}\nexecutors: [{name: gone, external: true, host: 127.0.0.1, port: 9}]\n",
    );
    let http = respond(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert_eq!(http["statusCode"], 503, "{http}");
    let detail = json_body(&http).to_string();
    assert!(
        detail.contains("gone") && !detail.contains("127.0.0.1"),
        "{detail}"
    );
    let plain_json: Value = serde_json::from_str(HELLO).expect("JSON");
    let Err(failed) = try_respond(&function, &plain_json).await else {
        panic!("the Executor is unavailable");
    };
    assert_eq!(failed.error_type, "Flowgate.Unavailable");
    let list = DataRequestListProto {
        requests: vec![hello()],
    };
    let response = respond(&function, &invoke(&list.encode_to_vec()))
        .await
        .to_string();
    assert!(
        InvocationResponse::from_json(&response)
            .expect("a response")
            .is_error
    );
}

/// The 504 that names the Executor arrives before a front door with a short timeout stops waiting.
#[tokio::test]
async fn a_slow_executor_is_a_504_before_the_front_door_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\ngateway: {{function: {{front_door_timeout: 400, answer_margin: 200}}}}\n\
         executors: [{{name: slow, external: true, host: 127.0.0.1, port: {port}}}]\n"
    ));
    let started = std::time::Instant::now();
    let response = respond(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert!(started.elapsed() < Duration::from_millis(390));
    assert_eq!(response["statusCode"], 504, "{response}");
    assert!(json_body(&response).to_string().contains("slow"));
}

/// `cargo lambda watch` sends every invocation a deadline of ten minutes after 1970.
#[tokio::test]
async fn an_emulators_deadline_is_ignored() {
    let mut context = invocation();
    context.deadline = 600_000;
    let plain_json: Value = serde_json::from_str(HELLO).expect("JSON");
    for event in [event(HTTP_API, "POST", "/post", HELLO), plain_json] {
        let response = respond_in(&function(""), &event, context.clone()).await;
        let Ok(FunctionResponse::BufferedResponse(response)) = response else {
            panic!("no response");
        };
        assert!(response.get().contains("hello"), "{}", response.get());
    }
}
