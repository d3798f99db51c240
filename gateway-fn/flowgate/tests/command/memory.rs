//! Tests what a request may take of the memory of the process.

use std::{
    fs,
    io::{Read as _, Write as _},
};

use super::{Served, TcpStream};

const DECODED_MIB: usize = 128;

/// The most memory that the process has had so far, in MiB.
fn peak_memory(served: &Served) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", served.child.id()));
    let status = status.expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.expect("a peak").trim().strip_suffix("kB");
    let kibibytes: usize = kibibytes.expect("in kB").trim().parse().expect("a number");
    kibibytes >> 10
}

/// Two bytes of text become a value of 32 bytes, from one of 24.
#[test]
fn a_request_takes_no_more_memory_than_its_limit() {
    let limits = format!("limits: {{max_decoded_bytes: {}}}", DECODED_MIB << 20);
    let served = Served::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0, {limits}}}\n"
    ));
    let lists = vec!["[]"; 5_000_000].join(",");
    let body = format!(r#"{{"data":[],"parameters":{{"a":[{lists}]}}}}"#);
    let port = served.urls[0].rsplit(':').next().expect("a port").parse();
    let address = ("127.0.0.1", port.expect("a number"));
    let before = peak_memory(&served);
    let mut client = TcpStream::connect(address).expect("listening");
    let head = format!(
        "POST /post HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).expect("sent");
    client.write_all(body.as_bytes()).expect("sent");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    // While a body arrives it may exist twice.
    let most = before + DECODED_MIB + 2 * (body.len() >> 20) + 16;
    let peak = peak_memory(&served);
    assert!(peak <= most, "{peak} of {most} MiB, {before} before");
}
