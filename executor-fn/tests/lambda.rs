//! The program `executor-fn` as a Lambda function, against a small emulation of the Runtime API.

#[path = "lambda/after_answer.rs"]
mod after_answer;
#[path = "lambda/function.rs"]
mod function;
#[path = "lambda/runtime_api.rs"]
mod runtime_api;

use std::time::Duration;

use executor_fn::{ServeError, run_program};
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

const PLAIN_JSON: &str = r#"{"data":[{"id":"d","text":"hello"}],"execEndpoint":"/"}"#;

/// A command for `executor-fn` to run: `executor-fn` itself, which serves gRPC without a Runtime API.
const COMMAND: &[&str] = &["--", BIN, "--port", "{port}", "--name", "wrapped"];

fn answer(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answer(text) => text,
        Outcome::Error(text) => panic!("a function error: {text}"),
    }
}

fn function_error(outcome: Outcome) -> FunctionError {
    match outcome {
        Outcome::Error(text) => serde_json::from_str(&text).expect("an error object"),
        Outcome::Answer(text) => panic!("an answer: {text}"),
    }
}

fn invocation(requests: usize) -> String {
    let mut request = DataRequest::default();
    request.header.exec_endpoint = Some("/".to_owned());
    request.documents = vec![DocumentProto {
        content: Some(Content::Text("hello".to_owned())),
        ..DocumentProto::default()
    }]
    .into();
    let requests = vec![request; requests];
    let list = DataRequestListProto { requests }.encode_to_vec();
    let payload = Invocation::process(&list, flowgate_proto::Compression::Zstd);
    let text = payload.expect("an invocation").to_json().expect("JSON");
    String::from_utf8(text).expect("UTF-8")
}

#[tokio::test]
async fn invocations_are_answered_one_after_the_other() {
    let api = RuntimeApi::start().await;
    let _function = Function::start(&api, &[], &[]);
    let greeting = answer(api.invoke(PLAIN_JSON).await);
    assert!(greeting.contains("hello from Flowgate"), "{greeting}");
    let broken = function_error(api.invoke("{").await);
    assert_eq!(
        broken.kind(),
        Some(FunctionErrorKind::BadPayload),
        "{broken:?}"
    );
    let endpoints = Invocation::new(Call::Endpoints).to_json().expect("JSON");
    let endpoints = String::from_utf8(endpoints).expect("UTF-8");
    let text = answer(api.invoke(&endpoints).await);
    let endpoints: EndpointsProto = InvocationResponse::from_json(&text)
        .and_then(|answer| answer.decode_message(1 << 20))
        .expect("endpoints");
    assert_eq!(endpoints.endpoints, ["/default", "_jina_dry_run_"]);
    assert_eq!(api.max_open_polls(), 1);
}

#[tokio::test]
async fn on_managed_instances_several_invocations_are_polled_for() {
    let api = RuntimeApi::start().await;
    let _function = Function::start(&api, &[], &[("AWS_LAMBDA_MAX_CONCURRENCY", "3")]);
    answer(api.invoke(PLAIN_JSON).await);
    api.wait_until(|api| api.max_open_polls() == 3).await;
}

/// The reported error of a function that does not start: the type and the message.
fn init_error(api: &RuntimeApi) -> (String, String) {
    let mut errors = api.init_errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let (error_type, body) = errors.remove(0);
    let error: FunctionError = serde_json::from_str(&body).expect("an error object");
    assert_eq!(error.error_type, error_type);
    (error_type, error.error_message)
}

