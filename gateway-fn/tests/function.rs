//! Runs the program `gateway-fn` against a Runtime API in this process, and checks its exit statuses.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

use executor_fn::{Error, Executor, Reply, Request, document_proto::Content};
use gateway::{gateway::Registry, host::lambda::run_with};

const HTTP_API: &str = include_str!("../../tests/events/http_api.json");

fn command() -> Command {
    as_function(Command::new(env!("CARGO_BIN_EXE_gateway-fn")))
}

/// The function [`own_function`].
fn own_command() -> Command {
    let mut command = as_function(Command::new(std::env::current_exe().expect("this program")));
    command.args(["--exact", "own_function", "--ignored", "--nocapture"]);
    command
}

/// A Gateway function with its own Executors.
#[test]
#[ignore = "other tests start it as a function"]
fn own_function() {
    let registry = Registry::default()
        .with("shout", || Executor::new("Shout").on_default(shout))
        .with("broken", || panic!("the model is broken"));
    let _ = run_with(&registry);
}

async fn shout(mut request: Request) -> Result<Reply, Error> {
    let is_function = request.context().lambda().is_some();
    for document in request.documents_mut() {
        if let Some(Content::Text(text)) = &mut document.content {
            *text = format!("{} in a function: {is_function}", text.to_uppercase());
        }
    }
    Ok(request.into_documents().into())
}

/// Sets the variables that Lambda sets.
fn as_function(mut command: Command) -> Command {
    command
        .env_clear()
        .env("AWS_LAMBDA_FUNCTION_NAME", "gateway-fn")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        // Without it the function takes itself for emulated.
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/26/[$LATEST]0")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    command
}

/// A Runtime API that sends one event after another (AWS Lambda, "Using the Lambda runtime API").
struct RuntimeApi {
    socket: TcpListener,
    function: Child,
}

impl RuntimeApi {
    fn start(command: &mut Command) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound").to_string();
        let function = command
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        Self { socket, function }
    }

    /// Sends the function an event when it asks for one. Returns the path and the body of its response.
    fn invoke(&self, event: &str) -> (String, serde_json::Value) {
        let next = self.accept().0;
        answer(next, 200, NEXT_HEADERS, event);
        let (stream, path, body) = self.accept();
        answer(stream, 202, "", "");
        let response = serde_json::from_slice(&body).expect("JSON");
        (path, response)
    }

    /// Accepts the function's next request: its connection, path and body.
    fn accept(&self) -> (TcpStream, String, Vec<u8>) {
        let (stream, _) = self.socket.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        let mut line = String::new();
        reader.read_line(&mut line).expect("a request");
        let path = line.split(' ').nth(1).expect("a path").to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            match header.trim().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        (stream, path, body)
    }

    /// Waits until the function has ended, and returns its exit status.
    fn wait(mut self) -> Option<i32> {
        self.function.wait().expect("it runs").code()
    }

    /// Kills the function and returns its standard output.
    fn stop(self) -> String {
        self.kill().0
    }

    /// Kills the function and returns its standard output and its log.
    fn kill(mut self) -> (String, String) {
        self.function.kill().expect("it runs");
        let output = self.function.wait_with_output().expect("it has ended");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(output.stdout), text(output.stderr))
    }
}

/// The headers of an event (AWS Lambda, "Using the Lambda runtime API").
const NEXT_HEADERS: &str = "lambda-runtime-aws-request-id: r-1\r\n\
    lambda-runtime-deadline-ms: 4000000000000\r\nlambda-runtime-invoked-function-arn: arn\r\n\
    lambda-runtime-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n";

/// Answers the request on a connection, and closes it.
fn answer(mut stream: TcpStream, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n"
    );
    let response = format!("{head}\r\n{body}");
    stream.write_all(response.as_bytes()).expect("sent");
}

