//! The command line as scripts see it: exit status, and what is said where.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

fn flowgate(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowgate"));
    command
        .args(args)
        .env_remove("FLOWGATE_FLOW")
        .output()
        .expect("the command runs")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_flow_that_holds_is_0() {
    let output = flowgate(&[
        "check",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/flows/default.yml"),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}

#[test]
fn a_flow_that_does_not_hold_is_64_with_one_line_a_fault() {
    let flow = "jtype: Flow\ngateway: {port: 99999}\nexecutors:\n  - {name: a, needs: b}\n";
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .env("FLOWGATE_FLOW", flow)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(64));
    let said = errors(&output);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("FLOWGATE_FLOW:2: gateway.port") && said.contains(":4: executors[0].needs"),
        "{said}"
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
fn a_port_that_is_taken_is_69() {
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let flow = format!("jtype: Flow\ngateway: {{port: {port}}}\n");
    let output = Command::new(env!("CARGO_BIN_EXE_flowgate"))
        .env("FLOWGATE_FLOW", flow)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(69), "{}", errors(&output));
    assert!(errors(&output).contains(&port.to_string()));
}

#[test]
fn nobody_to_ping_is_1() {
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
