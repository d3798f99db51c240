//! Events of AWS's documents through the function, and what each front door gets back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flowgate_proto::{
    Compression, DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::{Answer, Call, compress, decompress},
    jina::{DataRequestListProto, EndpointsProto, JinaInfoProto},
};
use futures_util::StreamExt as _;
use prost::Message as _;
use serde_json::{Value, json};

use super::*;
use crate::{gateway::Registry, status::ProcessInfo};

mod told;

const HTTP_API: &str = include_str!("../../../../tests/events/http_api.json");
const REST_API: &str = include_str!("../../../../tests/events/rest_api.json");
const FUNCTION_URL: &str = include_str!("../../../../tests/events/function_url.json");
const LOAD_BALANCER: &str = include_str!("../../../../tests/events/load_balancer.json");
const MULTI_VALUE: &str = include_str!("../../../../tests/events/load_balancer_multi_value.json");

const HELLO: &str = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;

fn function(settings: &str) -> Function {
    let executors = "executors: [{name: greeter, uses: 'inproc://greet'}]";
    flow(&format!(
        "jtype: Flow\ngateway: {{{settings}}}\n{executors}\n"
    ))
}

fn flow(yaml: &str) -> Function {
    flow_of(yaml, &|_| None)
}

/// With these variables as well.
fn flow_of(yaml: &str, more: &dyn Fn(&str) -> Option<String>) -> Function {
    let env = |name: &str| {
        let value = match name {
            "AWS_LAMBDA_FUNCTION_NAME" => "gateway-fn",
            "AWS_REGION" => "eu-west-1",
            name => return more(name),
        };
        Some(value.to_owned())
    };
    let config = Config::from_yaml(yaml, "flow.yml", &env)
        .expect("holds")
        .config;
    let clients = Clients::new(&config.gateway.invoke);
    let process = ProcessInfo::from_environment(&env);
    process.note_init(Duration::from_millis(5));
    let services = Services::new(&config, &Registry::default(), &clients, process).expect("starts");
    Function::new(services, &clients, config, &env)
}

