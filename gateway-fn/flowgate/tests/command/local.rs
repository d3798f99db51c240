//! `flowgate local` as a person at a terminal sees it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use super::{errors, flowgate};

const ANY_PORTS: [&str; 6] = ["--http", "0", "--websocket", "0", "--lambda", "0"];

/// The function `gateway-fn`, which lies beside the command when the whole workspace is built.
fn gateway_function() -> String {
    let bootstrap = Path::new(env!("CARGO_BIN_EXE_flowgate")).with_file_name("gateway-fn");
    assert!(
        bootstrap.is_file(),
        "{} is missing: run `cargo test --workspace`, which builds it",
        bootstrap.display()
    );
    format!("gateway-fn={}", bootstrap.display())
}

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

/// A `flowgate local` that ends with the test.
struct Started {
    child: Child,
    said: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Started {
    fn start(name: &str, args: &[&str]) -> Self {
        let log = super::file(name, "");
        let mut child = Command::new(env!("CARGO_BIN_EXE_flowgate"))
            .arg("local")
            .args(args)
            .args(ANY_PORTS)
            .env_remove("FLOWGATE_FLOW")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file"))
            .spawn()
            .expect("it runs");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, said, log }
    }

    /// The address behind a label of the banner; they come in its order.
    fn address(&mut self, label: &str) -> String {
        let mut line = String::new();
        while !line.contains(label) {
            line.clear();
            let read = self.said.read_line(&mut line);
            assert_ne!(read.expect("text"), 0, "no {label}");
        }
        let address = line.rsplit(['/', '=']).next().map(str::trim);
        address.expect("an address").to_owned()
    }

    /// The processes of functions.
    fn functions(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads");
        let children = tasks.filter_map(|task| {
            let children = task.ok()?.path().join("children");
            fs::read_to_string(children).ok()
        });
        let children: String = children.collect();
        children.split_whitespace().map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("text")
    }

    /// Ends it as a terminal does.
    fn stop(&mut self) {
        signal("TERM", &self.child.id().to_string());
        assert_eq!(self.child.wait().expect("it was started").code(), Some(0));
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal("TERM", &self.child.id().to_string());
            let _ = self.child.wait();
        }
    }
}

fn signal(name: &str, process: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {process}")])
        .status();
    assert!(status.expect("a shell").success());
}

/// Nobody is there any more, not even to be waited for.
fn is_gone(process: &str) -> bool {
    !Path::new("/proc").join(process).exists()
}

const POST: &str = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;

/// What a client of the WebSocket API gets for a message.
async fn ask(address: &str) -> String {
    let mut request = format!("ws://{address}")
        .into_client_request()
        .expect("a URL");
    let json = "json".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", json);
    let (mut client, answer) = tokio_tungstenite::connect_async(request)
        .await
        .expect("let in");
    assert_eq!(answer.headers()["sec-websocket-protocol"], "json");
    client.send(Message::text(POST)).await.expect("sent");
    let heard = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    let heard = heard.expect("in time").expect("open").expect("a message");
    client.close(None).await.expect("open");
    heard.into_text().expect("text").to_string()
}

#[test]
fn a_bootstrap_serves_both_apis_and_goes_with_them() {
    let bootstrap = &gateway_function();
    let mut started = Started::start("local-both.log", &["--bootstrap", bootstrap]);
    let (http, websocket) = (started.address("HTTP API"), started.address("WebSocket"));
    for _ in 0..10 {
        let answer = send(&http, "POST", "/post", POST);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("hello from Flowgate"),
            "{answer}"
        );
    }
    // One that has answered and not yet asked again is not idle.
    let functions = started.functions().len();
    assert!((1..10).contains(&functions), "{functions}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let heard = runtime.block_on(ask(&websocket));
    assert!(heard.contains("hello from Flowgate"), "{heard}");
    let functions = started.functions();
    started.stop();
    assert!(functions.iter().all(|function| is_gone(function)));
    // The function's log is the terminal's, by its name.
    assert!(started.log().contains("[gateway-fn] "), "{}", started.log());
}

#[test]
fn a_process_that_does_not_answer_is_killed_and_another_takes_its_place() {
    let bootstrap = &gateway_function();
    let args = [
        "--bootstrap",
        bootstrap,
        "--timeout",
        "2",
        "--concurrency",
        "100",
    ];
    let mut started = Started::start("local-killed.log", &args);
    let http = started.address("HTTP API");
    let answer = send(&http, "POST", "/post", POST);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut stopped = Vec::new();
    let failed = (0..20).any(|_| {
        // One that has asked for an invocation takes it, and does not hear SIGTERM either. One that has not asked
        // again yet is passed over for a new one, which is the next to be stopped.
        for function in started.functions() {
            signal("STOP", &function);
            stopped.push(function);
        }
        send(&http, "POST", "/post", POST).starts_with("HTTP/1.1 500")
    });
    assert!(failed, "{stopped:?}");
    assert!(started.log().contains("Task timed out after 2.00 seconds"));
    let answer = send(&http, "POST", "/post", POST);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    started.stop();
    assert!(stopped.iter().all(|function| is_gone(function)));
}

/// A bootstrap's own children are its to end, for which it is told.
#[test]
fn what_a_bootstrap_has_started_ends_with_it() {
    let pid = super::file("local-child.pid", "");
    let script = format!(
        "#!/bin/sh\ntrap 'exit 0' TERM\nsleep 600 &\necho $! > {}\nwait\n",
        pid.display()
    );
    let path = super::file("local-child.sh", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a file of ours");
    let bootstrap = format!("child={}", path.display());
    let mut started = Started::start("local-child.log", &["--bootstrap", &bootstrap]);
    let http = started.address("HTTP API");
    let client = std::thread::spawn(move || send(&http, "GET", "/", ""));
    let child = loop {
        match fs::read_to_string(&pid).expect("a file") {
            child if child.ends_with('\n') => break child.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    started.stop();
    drop(client.join());
    assert!(is_gone(&child) || is_zombie(&child));
}

/// It has ended, and its new parent has not noticed yet.
fn is_zombie(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_request_goes_through_a_runtime_that_is_started_by_hand() {
    let mut started = Started::start("local-by-hand.log", &["--runtime-api"]);
    let http = started.address("HTTP API");
    let runtime = started.address("AWS_LAMBDA_RUNTIME_API");
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
    started.stop();
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
