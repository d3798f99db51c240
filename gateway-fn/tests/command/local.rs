//! `flowgate local` as a person at a terminal sees it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{errors, flowgate};

const ANY_PORTS: [&str; 6] = ["--http", "0", "--websocket", "0", "--lambda", "0"];

/// One request on a connection of its own, and the whole answer.
fn send(to: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(to).expect("listening");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_request_goes_through_a_runtime_that_is_started_by_hand() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(["local", "--runtime-api"])
        .args(ANY_PORTS)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = BufReader::new(child.stdout.take().expect("piped"));
    let mut started = Started(child);
    let mut address = |label: &str| {
        let mut line = String::new();
        while !line.contains(label) {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("text"), 0, "no {label}");
        }
        let address = line.rsplit(['/', '=']).next().map(str::trim);
        address.expect("an address").to_owned()
    };
    let (http, runtime) = (address("HTTP API"), address("AWS_LAMBDA_RUNTIME_API"));
    let client = std::thread::spawn(move || send(&http, "GET", "/hello", ""));
    let next = send(&runtime, "GET", "/2018-06-01/runtime/invocation/next", "");
    assert!(next.contains("\"rawPath\":\"/hello\""), "{next}");
    let id = next
        .lines()
        .find_map(|line| line.strip_prefix("lambda-runtime-aws-request-id: "));
    let path = format!(
        "/2018-06-01/runtime/invocation/{}/response",
        id.expect("an id")
    );
    let taken = send(
        &runtime,
        "POST",
        &path,
        "{\"statusCode\":200,\"body\":\"hi\"}",
    );
    assert!(taken.starts_with("HTTP/1.1 202"), "{taken}");
    let answer = client.join().expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hi"),
        "{answer}"
    );

    let stop = format!("kill -TERM {}", started.0.id());
    let stopped = Command::new("sh").args(["-c", &stop]).status();
    assert!(stopped.expect("a shell").success());
    assert_eq!(started.0.wait().expect("it was started").code(), Some(0));
}

#[test]
fn a_taken_port_is_69_and_bad_arguments_are_64() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let output = flowgate(&["local", "--runtime-api", "--http", &port]);
    assert_eq!(output.status.code(), Some(69), "{}", errors(&output));
    assert!(errors(&output).contains(&port));
    for args in [
        &["local"][..],
        &["local", "--bootstrap", "/no/such/file"],
        &["local", "--endpoint", "ftp://h:1", "--function", "f"],
        &["local", "--runtime-api", "--stage", "a/b"],
    ] {
        assert_eq!(flowgate(args).status.code(), Some(64), "{args:?}");
    }
}
