//! The real program `executor-fn` as a Lambda function, in front of a small Runtime API of this test's own.

#[path = "lambda/function.rs"]
mod function;
#[path = "lambda/runtime_api.rs"]
mod runtime_api;

use std::time::Duration;

use flowgate_proto::{
    DataRequest,
    docarray::{DocumentProto, document_proto::Content},
    invoke::{Call, FunctionError, FunctionErrorKind, Invocation, InvocationResponse},
    jina::{DataRequestListProto, EndpointsProto},
};
use prost::Message as _;

use self::{
    function::{BIN, Function, outside_of_lambda},
    runtime_api::{Outcome, RuntimeApi},
};

const BY_HAND: &str = r#"{"data":[{"id":"d","text":"hello"}],"execEndpoint":"/"}"#;

/// `executor-fn` itself, which serves gRPC where it is told no Runtime API.
const WRAPPED: &[&str] = &["--", BIN, "--port", "{port}", "--name", "wrapped"];

fn answer(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answer(text) => text,
        Outcome::Error(text) => panic!("a function error: {text}"),
    }
}

fn fault(outcome: Outcome) -> FunctionError {
    match outcome {
        Outcome::Error(text) => serde_json::from_str(&text).expect("an error object"),
        Outcome::Answer(text) => panic!("an answer: {text}"),
    }
}

fn parts(count: usize) -> String {
    let mut request = DataRequest::default();
    request.header.exec_endpoint = Some("/".to_owned());
    request.documents = vec![DocumentProto {
        content: Some(Content::Text("hello".to_owned())),
        ..DocumentProto::default()
    }]
    .into();
    let requests = vec![request; count];
    let list = DataRequestListProto { requests }.encode_to_vec();
    let invocation = Invocation::process(&list, flowgate_proto::Compression::Zstd);
    let text = invocation.expect("an invocation").to_json().expect("JSON");
    String::from_utf8(text).expect("UTF-8")
}

#[tokio::test]
async fn invocations_are_answered_one_after_the_other() {
    let api = RuntimeApi::start().await;
    let _function = Function::start(&api, &[], &[]);
    let by_hand = answer(api.invoke(BY_HAND).await);
    assert!(by_hand.contains("hello from Flowgate"), "{by_hand}");
    let broken = fault(api.invoke("{").await);
    assert_eq!(
        broken.kind(),
        Some(FunctionErrorKind::BadPayload),
        "{broken:?}"
    );
    let endpoints = Invocation::new(Call::Endpoints).to_json().expect("JSON");
    let endpoints = String::from_utf8(endpoints).expect("UTF-8");
    let text = answer(api.invoke(&endpoints).await);
    let told: EndpointsProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(1 << 20))
        .expect("endpoints");
    assert_eq!(told.endpoints, ["/default", "_jina_dry_run_"]);
    assert_eq!(api.most_polls(), 1);
}

#[tokio::test]
async fn managed_instances_are_asked_for_several_invocations() {
    let api = RuntimeApi::start().await;
    let _function = Function::start(&api, &[], &[("AWS_LAMBDA_MAX_CONCURRENCY", "3")]);
    answer(api.invoke(BY_HAND).await);
    api.until(|api| api.most_polls() == 3).await;
}

#[tokio::test]
async fn a_missing_variable_of_lambdas_is_no_panic() {
    let api = RuntimeApi::start().await;
    let mut function = Function::start(&api, &[], &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")]);
    assert_eq!(function.exit_code().await, Some(64));
}

/// Lambda's log is JSON, in which an error alone would say only that something failed.
#[tokio::test]
async fn the_log_says_why_a_function_does_not_start() {
    let api = RuntimeApi::start().await;
    let said = Function::said(&api, &[("FLOWGATE_MEMORY_PERCENT", "500")]).await;
    let line: serde_json::Value = serde_json::from_str(said.trim()).expect("a line of JSON");
    let error = line["error"].as_str().expect("an error");
    assert!(
        error.contains("FLOWGATE_MEMORY_PERCENT") && error.contains("500"),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_answers_and_is_started_again_when_it_dies() {
    let api = RuntimeApi::start().await;
    let function = Function::start(&api, WRAPPED, &[]);
    for count in [1, 2] {
        let text = answer(api.invoke(&parts(count)).await);
        let answer = InvocationResponse::from_json(&text).expect("an answer");
        let message: DataRequest = answer.decode_message(1 << 20).expect("a message");
        assert_eq!(message.routes[0].executor, "wrapped");
        let documents = message.documents.into_vec().expect("documents");
        assert_eq!(documents.len(), count + 1);
    }
    let first = function.command();
    function::kill(first);
    // Whether the death is known already decides which of the two it is.
    let meanwhile = api.invoke(&parts(1)).await;
    if let Outcome::Error(_) = meanwhile {
        let fault = fault(meanwhile);
        assert_eq!(
            fault.kind(),
            Some(FunctionErrorKind::Unavailable),
            "{fault:?}"
        );
    }
    answer(api.invoke(&parts(1)).await);
    assert_ne!(function.command(), first);
}

#[tokio::test]
async fn a_command_is_stopped_with_the_function() {
    let api = RuntimeApi::start().await;
    let mut function = Function::start(&api, WRAPPED, &[]);
    answer(api.invoke(BY_HAND).await);
    assert!(api.has_extension(), "Lambda would send no SIGTERM");
    let command = function.command();
    function.terminate();
    assert_eq!(function.exit_code().await, Some(0));
    assert!(!function::exists(command));
}

#[tokio::test]
async fn a_command_that_is_not_ready_in_time_fails_the_start() {
    let api = RuntimeApi::start().await;
    let patience = [("FLOWGATE_COMMAND_START_TIMEOUT", "1")];
    let mut function = Function::start(&api, &["--", "sleep", "60"], &patience);
    assert_eq!(function.exit_code().await, Some(1));
    assert_eq!(api.most_polls(), 0);
}

#[tokio::test]
async fn a_command_that_may_come_later_leaves_invocations_waiting() {
    let api = RuntimeApi::start().await;
    let later = [("FLOWGATE_COMMAND_START", "later")];
    let _function = Function::start(&api, &["sleep", "60"], &later);
    let fault = fault(api.invoke_for(BY_HAND, Duration::from_millis(400)).await);
    assert_eq!(
        fault.kind(),
        Some(FunctionErrorKind::Unavailable),
        "{fault:?}"
    );
    assert!(fault.error_message.contains("being started"), "{fault:?}");
}

#[tokio::test]
async fn a_command_that_does_not_stay_ends_the_function() {
    let api = RuntimeApi::start().await;
    let env = [
        ("FLOWGATE_COMMAND_START", "later"),
        ("FLOWGATE_COMMAND_STARTS", "3"),
        ("FLOWGATE_EXECUTOR_COMMAND", r#"["sleep", "0"]"#),
    ];
    let mut function = Function::start(&api, &[], &env);
    assert_eq!(function.exit_code().await, Some(1));
}

#[tokio::test]
async fn outside_of_lambda_the_command_takes_the_programs_place() {
    let line = outside_of_lambda(WRAPPED).await;
    assert!(line.starts_with("Greeter listens on"), "{line}");
}
