//! Replays the HTTP recordings against Flowgate's Gateway.

use flowgate_config::Protocol;
use flowgate_tests::{
    client::{HttpResponse, http, post},
    flow::ServedGateway,
    golden::{Recording, mask, recordings},
};
use http::{Request, header};
use serde_json::{Value, json};

use crate::golden::GoldenFlow;

/// Returns Flowgate's response to the requests where it differs from Jina's on purpose, because Jina's is a bug.
fn deliberate_difference(name: &str) -> Option<(u16, Value)> {
    match name {
        // Integer tags remain numbers.
        "09-tags_in_request_int_bug" => Some((
            200,
            json!({"data": [{"tags": {"one": 1.0, "zero": 0.0, "two": 2.0,
            "f": 1.5, "s": "1", "b": true, "n": null, "l": [1.0, 0.0], "o": {"one": 1.0}}}]}),
        )),
        // Invalid requests are 422 with the path and the error.
        "28-bad_base64_500" => Some((
            422,
            json!({"detail": [{"loc": ["body", "data", 0, "blob"], "msg": "Incorrect padding",
            "type": "value_error.base64"}]}),
        )),
        "32-data_dict_without_docs_500" => Some((
            422,
            json!({"detail": [{"loc": ["body", "data"], "msg": "value is not a valid list", "type": "type_error.list"}]}),
        )),
        // A network error is 503 on every route, as on Jina's /post.
        "38-executor_down_crud_500" => Some((
            503,
            json!({"header": {"status": {"code": 1, "description": "failed to connect to all addresses |Gateway: \
            Communication error with deployment ex at address(es) {'localhost:<port>'}. Head or worker(s) may be \
            down.", "exception": {"name": "<class 'jina.excepts.InternalNetworkError'>", "args": [],
            "executor": ""}}, "execEndpoint": "", "targetExecutor": ""}, "parameters": null, "routes": null,
            "data": [{"id": "d0", "text": "x"}]}),
        )),
        _ => None,
    }
}

#[tokio::test]
async fn a_single_executor_answers_as_jina() {
    replay("single").await;
}

#[tokio::test]
async fn a_join_answers_as_jina() {
    replay("join").await;
}

#[tokio::test]
async fn a_flow_without_executors_answers_as_jina() {
    replay("no_executors").await;
}

#[tokio::test]
async fn an_executor_that_is_down_is_reported_as_by_jina() {
    replay("executor_down").await;
}

async fn replay(flow: &str) {
    let running = GoldenFlow::start(flow).await;
    let authority = running.gateway.authority(Protocol::Http);
    for recording in recordings("http", flow) {
        let response = send(&authority, &recording.json["request"]).await;
        assert_headers(&recording.name, &response);
        match deliberate_difference(&recording.name) {
            Some((status, part)) => assert_difference(&recording.name, &response, status, &part),
            None => assert_recorded(&recording, &response),
        }
    }
    running.stop().await;
}

async fn send(authority: &str, request: &Value) -> HttpResponse {
    let text = |key: &str| request[key].as_str();
    let mut builder = Request::builder()
        .method(text("method").expect("a method"))
        .uri(format!(
            "http://{authority}{}",
            text("path").expect("a path")
        ));
    if let Some(content_type) = text("content_type") {
        builder = builder.header(header::CONTENT_TYPE, content_type);
    }
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::Object(members) if members.contains_key("raw_text") => {
            members["raw_text"].as_str().expect("text").to_owned()
        }
        body => body.to_string(),
    };
    http(builder.body(body.into()).expect("a request")).await
}

/// Checks headers that the recordings do not contain; Jina 3.13 sends them in this way.
fn assert_headers(name: &str, response: &HttpResponse) {
    let length = response.headers.get(header::CONTENT_LENGTH);
    assert_eq!(
        length.and_then(|length| length.to_str().ok()),
        Some(response.body.len().to_string().as_str()),
        "{name}"
    );
    assert_eq!(
        response.headers.contains_key(header::ALLOW),
        response.status == 405,
        "{name}"
    );
}

fn assert_difference(name: &str, response: &HttpResponse, status: u16, part: &Value) {
    assert_eq!(response.status, status, "{name}: {:?}", response.body);
    assert_eq!(response.content_type(), Some("application/json"), "{name}");
    assert_contains(name, &mask(response.json()), part);
}

fn assert_recorded(recording: &Recording, response: &HttpResponse) {
    let name = &recording.name;
    let expected = &recording.json["response"];
    assert_eq!(
        json!(response.status),
        expected["status"],
        "{name}: {:?}",
        response.body
    );
    assert_eq!(
        response.content_type(),
        expected["content_type"].as_str(),
        "{name}"
    );
    match expected["body_is"].as_str() {
        Some("json") => assert_eq!(
            mask(response.json()),
            mask(expected["body"].clone()),
            "{name}"
        ),
        _ => assert_eq!(
            json!(String::from_utf8_lossy(&response.body)),
            expected["body"],
            "{name}"
        ),
    }
}

/// Asserts that `whole` contains `part`: objects may have more keys, and lists of objects more items at the end; every
/// other value must be equal. A missing key counts as null.
fn assert_contains(name: &str, whole: &Value, part: &Value) {
    match part {
        Value::Object(members) => {
            for (key, member) in members {
                assert_contains(&format!("{name}.{key}"), &whole[key], member);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, item) in list.iter().enumerate() {
                assert_contains(&format!("{name}[{index}]"), &whole[index], item);
            }
        }
        part => assert_eq!(whole, part, "{name}"),
    }
}

/// Jina's clients read the times with `strptime`, which takes at most six digits of a second.
#[tokio::test]
async fn route_times_have_microseconds() {
    let gateway = ServedGateway::start("jtype: Flow\nwith: {protocol: http, port: 0}\n").await;
    let body = json!({"data": [], "execEndpoint": "/"});
    let response = post(&gateway.authority(Protocol::Http), &body).await.json();
    let time = response["routes"][0]["startTime"].as_str().expect("a time");
    let (_, fraction) = time.split_once('.').expect("parts of a second");
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    assert!(digits <= 6, "{time}");
    gateway.stop().await;
}
