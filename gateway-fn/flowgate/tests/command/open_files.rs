//! Tests what the limit of open files means for the connections of clients.

use std::io::{Read as _, Write as _};

use super::{Served, TcpStream};

/// Opens connections and asks on the last one, which the Gateway accepts after the others.
fn ask_on_last_of(connections: usize, served: &Served) -> (Vec<TcpStream>, String) {
    let port = served.urls[0].rsplit(':').next().expect("a port").parse();
    let address = ("127.0.0.1", port.expect("a number"));
    let open = (0..connections).map(|_| TcpStream::connect(address).expect("listening"));
    let mut open: Vec<TcpStream> = open.collect();
    let last = open.last_mut().expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    last.write_all(request).expect("open");
    let mut response = String::new();
    last.read_to_string(&mut response).expect("a response");
    (open, response)
}

const HTTP: &str = "jtype: Flow\ngateway: {protocol: http, port: 0}\n";

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let served = Served::start_after("ulimit -Sn 40", HTTP);
    let (_open, response) = ask_on_last_of(100, &served);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn connections_follow_what_the_hard_limit_of_open_files_leaves() {
    let mut served = Served::start_after("ulimit -n 80", HTTP);
    served.wait_for("the limit of open files allows fewer connections");
    let (_open, response) = ask_on_last_of(30, &served);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
