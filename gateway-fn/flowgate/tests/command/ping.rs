//! Tests `flowgate ping` against Executors, Gateways and functions.

use super::*;

#[test]
fn a_ping_without_an_answer_is_1() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    assert_eq!(
        flowgate(&["ping", "gateway", &format!("http://{address}")])
            .status
            .code(),
        Some(1)
    );
}

/// A health check can name every port, although a Flow serves some of them only.
#[test]
fn a_ping_needs_one_of_its_addresses() {
    let served = Served::start(
        "jtype: Flow\ngateway: {protocol: http, port: 0}\nexecutors: [{name: e, uses: 'inproc://greet'}]\n",
    );
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = free.local_addr().expect("bound").to_string();
    drop(free);
    let ping = |addresses: &[&str]| {
        let output = flowgate(&[&["ping", "gateway"], addresses].concat());
        (output.status.code(), errors(&output))
    };
    assert_eq!(ping(&[&closed, &served.urls[0]]).0, Some(0));
    let (status, printed) = ping(&[&closed, &format!("ws://{closed}")]);
    assert_eq!(status, Some(1));
    assert_eq!(printed.matches("is not ready").count(), 2, "{printed}");
    assert_eq!(flowgate(&["ping", "gateway"]).status.code(), Some(64));
}

/// Pings a function behind an Invoke API that answers with this status and JSON, and returns the exit status.
fn ping_function(target: &str, status: u16, body: &str) -> Option<i32> {
    let api = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", api.local_addr().expect("bound"));
    let answer = format!(
        "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = api.accept().expect("a caller");
        let mut request_line = String::new();
        let mut lines = BufReader::new(stream.try_clone().expect("a socket"));
        lines.read_line(&mut request_line).expect("a request");
        stream.write_all(answer.as_bytes()).expect("an answer");
        request_line
    });
    let pinged = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(["ping", target, "lambda://encoder:live"])
        .env("AWS_ENDPOINT_URL_LAMBDA", url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .output()
        .expect("it runs");
    let request_line = serving.join().expect("served");
    assert_eq!(
        request_line.trim_end(),
        "POST /2015-03-31/functions/encoder/invocations?Qualifier=live HTTP/1.1"
    );
    pinged.status.code()
}

#[test]
fn a_function_is_pinged_by_invoking_it() {
    // The status `{"jina": {"a": ""}}` in protobuf.
    let status = r#"{"flowgate":1,"body":"CgUKAWESAA=="}"#;
    assert_eq!(ping_function("executor", 200, status), Some(0));
    assert_eq!(ping_function("flow", 200, status), Some(0));
    assert_eq!(ping_function("executor", 200, "{}"), Some(1));
    assert_eq!(ping_function("executor", 403, "{}"), Some(1));
}