#[tokio::test]
async fn lambda_gets_the_reason_why_a_function_does_not_start() {
    let settings = "Flowgate.InvalidSettings";
    let command = "Flowgate.CommandFailed";
    for (arguments, env, status, error_type, reason) in [
        (
            &[][..],
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
            64,
            settings,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        ),
        (
            &[],
            ("FLOWGATE_EXECUTOR", "greeter"),
            64,
            settings,
            "\"greeter\": expected greet or pass_through",
        ),
        (
            &[],
            ("FLOWGATE_EXECUTOR_COMMAND", "[\"jina\", 1]"),
            64,
            settings,
            "FLOWGATE_EXECUTOR_COMMAND",
        ),
        (
            &[],
            ("FLOWGATE_EXECUTOR_COMMAND", "[]"),
            64,
            settings,
            "FLOWGATE_EXECUTOR_COMMAND",
        ),
        (
            &["--prot", "1"],
            ("FLOWGATE_EXECUTOR", ""),
            64,
            settings,
            "unexpected argument \"--prot\"",
        ),
        (
            &["/there-is-no-such-program"],
            ("FLOWGATE_COMMAND_STARTS", "1"),
            1,
            command,
            "/there-is-no-such-program",
        ),
        (
            &["sleep", "0"],
            ("FLOWGATE_COMMAND_STARTS", "1"),
            1,
            command,
            "exit status: 0",
        ),
    ] {
        let api = RuntimeApi::start().await;
        let mut function = Function::start(&api, arguments, &[env]);
        assert_eq!(function.exit_code().await, Some(status), "{env:?}");
        let (found, message) = init_error(&api);
        assert_eq!(found, error_type, "{message}");
        assert!(message.contains(reason), "{env:?}: {message}");
        assert_eq!(api.max_open_polls(), 0);
    }
}

/// Which preparation of [`prepared_function`] fails.
const FAILING: &str = "TEST_FAILING_PREPARATION";

/// A program that prepares something before it serves.
#[tokio::test]
#[ignore = "other tests start it as a function"]
async fn prepared_function() {
    let Ok(failing) = std::env::var(FAILING) else {
        return;
    };
    let served = run_program(async {
        assert_ne!(failing, "panic", "the model is broken");
        Err(ServeError::prepare("the index is missing"))
    });
    assert_eq!(served.await, std::process::ExitCode::SUCCESS);
}

