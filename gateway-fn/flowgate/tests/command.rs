//! Tests the command line as scripts see it: exit statuses and output.

#[path = "command/executor_log.rs"]
mod executor_log;

#[path = "command/http2.rs"]
mod http2;

#[path = "command/local.rs"]
mod local;

#[path = "command/memory.rs"]
mod memory;

#[path = "command/open_files.rs"]
mod open_files;

#[path = "command/ping.rs"]
mod ping;

#[path = "command/tls.rs"]
mod tls;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

fn flowgate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
    command
        .args(args)
        .env_remove("FLOWGATE_FLOW")
        .output()
        .expect("the command runs")
}

/// A running `flowgate serve`, which is killed at the end of the test.
struct Served {
    child: Child,
    /// The printed endpoints, `SCHEME://localhost:PORT`.
    urls: Vec<String>,
}

impl Served {
    fn start(flow: &str) -> Self {
        Self::start_with(flow, &[])
    }

    fn start_with(flow: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
        command.envs(variables.iter().copied());
        Self::start_by(command, flow)
    }

    /// Starts it after a command of the shell that sets limits.
    fn start_after(limits: &str, flow: &str) -> Self {
        let mut command = Command::new("sh");
        let script = format!("{limits} && exec {}", env!("CARGO_BIN_EXE_flowgate"));
        command.args(["-c", &script]);
        Self::start_by(command, flow)
    }

    fn start_by(mut command: Command, flow: &str) -> Self {
        let mut child = command
            .env("FLOWGATE_FLOW", flow)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let lines = stdout.lines().map(|line| line.expect("text"));
        // The endpoints are the second paragraph of the banner.
        let endpoints = lines.skip(2).take_while(|line| !line.is_empty());
        let url = |line: String| line.split_whitespace().nth(1).map(str::to_owned);
        let urls = endpoints.filter_map(url).collect();
        Self { child, urls }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let killed = Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.expect("a shell").success());
    }

    /// Reads the log until it contains this text, and returns its line.
    fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_lines(&[text]).remove(0)
    }

    /// Reads the log until each of these texts was in a line, in this order, and returns the lines.
    fn wait_for_lines(&mut self, texts: &[&str]) -> Vec<String> {
        let log = BufReader::new(self.child.stderr.as_mut().expect("piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let find = |text: &&str| {
            let found = lines.find(|line| line.contains(text));
            found.unwrap_or_else(|| panic!("the log ended without {text:?}"))
        };
        texts.iter().map(find).collect()
    }

    fn exit_status(&mut self) -> ExitStatus {
        self.child.wait().expect("it was started")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Fails if it has already exited, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file into the directory of temporary files.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_valid_flow_is_0() {
    let output = flowgate(&[
        "check",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/flows/default.yml"),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn an_invalid_flow_is_64_with_one_line_per_error() {
    let flow = "jtype: Flow\ngateway: {port: 99999}\nexecutors:\n  - {name: a, needs: b}\n";
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .env("FLOWGATE_FLOW", flow)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(64));
    let errors = errors(&output);
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(
        errors.contains("FLOWGATE_FLOW:2: gateway.port")
            && errors.contains(":4: executors[0].needs"),
        "{errors}"
    );
}

#[test]
fn bad_arguments_are_64_and_help_is_0() {
    assert_eq!(flowgate(&["serve", "--nonsense"]).status.code(), Some(64));
    assert_eq!(flowgate(&["ping", "nobody", "h:1"]).status.code(), Some(64));
    let help = flowgate(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit status"));
}

#[test]
fn a_port_in_use_is_69() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let flow = format!("jtype: Flow\ngateway: {{port: {port}}}\n");
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .env("FLOWGATE_FLOW", flow)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(69), "{}", errors(&output));
    assert!(errors(&output).contains(&format!("cannot listen on 0.0.0.0:{port}: ")));
}

#[test]
fn executors_and_files_of_this_process_are_checked_too() {
    let unknown = "executors:\n  - {name: a, uses: 'inproc://nobody'}\n";
    let no_file = "gateway: {auth: {api_keys: [{name: a, file: /no/keys}]}}\n";
    for (name, part, message) in [
        (
            "unknown.yml",
            unknown,
            "no executor \"nobody\" is compiled in",
        ),
        ("no_file.yml", no_file, "/no/keys"),
    ] {
        let flow = file(name, &format!("jtype: Flow\n{part}"));
        let path = flow.to_str().expect("UTF-8");
        for command in ["check", "serve"] {
            let output = flowgate(&[command, path]);
            assert_eq!(
                output.status.code(),
                Some(64),
                "{command}: {}",
                errors(&output)
            );
            let lines = errors(&output);
            assert_eq!(lines.lines().count(), 1, "{lines}");
            assert!(lines.contains(message), "{lines}");
        }
    }
}

#[test]
fn check_prints_a_flow_that_is_valid_itself() {
    let flow = file(
        "printed.yml",
        "jtype: Flow\nwith: {prefetch: 7, colour: red}\nexecutors:\n  \
         - {name: a, external: true, host: h, port: 1, grpc_metadata: {token: '${{ ENV.PATH }}', user: swordfish}}\n",
    );
    let check = |arguments: &[&str], path: &Path| {
        let path = path.to_str().expect("UTF-8");
        let output = flowgate(&[&["check", path], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        output
    };
    let output = check(&["--print"], &flow);
    let yaml = String::from_utf8_lossy(&output.stdout);
    for expected in [
        "prefetch: 7",
        "grpc://h:1",
        "shutdown_timeout: 25000",
        "${{ ENV.PATH }}",
        "<redacted>",
    ] {
        assert!(yaml.contains(expected), "{expected} in {yaml}");
    }
    assert!(!yaml.contains("swordfish") && !yaml.contains("colour"));
    assert!(
        errors(&output).contains("warning: "),
        "warnings go to standard error"
    );
    let printed = file("printed_again.yml", &yaml);
    assert_eq!(check(&["--print"], &printed).stdout, output.stdout);
    check(&["--strict"], &printed);
}

#[test]
fn an_argument_without_its_value_is_64() {
    let output = flowgate(&["gateway", "--port"]);
    assert_eq!(output.status.code(), Some(64));
    let errors = errors(&output);
    assert_eq!(
        errors,
        "flowgate: argument --port: expected at least one argument\n"
    );
}

#[test]
fn an_invalid_log_filter_is_reported_in_one_line() {
    let flow = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infra/flows/default.yml");
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .args(["check", flow])
        .env("FLOWGATE_LOG", "gateway=loud")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let errors = errors(&output);
    assert!(
        errors.lines().count() == 1 && errors.contains("FLOWGATE_LOG"),
        "{errors}"
    );
}

#[test]
fn a_log_outside_a_terminal_has_no_colours() {
    let mut served = Served::start("jtype: Flow\ngateway: {protocl: http, port: 0}\n");
    served.signal("TERM");
    let mut log = String::new();
    let stderr = served.child.stderr.as_mut().expect("piped");
    std::io::Read::read_to_string(stderr, &mut log).expect("text");
    assert!(
        log.contains("protocl") && !log.contains('\u{1b}'),
        "{log:?}"
    );
    assert_eq!(served.exit_status().code(), Some(0));
}

/// Sends the head of a request, and returns the connection when the Gateway waits for the body.
fn begin_request(served: &Served) -> TcpStream {
    let port = served.urls[0].rsplit(':').next().expect("a port").parse();
    let mut client = TcpStream::connect(("127.0.0.1", port.expect("a number"))).expect("listening");
    let head = b"POST /post HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\
        expect: 100-continue\r\n\r\n";
    client.write_all(head).expect("sent");
    let mut answer = String::new();
    BufReader::new(&client)
        .read_line(&mut answer)
        .expect("an answer");
    assert!(answer.contains("100 Continue"), "{answer}");
    client
}

/// The request never sends its body, so the first signal alone would wait for the whole shutdown timeout.
#[test]
fn a_second_signal_stops_at_once() {
    let mut served = Served::start(
        "jtype: Flow\ngateway: {protocol: http, port: 0, shutdown_timeout: 600000}\n",
    );
    let _client = begin_request(&served);
    served.signal("TERM");
    served.wait_for("finishing requests in flight");
    served.signal("INT");
    assert_eq!(served.exit_status().code(), Some(1));
}

#[test]
fn work_that_is_cut_off_is_1() {
    let mut served =
        Served::start("jtype: Flow\ngateway: {protocol: http, port: 0, shutdown_timeout: 50}\n");
    let _client = begin_request(&served);
    served.signal("TERM");
    assert_eq!(served.exit_status().code(), Some(1));
}

#[test]
fn a_gateway_behind_tls_is_pinged() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = file("ping_cert.pem", &cert.pem());
    let key = file("ping_key.pem", &signing_key.serialize_pem());
    let served = Served::start(&format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http, websocket], port: [0, 0, 0], ssl_certfile: {}, ssl_keyfile: {}}}\n",
        certificate.display(),
        key.display()
    ));
    assert_eq!(served.urls.len(), 3, "{:?}", served.urls);
    for url in &served.urls {
        for target in ["gateway", "flow"] {
            let ping = |roots: &str| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
                command.args(["ping", target, url]);
                command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", roots);
                command.output().expect("it runs")
            };
            let trusting = ping(certificate.to_str().expect("UTF-8"));
            assert_eq!(
                trusting.status.code(),
                Some(0),
                "{url}: {}",
                errors(&trusting)
            );
            let failed = ping("/no/roots.pem");
            assert_eq!(failed.status.code(), Some(1));
            assert!(
                errors(&failed).contains("trusted roots"),
                "{}",
                errors(&failed)
            );
        }
    }
}