fn post(text: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(HTTP_API).expect("JSON");
    event["rawPath"] = "/post".into();
    event["headers"]["content-type"] = "application/json".into();
    event["body"] = format!(r#"{{"data":[{{"text":"{text}"}}],"execEndpoint":"/"}}"#).into();
    event.to_string()
}

#[test]
fn events_are_answered_and_metrics_are_written() {
    let runtime = RuntimeApi::start(&mut command());
    for text in ["first", "second"] {
        let (path, response) = runtime.invoke(&post(text));
        assert_eq!(path, "/2018-06-01/runtime/invocation/r-1/response");
        assert_eq!(response["statusCode"], 200, "{response}");
        assert!(
            response["body"]
                .as_str()
                .is_some_and(|body| body.contains(text))
        );
    }
    let (path, refused) = runtime.invoke(r#"{"Records":[]}"#);
    assert_eq!(path, "/2018-06-01/runtime/invocation/r-1/error");
    assert_eq!(refused["errorType"], "Flowgate.UnknownEvent");
    // The runtime client, which would refuse it with an error of its own, does not parse the payload.
    let (_, refused) = runtime.invoke("{");
    assert_eq!(refused["errorType"], "Flowgate.UnknownEvent");
    let (_, warm) = runtime.invoke(r#"{"source":"serverless-plugin-warmup"}"#);
    assert_eq!(warm, serde_json::json!({"warm": true}));
    let metrics = runtime.stop();
    let lines: Vec<serde_json::Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let cold: Vec<_> = lines
        .iter()
        .filter_map(|line| line["ColdStart"].as_f64())
        .collect();
    assert_eq!(cold, [1.0, 0.0, 0.0]);
    let nodes = lines.iter().filter(|line| line["Executor"] == "greeter");
    assert_eq!(nodes.count(), 2);
}

/// A Flow of one Executor inside the Gateway.
fn flow_of(executor: &str) -> String {
    format!(
        "jtype: Flow\ngateway: {{function: {{metrics: false}}}}\n\
         executors: [{{name: e, uses: 'inproc://{executor}'}}]\n"
    )
}

#[test]
fn an_own_executor_runs_inside_the_gateway_and_sees_the_invocation() {
    let runtime = RuntimeApi::start(own_command().env("FLOWGATE_FLOW", flow_of("shout")));
    let (_, response) = runtime.invoke(&post("hey"));
    assert_eq!(response["statusCode"], 200, "{response}");
    let body = response["body"].as_str().unwrap_or_default();
    assert!(body.contains("HEY in a function: true"), "{body}");
    runtime.stop();
}

#[test]
fn lambda_gets_the_message_of_a_panic_at_the_start() {
    let runtime = RuntimeApi::start(own_command().env("FLOWGATE_FLOW", flow_of("broken")));
    let (stream, path, body) = runtime.accept();
    assert_eq!(path, "/2018-06-01/runtime/init/error");
    let report: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(report["errorType"], "Flowgate.StartFailed");
    assert_eq!(
        report["errorMessage"],
        "the program panicked while it started: the model is broken"
    );
    answer(stream, 202, "", "");
    assert_eq!(runtime.wait(), Some(101));
}

#[test]
fn a_bundled_flow_is_served() {
    let root = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("task-root");
    std::fs::create_dir_all(&root).expect("a folder");
    let flow = "jtype: Flow\ngateway: {no_crud_endpoints: true, function: {metrics: false}}\n";
    std::fs::write(root.join("flow.yml"), flow).expect("a file");
    let runtime = RuntimeApi::start(command().env("LAMBDA_TASK_ROOT", &root));
    let (_, response) = runtime.invoke(&post("alone").replace("/post", "/search"));
    assert_eq!(response["statusCode"], 404, "{response}");
    assert_eq!(runtime.stop(), "");
}

const LAMBDA_FLOW: &str = "jtype: Flow\ngateway: {function: {metrics: false}}\n\
                           executors: [{name: e, host: 'lambda://e'}]\n";

#[test]
fn a_missing_region_or_credentials_are_mistakes_of_the_configuration() {
    let key = ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE");
    let secret = ("AWS_SECRET_ACCESS_KEY", "secret");
    for (set, missing) in [
        (vec![key, secret], "AWS_REGION"),
        (vec![("AWS_REGION", "eu-west-1")], "AWS_ACCESS_KEY_ID"),
    ] {
        let mut function = command();
        function.env("FLOWGATE_FLOW", LAMBDA_FLOW).envs(set);
        let runtime = RuntimeApi::start(&mut function);
        let (_, response) = runtime.invoke(&post("x"));
        assert_eq!(response["statusCode"], 502, "{response}");
        let body = response["body"].as_str().unwrap_or_default();
        assert!(body.contains(missing), "{body}");
        runtime.stop();
    }
}

/// The endpoint accepts connections, and does not answer the handshake of TLS.
#[test]
fn a_silent_endpoint_holds_up_the_start_for_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("bound"));
    let mut function = command();
    function.env("FLOWGATE_FLOW", LAMBDA_FLOW).envs([
        ("AWS_ENDPOINT_URL_LAMBDA", url.as_str()),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    let runtime = RuntimeApi::start(&mut function);
    let (_, path, _) = runtime.accept();
    assert_eq!(path, "/2018-06-01/runtime/invocation/next");
    let (_, log) = runtime.kill();
    let is_timeout = log.contains("warm-up timed out") && log.contains("1s");
    assert!(is_timeout, "{log}");
}

/// Lambda passes an answer on at once, and freezes the function when its extension asks for the next event.
#[test]
fn an_answer_does_not_wait_for_floating_executors() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("bound");
    let flow = format!(
        "jtype: Flow\ngateway: {{function: {{metrics: false}}}}\nexecutors:\n\
         - {{name: greeter, uses: 'inproc://greet'}}\n\
         - {{name: log, host: 'grpc://{address}', floating: true}}\n"
    );
    let runtime = RuntimeApi::start(command().env("FLOWGATE_FLOW", flow));
    let (stream, path, _) = runtime.accept();
    assert_eq!(path, "/2020-01-01/extension/register");
    answer(stream, 200, "lambda-extension-identifier: x\r\n", "{}");
    for _ in 0..2 {
        match runtime.accept() {
            (stream, path, _) if path.ends_with("/extension/event/next") => {
                let event =
                    r#"{"eventType":"INVOKE","requestId":"r-1","deadlineMs":4000000000000}"#;
                answer(stream, 200, "", event);
            }
            (stream, _, _) => answer(stream, 200, NEXT_HEADERS, &post("x")),
        }
    }
    let (stream, path, body) = runtime.accept();
    assert_eq!(path, "/2018-06-01/runtime/invocation/r-1/response");
    let response: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(response["statusCode"], 200, "{response}");
    answer(stream, 202, "", "");
    let (_next, path, _) = runtime.accept();
    assert_eq!(path, "/2018-06-01/runtime/invocation/next");
    // The work ends with its Executor.
    drop(silent);
    let (_, path, _) = runtime.accept();
    assert_eq!(path, "/2020-01-01/extension/event/next");
    runtime.stop();
}

/// On Lambda Managed Instances the function asks for a second event before it has answered the first.
#[test]
fn several_events_run_at_once_on_managed_instances() {
    let runtime = RuntimeApi::start(command().env("AWS_LAMBDA_MAX_CONCURRENCY", "2"));
    let (first, second) = (runtime.accept(), runtime.accept());
    for (_, path, _) in [&first, &second] {
        assert_eq!(path, "/2018-06-01/runtime/invocation/next");
    }
    runtime.stop();
}

/// Returns the exit status of a program that ends by itself, and its standard error.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    (status.code(), stderr)
}

#[test]
fn an_invalid_flow_ends_with_64() {
    let (status, stderr) = run(command().env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9").env(
        "FLOWGATE_FLOW",
        "jtype: Flow\ngateway: {function: {public: true}}\n",
    ));
    assert_eq!(status, Some(64), "{stderr}");
    assert!(stderr.contains("gateway.function.public"), "{stderr}");
}

