//! The functions: Lambda's Invoke API, the Runtime API, processes and other endpoints.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Harness, options_on_free_ports, send, status_and_body};
use crate::{
    Emulator, FunctionOptions, Options, RuntimeSource, StartError, Target,
    function::{Integration, InvokeResult},
};

#[tokio::test]
async fn the_invoke_api_responds_as_lambda_does() {
    let harness = Harness::start(|options| {
        options.timeouts.retry_delays = [Duration::from_millis(1); 2];
        options.max_queued = 1;
    })
    .await;
    let (response, event) = tokio::join!(
        harness.invoke("RequestResponse", "[1]"),
        harness.respond(json!(2))
    );
    assert_eq!(
        (status_and_body(&response), event),
        ((200, "2"), json!([1]))
    );
    assert_eq!(
        harness.invoke("DryRun", "1").await.status(),
        StatusCode::NO_CONTENT
    );
    let too_large = "1".repeat((6 << 20) + 1);
    for (function, payload, status, name) in [
        ("unknown", "1", 404, "ResourceNotFoundException"),
        ("function", "{", 400, "InvalidRequestContentException"),
        (
            "function",
            &too_large,
            413,
            "RequestEntityTooLargeException",
        ),
    ] {
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let response = send(harness.lambda(), Method::POST, &path, &[], payload).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-amzn-errortype"], name);
    }
    // An asynchronous invocation is attempted three times with one id; while it is queued, the queue of one is full.
    assert_eq!(
        harness.invoke("Event", "7").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        harness.invoke("RequestResponse", "8").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    let mut request_ids = Vec::new();
    for _ in 0..3 {
        let invocation = harness.next().await;
        assert_eq!(invocation.event, json!(7));
        let error = "{\"errorMessage\":\"m\"}";
        invocation.complete("error", error).await;
        request_ids.push(invocation.request_id);
    }
    assert!(request_ids.iter().all(|id| *id == request_ids[0]));
}

/// Reads the type and the payload of each event of a stream.
fn events(mut stream: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut events = Vec::new();
    while !stream.is_empty() {
        let number = |at: usize| {
            let bytes = stream[at..at + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes) as usize
        };
        let (length, headers) = (number(0), number(4));
        // The first header is `:event-type`, whose value follows its name, a type and two bytes of length.
        let start = 12 + 1 + ":event-type".len() + 3;
        let name = &stream[start..start + usize::from(stream[start - 1])];
        let name = String::from_utf8(name.to_vec()).expect("text");
        events.push((name, stream[12 + headers..length - 4].to_vec()));
        stream = &stream[length..];
    }
    events
}

#[tokio::test]
async fn a_streaming_invocation_returns_events() {
    let harness = Harness::start(|_| {}).await;
    let path = "/2021-11-15/functions/function/response-streaming-invocations";
    let invoke = || send(harness.lambda(), Method::POST, path, &[], "[1]");
    let large = Value::from("x".repeat(100_000));
    let (response, event) = tokio::join!(invoke(), harness.respond(large.clone()));
    assert_eq!((response.status(), event), (StatusCode::OK, json!([1])));
    let content_type = &response.headers()["content-type"];
    assert_eq!(content_type, "application/vnd.amazon.eventstream");
    let received = events(response.body());
    let names: Vec<_> = received.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PayloadChunk", "PayloadChunk", "InvokeComplete"]);
    let payload = [received[0].1.as_slice(), received[1].1.as_slice()].concat();
    assert_eq!(payload, large.to_string().as_bytes());
    assert_eq!(received[2].1, b"{}");

    let (response, ()) = tokio::join!(invoke(), async {
        let error = r#"{"errorType":"E","errorMessage":"m"}"#;
        harness.next().await.complete("error", error).await;
    });
    let received = events(response.body());
    assert_eq!(received.len(), 1);
    let complete: Value = serde_json::from_slice(&received[0].1).expect("JSON");
    assert_eq!(complete["ErrorCode"], "E");
    assert!(
        complete["ErrorDetails"]
            .to_string()
            .contains("errorMessage")
    );

    let header = [("x-amz-invocation-type", "Event")];
    let refused = send(harness.lambda(), Method::POST, path, &header, "1").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_invocation_that_times_out_is_a_function_error() {
    let harness = Harness::start(|options| {
        let Target::Functions(functions) = &mut options.target else {
            return;
        };
        functions[0].timeout = Duration::from_millis(100);
    })
    .await;
    let (response, late) = tokio::join!(harness.invoke("RequestResponse", "1"), harness.next());
    assert_eq!(response.headers()["x-amz-function-error"], "Unhandled");
    let error: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert_eq!(late.respond("1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_bootstrap_that_exits_fails_the_invocation_that_it_was_started_for() {
    let bootstrap = RuntimeSource::Bootstrap("/bin/false".into());
    let options = options_on_free_ports(FunctionOptions::new("exits", bootstrap));
    let emulator = Emulator::start(options).await.expect("started");
    let lambda = emulator
        .addresses()
        .lambda
        .expect("the emulator runs functions");
    let path = "/2015-03-31/functions/exits/invocations";
    let response = send(lambda, Method::POST, path, &[], "1").await;
    let error: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(error["errorType"], "Runtime.ExitError");
    emulator.stop().await;
}

#[tokio::test]
async fn invalid_options_prevent_the_start() {
    let function = |name| FunctionOptions::new(name, RuntimeSource::External);
    let missing = RuntimeSource::Bootstrap("/no/bootstrap".into());
    let endpoint = Target::Endpoint {
        url: "https://h:1".to_owned(),
        function: "f".to_owned(),
    };
    for (target, expected) in [
        (Target::Functions(Vec::new()), "no function is configured"),
        (
            Target::Functions(vec![function("f"), function("f")]),
            "two functions are named `f`",
        ),
        (
            Target::Functions(vec![function("a b")]),
            "function name `a b` is invalid",
        ),
        (
            Target::Functions(vec![FunctionOptions::new("f", missing)]),
            "/no/bootstrap is not a file",
        ),
        (endpoint, "https is not supported"),
    ] {
        let started = Emulator::start(Options::new(target)).await;
        let error = started.expect_err("invalid");
        assert!(
            matches!(&error, StartError::InvalidOption { reason } if reason.contains(expected)),
            "{error}"
        );
    }
}

/// An extension inside a runtime registers and then polls for events.
#[tokio::test]
async fn an_extension_can_register_and_receives_no_event() {
    let harness = Harness::start(|_| {}).await;
    let path = "/2020-01-01/extension/register";
    let response = send(harness.lambda(), Method::POST, path, &[], "{}").await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert!(headers.contains_key("lambda-extension-identifier"));
    let function: Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(function["functionName"], "function");
    let path = "/2020-01-01/extension/event/next";
    let event = send(harness.lambda(), Method::GET, path, &[], "");
    let invocations = async {
        tokio::join!(
            harness.invoke("DryRun", "1"),
            harness.get("/x"),
            harness.respond(json!(1))
        )
    };
    tokio::select! {
        _ = event => panic!("an event"),
        _ = invocations => {}
    }
}

/// An endpoint may be an emulator that does not enforce Lambda's limit itself.
#[tokio::test]
async fn lambdas_response_limit_applies_to_other_endpoints() {
    let event = json!({});
    for (bytes, is_too_large) in [(6 << 20, false), ((6 << 20) + 1, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let respond = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut request = [0; 1 << 10];
            assert_ne!(stream.read(&mut request).await.expect("a request"), 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("sent");
            // Fails if the client stops reading at the limit.
            let _ = stream.write_all(&vec![b'1'; bytes]).await;
        };
        let integration = Integration::endpoint(&format!("http://{address}"), "function");
        let (result, ()) = tokio::join!(integration.invoke(&event, "Root=1"), respond);
        match result.expect("a result") {
            InvokeResult::Response(response) => {
                assert!(!is_too_large && response.len() == bytes);
            }
            InvokeResult::FunctionError(error) => {
                let error = String::from_utf8_lossy(&error).into_owned();
                assert!(
                    is_too_large && error.contains("Function.ResponseSizeTooLarge"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_function_at_another_endpoint_is_invoked() {
    let harness = Harness::start(|_| {}).await;
    let url = format!("http://{}", harness.lambda());
    let integration = Integration::endpoint(&url, "function");
    let event = json!({});
    let (result, _) = tokio::join!(
        integration.invoke(&event, "Root=1"),
        harness.respond(json!(3))
    );
    assert_eq!(
        result.expect("a result"),
        InvokeResult::Response(Bytes::from_static(b"3"))
    );
}