#[tokio::test]
async fn lambda_gets_the_reason_why_a_program_cannot_prepare_its_executor() {
    for (failing, reason) in [
        ("panic", "the program panicked while it started: "),
        ("panic", "the model is broken"),
        (
            "error",
            "the Executor cannot be prepared: the index is missing",
        ),
    ] {
        let api = RuntimeApi::start().await;
        let mut function = Function::start_test("prepared_function", &api, &[(FAILING, failing)]);
        // The status of a test that panics.
        assert_eq!(function.exit_code().await, Some(101), "{failing}");
        let (error_type, message) = init_error(&api);
        assert_eq!(error_type, "Flowgate.StartFailed");
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn outside_of_lambda_errors_are_text_with_an_exit_status() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (arguments, status, reason) in [
        (&["--port", "70000"][..], 64, "port \"70000\" is invalid"),
        (&["--port", &port], 69, "cannot listen on 0.0.0.0:"),
        (&["/there-is-no-such-program"], 1, "cannot start \"/there"),
    ] {
        let output = function::run_outside_of_lambda(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(text.starts_with("error: "), "{text}");
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn help_and_version_are_printed() {
    for (argument, expected) in [
        ("--help", "FLOWGATE_EXECUTOR_COMMAND"),
        ("--version", "Greeter (executor-fn 3.13.2+"),
    ] {
        let output = function::run_outside_of_lambda(&[argument]).await;
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains(expected), "{text}");
    }
}

/// Without the chain of causes, the log line would only say that something failed.
#[tokio::test]
async fn the_log_says_why_a_function_does_not_start() {
    let api = RuntimeApi::start().await;
    let log = Function::log(&api, &[("FLOWGATE_MEMORY_PERCENT", "500")]).await;
    let line: serde_json::Value = serde_json::from_str(log.trim()).expect("a line of JSON");
    let error = line["error"].as_str().expect("an error");
    assert!(
        error.contains("FLOWGATE_MEMORY_PERCENT") && error.contains("500"),
        "{error}"
    );
}

#[tokio::test]
async fn a_command_answers_and_is_restarted_when_it_dies() {
    let api = RuntimeApi::start().await;
    let function = Function::start(&api, COMMAND, &[]);
    for count in [1, 2] {
        let text = answer(api.invoke(&invocation(count)).await);
        let answer = InvocationResponse::from_json(&text).expect("an answer");
        let message: DataRequest = answer.decode_message(1 << 20).expect("a message");
        assert_eq!(message.routes[0].executor, "wrapped");
        let documents = message.documents.into_vec().expect("documents");
        assert_eq!(documents.len(), count + 1);
    }
    let first = function.command();
    function::kill(first);
    // An error if the end of the command is not noticed yet, otherwise an answer of the next run.
    let meanwhile = api.invoke(&invocation(1)).await;
    if let Outcome::Error(_) = meanwhile {
        let error = function_error(meanwhile);
        assert_eq!(
            error.kind(),
            Some(FunctionErrorKind::Unavailable),
            "{error:?}"
        );
    }
    answer(api.invoke(&invocation(1)).await);
    assert_ne!(function.command(), first);
}

/// Creates a program `jina` in a new directory, which serves as `executor-fn` does with the options of `jina executor`.
fn jina_stand_in(test: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&directory).expect("a directory");
    let program = directory.join("jina");
    std::fs::write(&program, format!("#!/bin/sh\nshift\nexec {BIN} \"$@\"\n")).expect("a file");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("an executable");
    program
}

#[tokio::test]
async fn a_jina_executor_without_a_name_has_the_one_in_the_callers_flow() {
    let jina = jina_stand_in("without_a_name");
    let command = ["--", jina.to_str().expect("UTF-8"), "executor"];
    for (env, expected) in [
        (("FLOWGATE_LOG", "info"), "node"),
        (("JINA_DEPLOYMENT_NAME", "chosen"), "chosen"),
    ] {
        let api = RuntimeApi::start().await;
        let _function = Function::start(&api, &command, &[env]);
        let mut payload: serde_json::Value =
            serde_json::from_str(&invocation(1)).expect("an object");
        payload["executor"] = "node".into();
        let text = answer(api.invoke(&payload.to_string()).await);
        let answer = InvocationResponse::from_json(&text).expect("an answer");
        let message: DataRequest = answer.decode_message(1 << 20).expect("a message");
        assert_eq!(message.routes[0].executor, expected);
    }
}

#[tokio::test]
async fn a_command_is_stopped_with_the_function() {
    let api = RuntimeApi::start().await;
    let mut function = Function::start(&api, COMMAND, &[]);
    answer(api.invoke(PLAIN_JSON).await);
    assert!(
        api.has_extension(),
        "without an extension Lambda sends no SIGTERM"
    );
    let command = function.command();
    function.terminate();
    assert_eq!(function.exit_code().await, Some(0));
    assert!(!function::exists(command));
}

#[tokio::test]
async fn a_command_that_is_not_ready_in_time_fails_the_start() {
    let api = RuntimeApi::start().await;
    let timeout = [("FLOWGATE_COMMAND_START_TIMEOUT", "1")];
    let mut function = Function::start(&api, &["--", "sleep", "60"], &timeout);
    assert_eq!(function.exit_code().await, Some(1));
    assert_eq!(api.max_open_polls(), 0);
    let (_, message) = init_error(&api);
    assert!(message.contains("not ready after 1 s"), "{message}");
}

#[tokio::test]
async fn invocations_wait_for_a_command_that_starts_later() {
    let api = RuntimeApi::start().await;
    let later = [("FLOWGATE_COMMAND_START", "later")];
    let _function = Function::start(&api, &["sleep", "60"], &later);
    let error = function_error(api.invoke_for(PLAIN_JSON, Duration::from_millis(400)).await);
    assert_eq!(
        error.kind(),
        Some(FunctionErrorKind::Unavailable),
        "{error:?}"
    );
    assert!(error.error_message.contains("being started"), "{error:?}");
}

#[tokio::test]
async fn a_command_that_ends_too_often_ends_the_function() {
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
async fn outside_of_lambda_the_command_replaces_the_program() {
    let line = outside_of_lambda(COMMAND).await;
    assert!(line.starts_with("Greeter listens on"), "{line}");
}
