//! Invocations that fail: which are retried, and the error that the client gets for each failure.

use std::time::Duration;

use executor_fn::{Error, Executor, Reply, Request};
use flowgate_tests::{
    executors::tag,
    flow::{ClosedPort, ServedGateway},
    lambda_api::{ARN, LambdaApi, ScriptedResponse},
};
use serde_json::Value;

use super::{blobs, post_document, send, single_function};

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
    assert_eq!(api.invocations().len(), 4);
    gateway.stop().await;
    api.stop().await;
}

/// Of a function with a reserved concurrency of one that works on other requests for a while.
#[tokio::test]
async fn throttling_is_waited_out() {
    let api = LambdaApi::start().await;
    api.serve("e", tag("e"));
    let gateway = single_function(&api, "").await;
    let throttled = ScriptedResponse::api_error(429, "TooManyRequestsException");
    (0..20).for_each(|_| api.script("e", throttled.clone()));
    assert_eq!(post_document(&gateway).await.status, 200);
    assert_eq!(api.process_invocations().len(), 21);
    gateway.stop().await;
    api.stop().await;
}

#[tokio::test]
async fn a_429_says_when_to_try_again() {
    let api = LambdaApi::start().await;
    let gateway = single_function(&api, "").await;
    let throttled = ScriptedResponse::api_error(429, "TooManyRequestsException")
        .with_header("retry-after", "7");
    (0..2).for_each(|_| api.script("e", throttled.clone()));
    let response = post_document(&gateway).await;
    assert_eq!(response.status, 429, "{:?}", response.body);
    assert_eq!(response.headers["retry-after"], "7");
    let status = send(&gateway, &blobs(1, 8)).await.expect_err("throttled");
    let retry_after = status.metadata().get("retry-after");
    assert_eq!(retry_after.map(AsRef::as_ref), Some(b"7".as_slice()));
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
fault | Flowgate.BadPayload | 502 | Internal | rejected the request's payload
fault | Flowgate.RequestTooLarge | 413 | ResourceExhausted | the function accepts
fault | Flowgate.Failed | 502 | Internal | the Flow behind the function
fault | Flowgate.AnswerTooLarge | 413 | ResourceExhausted | 6291456 bytes
fault | Flowgate.OutOfTime | 504 | DeadlineExceeded | gave up before its own timeout
fault | Flowgate.Panic | 502 | Internal | panicked
fault | Flowgate.Unavailable | 503 | Unavailable | is still starting
fault | Function.ResponseSizeTooLarge | 413 | ResourceExhausted | 6291456 bytes
fault | Sandbox.Timedout | 504 | DeadlineExceeded | its configured timeout
fault | Runtime.ExitError | 502 | Internal | Runtime.ExitError
fault | ValueError | 502 | Internal | failed with ValueError
fault | a text <b> | 502 | Internal | an unnamed error
response |  | 502 | Internal | answer is empty
response | null | 502 | Internal | answer is empty
response | { | 502 | Internal | is invalid
response | {"statusCode":200} | 502 | Internal | no key `flowgate`
response | {"flowgate":2} | 502 | Internal | version 2
response | {"flowgate":1} | 502 | Internal | no `body`
response | {"flowgate":1,"encoding":null,"body":null} | 502 | Internal | no `body`
response | {"flowgate":1,"encoding":"zstd","body":""} | 502 | Internal | no `body`
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
