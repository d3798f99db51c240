//! The command `flowgate local` with real processes: its banner, its functions, its signals and its exit status.

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

/// Returns the `--bootstrap` argument for `gateway-fn`, which is beside the command after a build of the workspace.
fn gateway_bootstrap() -> String {
    let bootstrap = Path::new(env!("CARGO_BIN_EXE_flowgate")).with_file_name("gateway-fn");
    assert!(
        bootstrap.is_file(),
        "{} is missing: run `cargo test --workspace`, which builds it",
        bootstrap.display()
    );
    format!("gateway-fn={}", bootstrap.display())
}

/// Sends a request on a new connection. Returns the complete response.
fn send(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("listening");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("text");
    response
}

/// A running `flowgate local`, which ends with the test.
struct Emulator {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Emulator {
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
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout, log }
    }

    /// Returns the address after a label of the banner. Labels must be asked for in the banner's order.
    fn address(&mut self, label: &str) -> String {
        let mut line = String::new();
        while !line.contains(label) {
            line.clear();
            let bytes = self.stdout.read_line(&mut line);
            assert_ne!(bytes.expect("text"), 0, "{label} is missing");
        }
        let address = line.rsplit(['/', '=']).next().map(str::trim);
        address.expect("an address").to_owned()
    }

    /// Returns the process ids of functions.
    fn function_processes(&self) -> Vec<String> {
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

    /// Stops the emulator by SIGTERM and waits for its end.
    fn stop(&mut self) {
        signal("TERM", &self.child.id().to_string());
        assert_eq!(self.child.wait().expect("it was started").code(), Some(0));
    }
}