/// CloudWatch and the console show what the function reports, and not what it prints.
#[test]
fn lambda_is_told_why_the_function_does_not_start() {
    let invalid = (
        "FLOWGATE_FLOW",
        "jtype: Flow\ngateway: {function: {public: true}}\n",
    );
    let unknown = (
        "FLOWGATE_FLOW",
        "jtype: Flow\nexecutors: [{name: e, uses: 'inproc://unknown'}]\n",
    );
    let unset = ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "");
    for ((name, value), error_type, expected) in [
        (invalid, "Flowgate.InvalidFlow", "gateway.function.public"),
        (unknown, "Flowgate.InvalidFlow", "no executor"),
        (
            unset,
            "Flowgate.MissingVariable",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        ),
    ] {
        let mut function = command();
        match value {
            "" => function.env_remove(name),
            value => function.env(name, value),
        };
        let runtime = RuntimeApi::start(&mut function);
        let (stream, path, body) = runtime.accept();
        assert_eq!(path, "/2018-06-01/runtime/init/error");
        let report: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(report["errorType"], error_type);
        let message = report["errorMessage"].as_str().unwrap_or_default();
        assert!(message.contains(expected), "{message}");
        answer(stream, 202, "", "");
        let status = runtime.wait();
        assert_eq!(status, Some(64));
    }
}

#[test]
fn outside_lambda_it_names_the_ways_to_run_it() {
    let (status, stderr) = run(&mut command());
    assert_eq!(status, Some(64));
    assert!(
        stderr.contains("AWS_LAMBDA_RUNTIME_API") && stderr.contains("cargo lambda watch"),
        "{stderr}"
    );
}