/// Returns the log of a Gateway at level `debug`, from start to end.
fn debug_log(flow: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .env("FLOWGATE_FLOW", flow)
        .env("FLOWGATE_LOG", "debug")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let url = stdout.lines().map(|line| line.expect("text"));
    let url = url
        .skip(2)
        .find_map(|line| line.split_whitespace().nth(1).map(str::to_owned));
    // When a request has been answered, the work that runs at start has begun.
    flowgate(&["ping", "flow", &url.expect("an endpoint")]);
    let kill = format!("kill -TERM {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status();
    assert!(killed.expect("a shell").success());
    errors(&child.wait_with_output().expect("it ends"))
}

#[test]
fn only_a_flow_with_lambda_executors_uses_aws() {
    let gateway = "jtype: Flow\ngateway: {protocol: grpc, port: 0";
    let without = debug_log(&format!(
        "{gateway}}}\nexecutors: [{{name: e, uses: 'inproc://greet'}}]\n"
    ));
    assert!(without.contains("stopped"), "{without}");
    assert!(
        !without.contains("aws") && !without.contains("Lambda"),
        "{without}"
    );
    let with = debug_log(&format!(
        "{gateway}, retries: 0, invoke: {{endpoint_url: 'http://127.0.0.1:9', sign: false}}}}\n\
         executors: [{{name: e, host: 'lambda://e'}}]\n"
    ));
    assert!(with.contains("built the Lambda client"), "{with}");
}