impl Drop for Emulator {
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

/// Whether the process has ended and its parent has waited for it.
fn is_gone(process: &str) -> bool {
    !Path::new("/proc").join(process).exists()
}

const POST: &str = r#"{"data":[{"text":"hello"}],"execEndpoint":"/"}"#;

/// Sends [`POST`] as a client of the WebSocket API. Returns the response.
async fn post_over_websocket(address: &str) -> String {
    let mut request = format!("ws://{address}")
        .into_client_request()
        .expect("a URL");
    let json = "json".parse().expect("a header");
    request.headers_mut().insert("sec-websocket-protocol", json);
    let (mut client, response) = tokio_tungstenite::connect_async(request)
        .await
        .expect("accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "json");
    client.send(Message::text(POST)).await.expect("sent");
    let received = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    let received = received
        .expect("in time")
        .expect("open")
        .expect("a message");
    client.close(None).await.expect("open");
    received.into_text().expect("text").to_string()
}

#[test]
fn a_bootstrap_serves_both_apis_and_ends_with_the_emulator() {
    let bootstrap = &gateway_bootstrap();
    let mut emulator = Emulator::start("local-both.log", &["--bootstrap", bootstrap]);
    let (http, websocket) = (emulator.address("HTTP API"), emulator.address("WebSocket"));
    for _ in 0..10 {
        let response = send(&http, "POST", "/post", POST);
        assert!(
            response.starts_with("HTTP/1.1 200") && response.contains("hello from Flowgate"),
            "{response}"
        );
    }
    // A process that has responded and not polled again yet is not idle, so that there may be several.
    let functions = emulator.function_processes().len();
    assert!((1..10).contains(&functions), "{functions}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let received = runtime.block_on(post_over_websocket(&websocket));
    assert!(received.contains("hello from Flowgate"), "{received}");
    let functions = emulator.function_processes();
    emulator.stop();
    assert!(functions.iter().all(|function| is_gone(function)));
    let log = emulator.log();
    let invocations = log.matches("[gateway-fn] REPORT RequestId: ").count();
    // Those of the HTTP API, and $connect, the message and perhaps $disconnect.
    assert!((12..=13).contains(&invocations), "{log}");
    assert!(log.contains("Init Duration: "), "{log}");
    // No service reads metrics from this log.
    assert!(!log.contains("CloudWatchMetrics"), "{log}");
}

#[test]
fn a_flow_is_checked_before_anything_starts() {
    let yaml = "jtype: Flow\nexecutors: [{name: e, host: 'lambda://${{ ENV.EXECUTOR }}', needs: nobody}]\n";
    let flow = super::file("local-flow.yml", yaml);
    let flow = flow.to_str().expect("UTF-8");
    let bootstrap = &gateway_bootstrap();
    let words = ["local", "--bootstrap", bootstrap, "--flow", flow];
    let without = flowgate(&[&words[..], &ANY_PORTS].concat());
    assert_eq!(without.status.code(), Some(64));
    let printed = errors(&without);
    assert!(printed.contains("ENV.EXECUTOR"), "{printed}");
    assert!(without.stdout.is_empty());
    // The variables of the function count, not those of this process.
    let with = flowgate(&[&words[..], &ANY_PORTS, &["--env", "EXECUTOR=executor-fn"]].concat());
    let printed = errors(&with);
    assert!(
        !printed.contains("ENV.EXECUTOR") && printed.contains("nobody"),
        "{printed}"
    );
    let missing = flowgate(&["local", "--bootstrap", bootstrap, "--flow", "/no/flow.yml"]);
    assert_eq!(missing.status.code(), Some(64));
}

#[test]
fn a_flow_beside_the_bootstrap_is_checked_with_all_variables_of_the_function() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bundled-flow");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    let program = gateway_bootstrap();
    let (_, program) = program.split_once('=').expect("a name and a path");
    let bootstrap = directory.join("bootstrap");
    std::os::unix::fs::symlink(program, &bootstrap).expect("a link");
    let yaml = "jtype: Flow\ngateway:\n  invoke: {endpoint_url: '${{ ENV.AWS_ENDPOINT_URL_LAMBDA }}'}\n\
                executors: [{name: e, host: 'lambda://${{ ENV._HANDLER }}', needs: nobody}]\n";
    fs::write(directory.join("flow.yml"), yaml).expect("written");
    let bootstrap = bootstrap.to_str().expect("UTF-8");
    let output = flowgate(&[&["local", "--bootstrap", bootstrap][..], &ANY_PORTS].concat());
    assert_eq!(output.status.code(), Some(64));
    let printed = errors(&output);
    assert!(
        printed.contains("bundled-flow/flow.yml") && printed.contains("nobody"),
        "{printed}"
    );
    assert!(!printed.contains("ENV."), "{printed}");
}

#[test]
fn a_process_that_does_not_respond_is_killed_and_replaced() {
    let bootstrap = &gateway_bootstrap();
    let args = [
        "--bootstrap",
        bootstrap,
        "--timeout",
        "2",
        "--concurrency",
        "100",
    ];
    let mut emulator = Emulator::start("local-killed.log", &args);
    let http = emulator.address("HTTP API");
    let response = send(&http, "POST", "/post", POST);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    let mut stopped = Vec::new();
    let failed = (0..20).any(|_| {
        // A stopped process that polls is given the invocation, and ignores SIGTERM. One that has not polled again yet
        // is passed over for a new process, which is stopped in the next round.
        for function in emulator.function_processes() {
            signal("STOP", &function);
            stopped.push(function);
        }
        send(&http, "POST", "/post", POST).starts_with("HTTP/1.1 500")
    });
    assert!(failed, "{stopped:?}");
    assert!(emulator.log().contains("Task timed out after 2.00 seconds"));
    let response = send(&http, "POST", "/post", POST);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    emulator.stop();
    assert!(stopped.iter().all(|function| is_gone(function)));
}

/// A bootstrap ends its children when it receives SIGTERM.
#[test]
fn a_bootstraps_children_end_with_it() {
    let pid = super::file("local-child.pid", "");
    let script = format!(
        "#!/bin/sh\ntrap 'exit 0' TERM\nsleep 600 &\necho $! > {}\nwait\n",
        pid.display()
    );
    let path = super::file("local-child.sh", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable");
    let bootstrap = format!("child={}", path.display());
    let mut emulator = Emulator::start("local-child.log", &["--bootstrap", &bootstrap]);
    let http = emulator.address("HTTP API");
    let client = std::thread::spawn(move || send(&http, "GET", "/", ""));
    let child = loop {
        match fs::read_to_string(&pid).expect("a file") {
            child if child.ends_with('\n') => break child.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    emulator.stop();
    drop(client.join());
    assert!(is_gone(&child) || is_zombie(&child));
}

/// Whether the process has ended and its new parent has not waited for it yet.
fn is_zombie(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_request_goes_through_an_external_runtime() {
    let mut emulator = Emulator::start("local-external.log", &["--runtime-api"]);
    let http = emulator.address("HTTP API");
    let runtime = emulator.address("AWS_LAMBDA_RUNTIME_API");
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
    let accepted = send(
        &runtime,
        "POST",
        &path,
        "{\"statusCode\":200,\"body\":\"hi\"}",
    );
    assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
    let response = client.join().expect("a response");
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with("hi"),
        "{response}"
    );
    emulator.stop();
}

#[test]
fn a_port_in_use_exits_with_69_and_invalid_arguments_with_64() {
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
