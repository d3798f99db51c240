//! What is behind the APIs: Lambda's Invoke API, the Runtime API and the functions' processes.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Bench, said, send};
use crate::{
    Function, Local, Options, Source, StartError, Target,
    function::{Front, Outcome},
};

#[tokio::test]
async fn the_invoke_api_answers_as_lambda() {
    let bench = Bench::start(|options| {
        options.times.retries = [Duration::from_millis(1); 2];
        options.max_queued = 1;
    })
    .await;
    let (answered, event) = tokio::join!(
        bench.invoke("RequestResponse", "[1]"),
        bench.serve(json!(2))
    );
    assert_eq!((said(&answered), event), ((200, "2"), json!([1])));
    assert_eq!(
        bench.invoke("DryRun", "1").await.status(),
        StatusCode::NO_CONTENT
    );
    for (path, body, status, name) in [
        ("nobody", "1", 404, "ResourceNotFoundException"),
        ("function", "{", 400, "InvalidRequestContentException"),
        (
            "function",
            &"1".repeat((6 << 20) + 1),
            413,
            "RequestEntityTooLargeException",
        ),
    ] {
        let path = format!("/2015-03-31/functions/{path}/invocations");
        let answer = send(bench.lambda(), Method::POST, &path, &[], body).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["x-amzn-errortype"], name);
    }
    // Three tries of one event, with one id; while it waits, the queue of one is full.
    assert_eq!(
        bench.invoke("Event", "7").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        bench.invoke("RequestResponse", "8").await.status(),
        StatusCode::TOO_MANY_REQUESTS
    );
    let mut ids = Vec::new();
    for _ in 0..3 {
        let invocation = bench.next().await;
        assert_eq!(invocation.event, json!(7));
        invocation.end("error", "{\"errorMessage\":\"m\"}").await;
        ids.push(invocation.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[tokio::test]
async fn an_invocation_that_takes_too_long_is_a_function_error() {
    let bench = Bench::start(|options| {
        let Target::Functions(functions) = &mut options.target else {
            return;
        };
        functions[0].timeout = Duration::from_millis(100);
    })
    .await;
    let (answered, late) = tokio::join!(bench.invoke("RequestResponse", "1"), bench.next());
    assert_eq!(answered.headers()["x-amz-function-error"], "Unhandled");
    let error: Value = serde_json::from_slice(answered.body()).expect("JSON");
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert_eq!(late.answer("1").await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_bootstrap_that_ends_fails_the_invocation_that_it_was_started_for() {
    let function = Function::new("ends", Source::Bootstrap("/bin/false".into()));
    let mut options = Options::new(Target::Functions(vec![function]));
    (
        options.http_port,
        options.websocket_port,
        options.lambda_port,
    ) = (0, 0, 0);
    let local = Local::start(options).await.expect("it starts");
    let lambda = local.addresses().lambda.expect("functions run here");
    let path = "/2015-03-31/functions/ends/invocations";
    let answered = send(lambda, Method::POST, path, &[], "1").await;
    let error: Value = serde_json::from_slice(answered.body()).expect("JSON");
    assert_eq!(error["errorType"], "Runtime.ExitError");
    local.stop().await;
}

#[tokio::test]
async fn options_that_do_not_hold_start_nothing() {
    let function = || Function::new("f", Source::ByHand);
    let endpoint = Target::Endpoint {
        url: "https://h:1".to_owned(),
        function: "f".to_owned(),
    };
    let missing = Function::new("f", Source::Bootstrap("/no/bootstrap".into()));
    for target in [
        Target::Functions(Vec::new()),
        Target::Functions(vec![function(), function()]),
        Target::Functions(vec![Function::new("a b", Source::ByHand)]),
        Target::Functions(vec![missing]),
        endpoint,
    ] {
        let error = Local::start(Options::new(target))
            .await
            .expect_err("refused");
        assert!(matches!(error, StartError::Options { .. }), "{error}");
    }
}

/// As an extension inside of a runtime does it.
#[tokio::test]
async fn an_extension_is_registered_and_then_waits() {
    let bench = Bench::start(|_| {}).await;
    let register = "/2020-01-01/extension/register";
    let registered = send(bench.lambda(), Method::POST, register, &[], "{}").await;
    assert_eq!(registered.status(), StatusCode::OK);
    assert!(
        registered
            .headers()
            .contains_key("lambda-extension-identifier")
    );
    let facts: Value = serde_json::from_slice(registered.body()).expect("JSON");
    assert_eq!(facts["functionName"], "function");
    let next = "/2020-01-01/extension/event/next";
    let next = send(bench.lambda(), Method::GET, next, &[], "");
    let invoked = async {
        tokio::join!(
            bench.invoke("DryRun", "1"),
            bench.get("/x"),
            bench.serve(json!(1))
        )
    };
    tokio::select! {
        _ = next => panic!("an event"),
        _ = invoked => {}
    }
}

/// What lies behind an endpoint may know no limit.
#[tokio::test]
async fn an_answer_of_an_endpoint_is_as_large_as_lambdas() {
    let behind = Bench::start(|_| {}).await;
    let url = format!("http://{}", behind.lambda());
    let front = Front::endpoint(&url, "function");
    let event = json!({});
    for (bytes, is_too_large) in [(6 << 20, false), ((6 << 20) + 1, true)] {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("bound");
        let answers = async {
            let (mut stream, _) = server.accept().await.expect("a client");
            let mut request = [0; 1 << 10];
            assert_ne!(stream.read(&mut request).await.expect("a request"), 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("sent");
            // Whoever has read enough goes.
            let _ = stream.write_all(&vec![b'1'; bytes]).await;
        };
        let endpoint = Front::endpoint(&format!("http://{address}"), "function");
        let (answered, ()) = tokio::join!(endpoint.invoke(&event, "Root=1"), answers);
        match answered.expect("an outcome") {
            Outcome::Answered(answer) => assert!(!is_too_large && answer.len() == bytes),
            Outcome::Failed(error) => {
                let error = String::from_utf8_lossy(&error).into_owned();
                assert!(
                    is_too_large && error.contains("Function.ResponseSizeTooLarge"),
                    "{error}"
                );
            }
        }
    }
    let (answered, _) = tokio::join!(front.invoke(&event, "Root=1"), behind.serve(json!(3)));
    assert_eq!(
        answered.expect("an outcome"),
        Outcome::Answered(Bytes::from_static(b"3"))
    );
}
