//! Tests what the log says, at its default level, of an Executor that cannot be called.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use super::Served;

/// Sends a request over HTTP to the Flow's only port and returns the response.
fn post(served: &Served) -> String {
    let url = &served.urls[0];
    let authority = url.strip_prefix("http://").expect("an HTTP URL");
    let mut connection = TcpStream::connect(authority).expect("a connection");
    let head = "POST /post HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                content-type: application/json\r\ncontent-length: 11\r\n\r\n{\"data\":[]}";
    connection.write_all(head.as_bytes()).expect("sent");
    let mut response = String::new();
    connection
        .read_to_string(&mut response)
        .expect("a response");
    response
}

/// Serves a Flow with an Executor at this address, sends a request, and returns the lines of the log about it.
fn log_of(address: &str, keys: &str) -> (String, [String; 2]) {
    let mut served = Served::start(&format!(
        "jtype: Flow\ngateway: {{protocol: http, port: 0{keys}}}\n\
         executors:\n  - {{name: indexer, host: '{address}'}}\n"
    ));
    let response = post(&served);
    let lines = served.wait_for_lines(&["executor unavailable", "request failed"]);
    (response, lines.try_into().expect("two lines"))
}

/// Returns a port of this machine on which nothing listens.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn an_executor_that_takes_no_connection_is_logged_with_its_address_and_the_reason() {
    let port = closed_port();
    let address = format!("localhost:{port}");
    for (keys, is_shown) in [("", true), (", internal_addresses_in_errors: false", false)] {
        let (response, lines) = log_of(&format!("grpc://{address}"), keys);
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert_eq!(response.contains(&address), is_shown, "{response}");
        assert!(!response.contains("refused"), "{response}");
        for line in lines {
            let expected = ["indexer", &address, "127.0.0.1", "Connection refused"];
            for text in expected {
                assert!(line.contains(text), "{text}: {line}");
            }
        }
    }
}

#[test]
fn an_executor_without_tls_is_logged_with_its_address_and_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // Answers in plain text. It ends with the process.
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let address = format!("localhost:{port}");
    let keys = ", internal_addresses_in_errors: false";
    let (response, lines) = log_of(&format!("grpcs://{address}"), keys);
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    assert!(!response.contains("TLS failed"), "{response}");
    for line in lines {
        for text in ["indexer", &address, "TLS failed"] {
            assert!(line.contains(text), "{text}: {line}");
        }
    }
}