/// A sample as a request for `path`.
fn event(sample: &str, method: &str, path: &str, body: &str) -> Value {
    let mut event: Value = serde_json::from_str(sample).expect("JSON");
    if event["version"] == "2.0" {
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

async fn respond(function: &Function, event: &Value) -> Result<Response, Diagnostic> {
    respond_to(function, event, invocation()).await
}

fn invocation() -> lambda_runtime::Context {
    let mut context = lambda_runtime::Context::default();
    context.deadline = 4_000_000_000_000;
    context.request_id = "r-1".to_owned();
    context
}

async fn respond_to(
    function: &Function,
    event: &Value,
    context: lambda_runtime::Context,
) -> Result<Response, Diagnostic> {
    let payload = RawValue::from_string(event.to_string()).expect("JSON");
    function.handle(LambdaEvent::new(payload, context)).await
}

async fn answer(function: &Function, event: &Value) -> Value {
    match respond(function, event).await.expect("an answer") {
        FunctionResponse::BufferedResponse(raw) => serde_json::from_str(raw.get()).expect("JSON"),
        FunctionResponse::StreamingResponse(_) => panic!("it streams"),
    }
}

fn body(answer: &Value) -> Vec<u8> {
    let text = answer["body"].as_str().expect("a body");
    match answer["isBase64Encoded"].as_bool().expect("a flag") {
        true => STANDARD.decode(text).expect("base64"),
        false => text.as_bytes().to_vec(),
    }
}

fn json_body(answer: &Value) -> Value {
    serde_json::from_slice(&body(answer)).expect("JSON")
}

#[tokio::test]
async fn every_front_door_reaches_the_flow() {
    let function = function("");
    for sample in [HTTP_API, REST_API, FUNCTION_URL, LOAD_BALANCER, MULTI_VALUE] {
        let answer = answer(&function, &event(sample, "POST", "/post", HELLO)).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let texts = &json_body(&answer)["data"];
        assert_eq!(texts.as_array().map(Vec::len), Some(2), "{texts}");
    }
}

#[tokio::test]
async fn answers_have_the_form_that_the_event_asks_for() {
    let function = function("");
    let of = async |sample| answer(&function, &event(sample, "GET", "/", "")).await;
    for sample in [HTTP_API, FUNCTION_URL] {
        let answer = of(sample).await;
        assert_eq!(answer["headers"]["content-type"], "application/json");
        assert!(answer["cookies"].is_array() && answer.get("multiValueHeaders").is_none());
    }
    let rest = of(REST_API).await;
    let json = json!(["application/json"]);
    assert_eq!(rest["multiValueHeaders"]["content-type"], json);
    assert!(rest.get("headers").is_none());
    let balanced = of(LOAD_BALANCER).await;
    assert_eq!(balanced["statusDescription"], "200 OK");
    assert_eq!(balanced["headers"]["content-type"], "application/json");
    let multi = of(MULTI_VALUE).await;
    assert_eq!(multi["multiValueHeaders"]["content-type"], json);
    assert!(multi.get("headers").is_none());
}

#[tokio::test]
async fn errors_are_the_containers() {
    let function = function("");
    for (method, path, body, status) in [
        ("GET", "/nowhere", "", 404),
        ("PUT", "/post", "", 405),
        ("POST", "/post", "{", 422),
        ("POST", "/post", r#"{"data":5}"#, 422),
    ] {
        let answer = answer(&function, &event(HTTP_API, method, path, body)).await;
        assert_eq!(answer["statusCode"], status, "{method} {path}: {answer}");
        assert!(json_body(&answer).get("detail").is_some());
    }
    let mut broken = event(HTTP_API, "POST", "/post", "?");
    broken["isBase64Encoded"] = true.into();
    assert_eq!(answer(&function, &broken).await["statusCode"], 400);
}

#[tokio::test]
async fn a_function_url_for_anyone_is_refused_unless_it_is_meant() {
    let mut open = event(FUNCTION_URL, "GET", "/", "");
    open["requestContext"]
        .as_object_mut()
        .expect("a map")
        .remove("authorizer");
    let refused = answer(&function(""), &open).await;
    assert_eq!(refused["statusCode"], 403);
    let detail = json_body(&refused)["detail"].clone();
    assert!(
        detail
            .as_str()
            .is_some_and(|it| it.contains("public_url: true"))
    );
    let meant = function("function: {public_url: true}");
    assert_eq!(answer(&meant, &open).await["statusCode"], 200);
    open["rawPath"] = "/status".into();
    let sha256 = "0".repeat(64);
    for (protocol, status, by_connect) in [
        ("http", 401, 401),
        ("grpc", 403, 401),
        ("websocket", 403, 403),
    ] {
        let keys = format!("[{{name: a, sha256: '{sha256}'}}]");
        let guarded = format!("auth: {{protocols: [{protocol}], api_keys: {keys}}}");
        let guarded = function(&guarded);
        let refused = answer(&guarded, &open).await;
        assert_eq!(refused["statusCode"], status, "{protocol}: {refused}");
        let mut call = event(FUNCTION_URL, "POST", SINGLE, "");
        call["requestContext"] = open["requestContext"].clone();
        call["requestContext"]["http"]["method"] = "POST".into();
        set_header(&mut call, "content-type", "application/proto");
        let refused = answer(&guarded, &call).await;
        assert_eq!(refused["statusCode"], by_connect, "{protocol}: {refused}");
        assert!(json_body(&refused)["code"].is_string(), "as Connect has it");
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
        let answer = answer(&function, &event).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
        assert!(answer["headers"]["access-control-allow-origin"].is_string());
    }
}

#[tokio::test]
async fn status_tells_the_function_and_no_secret() {
    let function = function("");
    let status = event(HTTP_API, "GET", "/status", "");
    for start in ["cold", "warm"] {
        let envs = json_body(&answer(&function, &status).await)["envs"].clone();
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
        let answer = answer(&function, &event).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let headers = &answer["multiValueHeaders"];
        assert_eq!(headers["content-encoding"], json!([coding]));
        let limit = 1 << 20;
        let read = decompress(body(&answer), compression, limit);
        let read: Value = serde_json::from_slice(&read.expect(coding)).expect("JSON");
        assert_eq!(read["data"][0]["text"], "hello");
    }
}

/// It would hand the base64 on as it is.
#[tokio::test]
async fn a_rest_api_without_binary_types_gets_no_compressed_answer() {
    let function = function("function: {compress_answers_from: 10}");
    for (version, coded) in [(Value::Null, false), ("1.0".into(), true)] {
        let mut event = event(REST_API, "POST", "/post", HELLO);
        event["version"] = version;
        set_header(&mut event, "accept-encoding", "gzip");
        let answer = answer(&function, &event).await;
        assert_eq!(answer["isBase64Encoded"], coded, "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_lambda_would_drop_is_an_error_that_says_so() {
    let function = function("");
    let large = json!({"data": [{"text": "a".repeat(1 << 20)}], "execEndpoint": "/"}).to_string();
    let answer_of = async |sample| answer(&function, &event(sample, "POST", "/post", &large)).await;
    assert_eq!(answer_of(HTTP_API).await["statusCode"], 200);
    let refused = answer_of(LOAD_BALANCER).await;
    assert_eq!(refused["statusCode"], 413);
    let detail = json_body(&refused)["detail"].to_string();
    assert!(detail.contains("1048576"), "{detail}");
    let mut compressed = event(LOAD_BALANCER, "POST", "/post", &large);
    set_header(&mut compressed, "accept-encoding", "gzip");
    assert_eq!(answer(&function, &compressed).await["statusCode"], 200);
}

#[tokio::test]
async fn a_page_may_ask_before_it_calls() {
    let function = function("cors: true");
    let mut preflight = event(HTTP_API, "OPTIONS", "/post", "");
    set_header(&mut preflight, "origin", "https://a.example");
    set_header(&mut preflight, "access-control-request-method", "POST");
    let answer = answer(&function, &preflight).await;
    assert_eq!(answer["statusCode"], 200);
    assert_eq!(
        answer["headers"]["access-control-allow-origin"],
        "https://a.example"
    );
}

/// One message of gRPC as it travels.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0][..], &length, message].concat()
}

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

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

#[tokio::test]
async fn grpc_web_passes_in_binary_and_in_text() {
    let function = function("cors: true");
    let sent = framed(&hello().encode_to_vec());
    for (kind, body_sent, is_base64) in [
        ("application/grpc-web+proto", STANDARD.encode(&sent), true),
        ("application/grpc-web-text", STANDARD.encode(&sent), false),
    ] {
        let mut event = event(HTTP_API, "POST", SINGLE, &body_sent);
        event["isBase64Encoded"] = is_base64.into();
        set_header(&mut event, "content-type", kind);
        set_header(&mut event, "accept", kind);
        set_header(&mut event, "origin", "https://a.example");
        let answer = answer(&function, &event).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let exposed = &answer["headers"]["access-control-expose-headers"];
        assert!(
            exposed
                .as_str()
                .is_some_and(|it| it.contains("grpc-status"))
        );
        let mut read = body(&answer);
        if kind.contains("text") {
            read = texts(&read);
        }
        let length = usize::try_from(u32::from_be_bytes([read[1], read[2], read[3], read[4]]));
        let (message, trailers) = read[5..].split_at(length.expect("short"));
        let message = DataRequest::decode(message).expect("a message");
        assert_eq!(message.documents.decode().expect("documents").len(), 2);
        assert!(String::from_utf8_lossy(trailers).contains("grpc-status:0"));
    }
}

/// Base64 that was encoded piece by piece, with padding in the middle.
fn texts(text: &[u8]) -> Vec<u8> {
    let quads = text.chunks(4);
    quads
        .flat_map(|quad| STANDARD.decode(quad).expect("base64"))
        .collect()
}

#[tokio::test]
async fn connect_passes_with_its_own_errors() {
    let function = function("");
    let sent = STANDARD.encode(hello().encode_to_vec());
    let call = async |path: &str, sent: &str| {
        let mut event = event(HTTP_API, "POST", path, sent);
        event["isBase64Encoded"] = true.into();
        set_header(&mut event, "content-type", "application/proto");
        set_header(&mut event, "connect-protocol-version", "1");
        answer(&function, &event).await
    };
    let answer = call(SINGLE, &sent).await;
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(answer["headers"]["content-type"], "application/proto");
    let message = DataRequest::decode(&*body(&answer)).expect("a message");
    assert_eq!(message.documents.decode().expect("documents").len(), 2);
    for path in ["/jina.Nobody/nothing", "/jina.JinaRPC/Call"] {
        let unknown = call(path, &sent).await;
        assert_eq!(unknown["statusCode"], 501, "{path}");
        assert_eq!(json_body(&unknown)["code"], "unimplemented");
    }
}

#[tokio::test]
async fn what_grpc_or_http_demands_is_demanded_of_grpc_web_and_connect() {
    for (protocols, is_guarded) in [
        ("grpc", true),
        ("http", true),
        ("websocket", false),
        ("grpc, http, websocket", true),
    ] {
        let key = "a-key-of-some-length";
        let function = function(&format!(
            "auth: {{api_keys: [{{name: a, key: {key}}}], protocols: [{protocols}]}}"
        ));
        for (kind, sent) in [
            ("application/proto", hello().encode_to_vec()),
            (
                "application/grpc-web+proto",
                framed(&hello().encode_to_vec()),
            ),
        ] {
            for (presented, is_refused) in [("wrong", is_guarded), (key, false)] {
                let mut event = event(HTTP_API, "POST", SINGLE, &STANDARD.encode(&sent));
                event["isBase64Encoded"] = true.into();
                set_header(&mut event, "content-type", kind);
                set_header(&mut event, "x-api-key", presented);
                let answer = answer(&function, &event).await;
                let refused =
                    answer["statusCode"] == 401 || answer["headers"]["grpc-status"] == "16";
                assert_eq!(refused, is_refused, "{protocols}, {kind}: {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_is_for_front_doors_that_can() {
    let function = function("function: {response_streaming: true}");
    for (sample, streams) in [
        (FUNCTION_URL, true),
        (REST_API, true),
        (HTTP_API, false),
        (LOAD_BALANCER, false),
    ] {
        match respond(&function, &event(sample, "POST", "/post", HELLO)).await {
            Ok(FunctionResponse::StreamingResponse(response)) if streams => {
                assert_eq!(response.metadata_prelude.status_code, 200);
                let chunks: Vec<_> = response.stream.collect().await;
                let body: Vec<_> = chunks
                    .into_iter()
                    .flat_map(|it| it.expect("bytes"))
                    .collect();
                let body: Value = serde_json::from_slice(&body).expect("JSON");
                assert_eq!(body["data"][0]["text"], "hello");
            }
            Ok(FunctionResponse::BufferedResponse(_)) if !streams => {}
            _ => panic!("{sample}"),
        }
    }
}

#[tokio::test]
async fn a_streamed_answer_is_compressed_too() {
    let settings = "function: {response_streaming: true, compress_answers_from: 1}";
    let mut event = event(FUNCTION_URL, "POST", "/post", HELLO);
    set_header(&mut event, "accept-encoding", "gzip");
    let answer = respond(&function(settings), &event).await;
    let Ok(FunctionResponse::StreamingResponse(response)) = answer else {
        panic!("no stream");
    };
    let headers = response.metadata_prelude.headers;
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(!headers.contains_key("content-length"));
    let chunks: Vec<_> = response.stream.collect().await;
    let chunks = chunks.into_iter().flat_map(|chunk| chunk.expect("bytes"));
    let body = decompress(chunks.collect(), Compression::Gzip, 1 << 20).expect("gzip");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["data"][0]["text"], "hello");
}

/// Each message of a stream is small; all of them together are not.
#[tokio::test]
async fn the_sum_of_a_streams_answers_is_bounded() {
    let mut one = hello();
    one.documents = vec![DocumentProto {
        content: Some(Content::Text("x".repeat(1000))),
        ..Default::default()
    }]
    .into();
    let many = framed(&one.encode_to_vec()).repeat(8000);
    let mut event = event(HTTP_API, "POST", "/jina.JinaRPC/Call", "");
    event["body"] = STANDARD
        .encode(compress(&many, Compression::Gzip).expect("gzip"))
        .into();
    event["isBase64Encoded"] = true.into();
    set_header(&mut event, "content-type", "application/grpc-web+proto");
    set_header(&mut event, "content-encoding", "gzip");
    let refused = answer(&function(""), &event).await;
    assert_eq!(refused["headers"]["grpc-status"], "8", "{refused}");
    let said = refused["headers"]["grpc-message"].as_str().expect("why");
    assert!(said.contains("more%20than%206291456"), "{said}");
}

#[tokio::test]
async fn an_event_that_is_no_object_has_no_sender() {
    let list = json!([
        null, null, null, 1, null, null, null, null, null, null, null, null
    ]);
    let error = respond(&function(""), &list).await.err().expect("an error");
    assert_eq!(error.error_type, "Flowgate.UnknownEvent");
}

#[tokio::test]
async fn the_function_is_an_executor_of_other_gateways() {
    let function = function("");
    let list = DataRequestListProto {
        requests: vec![hello()],
    };
    let sent = invoke(&list.encode_to_vec());
    let answered = answer(&function, &sent).await.to_string();
    let read = Answer::read(&answered).expect("an answer");
    let message: DataRequest = read.message(1 << 20).expect("a message");
    assert_eq!(message.documents.decode().expect("documents").len(), 2);
    let ask = async |call| {
        let sent = flowgate_proto::invoke::Invocation::of(call);
        let sent: Value = serde_json::from_slice(&sent.write().expect("JSON")).expect("JSON");
        answer(&function, &sent).await.to_string()
    };
    let endpoints = ask(Call::Endpoints).await;
    let endpoints = Answer::read(&endpoints).expect("an answer");
    let endpoints: EndpointsProto = endpoints.message(1 << 20).expect("a message");
    assert_eq!(endpoints.endpoints, ["/default"]);
    let status = ask(Call::Status).await;
    let status = Answer::read(&status).expect("an answer");
    let status: JinaInfoProto = status.message(1 << 20).expect("a message");
    assert_eq!(status.envs["AWS_REGION"], "eu-west-1");
}

fn invoke(list: &[u8]) -> Value {
    let sent = flowgate_proto::invoke::Invocation::process(list, Compression::Zstd);
    let sent = sent.expect("compressed").write().expect("JSON");
    serde_json::from_slice(&sent).expect("JSON")
}

#[tokio::test]
async fn a_flow_without_its_executor_says_so_to_every_caller() {
    let function = flow(
        "jtype: Flow\ngateway: {retries: 0}\nexecutors: [{name: gone, external: true, host: 127.0.0.1, port: 9}]\n",
    );
    let http = answer(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert_eq!(http["statusCode"], 503, "{http}");
    let said = json_body(&http).to_string();
    assert!(
        said.contains("gone") && !said.contains("127.0.0.1"),
        "{said}"
    );
    let by_hand: Value = serde_json::from_str(HELLO).expect("JSON");
    let Err(failed) = respond(&function, &by_hand).await else {
        panic!("nobody is there");
    };
    assert_eq!(failed.error_type, "Flowgate.Unavailable");
    let list = DataRequestListProto {
        requests: vec![hello()],
    };
    let answered = answer(&function, &invoke(&list.encode_to_vec()))
        .await
        .to_string();
    assert!(Answer::read(&answered).expect("an answer").is_error);
}

#[tokio::test]
async fn json_by_hand_is_a_post() {
    let function = function("no_debug_endpoints: true");
    let by_hand: Value = serde_json::from_str(HELLO).expect("JSON");
    assert_eq!(
        answer(&function, &by_hand).await["data"][0]["text"],
        "hello"
    );
    for (sent, kind) in [
        (
            json!({"data": 5, "execEndpoint": "/"}),
            "Flowgate.BadPayload",
        ),
        (json!({"flowgate": 2}), "Flowgate.BadPayload"),
        (json!({"Records": []}), "Flowgate.UnknownEvent"),
    ] {
        let Err(refused) = respond(&function, &sent).await else {
            panic!("{sent}");
        };
        assert_eq!(refused.error_type, kind, "{sent}");
    }
}

/// A front door whose patience is over soon gets the 504 that names the Executor, and gets it in time.
#[tokio::test]
async fn a_slow_executor_is_a_504_before_the_front_door_cuts() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\ngateway: {{function: {{front_door_timeout: 400, answer_margin: 200}}}}\n\
         executors: [{{name: slow, external: true, host: 127.0.0.1, port: {port}}}]\n"
    ));
    let started = std::time::Instant::now();
    let answer = answer(&function, &event(HTTP_API, "POST", "/post", HELLO)).await;
    assert!(started.elapsed() < Duration::from_millis(390));
    assert_eq!(answer["statusCode"], 504, "{answer}");
    assert!(json_body(&answer).to_string().contains("slow"));
}

/// `cargo lambda watch` says that every invocation has ended ten minutes after 1970.
#[tokio::test]
async fn an_emulators_clock_is_no_504() {
    let mut context = invocation();
    context.deadline = 600_000;
    let by_hand: Value = serde_json::from_str(HELLO).expect("JSON");
    for event in [event(HTTP_API, "POST", "/post", HELLO), by_hand] {
        let answer = respond_to(&function(""), &event, context.clone()).await;
        let Ok(FunctionResponse::BufferedResponse(answer)) = answer else {
            panic!("no answer");
        };
        assert!(answer.get().contains("hello"), "{}", answer.get());
    }
}

#[tokio::test]
async fn a_client_that_waits_no_longer_is_not_kept() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let function = flow(&format!(
        "jtype: Flow\nexecutors: [{{name: slow, external: true, host: 127.0.0.1, port: {port}}}]\n"
    ));
    let sent = STANDARD.encode(hello().encode_to_vec());
    let mut event = event(HTTP_API, "POST", SINGLE, &sent);
    event["isBase64Encoded"] = true.into();
    set_header(&mut event, "content-type", "application/proto");
    set_header(&mut event, "connect-timeout-ms", "100");
    let late = answer(&function, &event).await;
    assert_eq!(late["statusCode"], 504, "{late}");
    assert_eq!(json_body(&late)["code"], "deadline_exceeded");
    set_header(&mut event, "connect-timeout-ms", "soon");
    let refused = answer(&function, &event).await;
    assert_eq!(refused["statusCode"], 400, "{refused}");
}

/// A gateway of another kind has to be able to read it, however it asks.
#[tokio::test]
async fn a_large_answer_to_a_gateway_is_compressed() {
    let function = function("");
    let mut request = hello();
    request.header.request_id = "a".repeat(6 << 20);
    let list = DataRequestListProto {
        requests: vec![request],
    };
    let plain =
        flowgate_proto::invoke::Invocation::process(&list.encode_to_vec(), Compression::None);
    let sent = plain.expect("plain").write().expect("JSON");
    let sent: Value = serde_json::from_slice(&sent).expect("JSON");
    let answered = answer(&function, &sent).await;
    assert_eq!(answered["encoding"], "zstd");
}
