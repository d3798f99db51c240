//! The function `gateway-fn` as Lambda sees it: a Runtime API of the test's own, and the process's exit status.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
};

const HTTP_API: &str = include_str!("../../tests/events/http_api.json");

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway-fn"));
    command
        .env_clear()
        .env("AWS_LAMBDA_FUNCTION_NAME", "gateway-fn")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    command
}

/// A Runtime API that hands out one event after another (AWS Lambda, "Using the Lambda runtime API").
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

    /// Gives the function an event when it asks for one, and takes its answer: where it went, and its body.
    fn invoke(&self, event: &str) -> (String, serde_json::Value) {
        let mut asking = self.take().0;
        let head = "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: r-1\r\n\
             lambda-runtime-deadline-ms: 4000000000000\r\nlambda-runtime-invoked-function-arn: arn\r\n\
             lambda-runtime-trace-id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n\
             connection: close\r\n";
        let length = event.len();
        let answer = format!("{head}content-length: {length}\r\n\r\n{event}");
        asking.write_all(answer.as_bytes()).expect("sent");
        drop(asking);
        let (mut answering, path, body) = self.take();
        answering
            .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .expect("sent");
        let answer = serde_json::from_slice(&body).expect("JSON");
        (path, answer)
    }

    /// The next request of the function.
    fn take(&self) -> (TcpStream, String, Vec<u8>) {
        let (stream, _) = self.socket.accept().expect("the function comes");
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

    /// Ends the function, and says what it wrote to standard output.
    fn end(mut self) -> String {
        self.function.kill().expect("it runs");
        let output = self.function.wait_with_output().expect("it has ended");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn post(executor: &str) -> String {
    let mut event: serde_json::Value = serde_json::from_str(HTTP_API).expect("JSON");
    event["rawPath"] = "/post".into();
    event["headers"]["content-type"] = "application/json".into();
    event["body"] = format!(r#"{{"data":[{{"text":"{executor}"}}],"execEndpoint":"/"}}"#).into();
    event.to_string()
}

#[test]
fn events_are_answered_and_metrics_written() {
    let runtime = RuntimeApi::start(&mut command());
    for text in ["first", "second"] {
        let (path, answer) = runtime.invoke(&post(text));
        assert_eq!(path, "/2018-06-01/runtime/invocation/r-1/response");
        assert_eq!(answer["statusCode"], 200, "{answer}");
        assert!(
            answer["body"]
                .as_str()
                .is_some_and(|body| body.contains(text))
        );
    }
    let (path, refused) = runtime.invoke(r#"{"Records":[]}"#);
    assert_eq!(path, "/2018-06-01/runtime/invocation/r-1/error");
    assert_eq!(refused["errorType"], "Flowgate.UnknownEvent");
    let metrics = runtime.end();
    let lines: Vec<serde_json::Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    let cold: Vec<_> = lines
        .iter()
        .filter_map(|line| line["ColdStart"].as_f64())
        .collect();
    assert_eq!(cold, [1.0, 0.0]);
    let nodes = lines.iter().filter(|line| line["Executor"] == "greeter");
    assert_eq!(nodes.count(), 2);
}

#[test]
fn a_bundled_flow_is_served() {
    let root = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("task-root");
    std::fs::create_dir_all(&root).expect("a folder");
    let flow = "jtype: Flow\ngateway: {no_crud_endpoints: true, function: {metrics: false}}\n";
    std::fs::write(root.join("flow.yml"), flow).expect("a file");
    let runtime = RuntimeApi::start(command().env("LAMBDA_TASK_ROOT", &root));
    let (_, answer) = runtime.invoke(&post("alone").replace("/post", "/search"));
    assert_eq!(answer["statusCode"], 404, "{answer}");
    assert_eq!(runtime.end(), "");
}

/// Lambda Managed Instances: a second event is asked for while the first has no answer.
#[test]
fn several_events_run_at_once_where_lambda_says_so() {
    let runtime = RuntimeApi::start(command().env("AWS_LAMBDA_MAX_CONCURRENCY", "2"));
    let (first, second) = (runtime.take(), runtime.take());
    for (_, path, _) in [&first, &second] {
        assert_eq!(path, "/2018-06-01/runtime/invocation/next");
    }
    runtime.end();
}

fn ended(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    (status.code(), said)
}

#[test]
fn a_flow_that_does_not_hold_is_64() {
    let (status, said) = ended(command().env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9").env(
        "FLOWGATE_FLOW",
        "jtype: Flow\ngateway: {function: {public: true}}\n",
    ));
    assert_eq!(status, Some(64), "{said}");
    assert!(said.contains("gateway.function.public"), "{said}");
}

#[test]
fn outside_lambda_it_says_what_it_is() {
    let (status, said) = ended(&mut command());
    assert_eq!(status, Some(64));
    assert!(
        said.contains("AWS_LAMBDA_RUNTIME_API") && said.contains("cargo lambda watch"),
        "{said}"
    );
}
