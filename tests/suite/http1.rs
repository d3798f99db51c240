//! HTTP/1 as raw bytes: responses that come before the body was read, heads that could be read in two ways, slow clients,
//! and connections between requests.

use std::{fs, sync::Arc, time::Duration};

use flowgate::container::Shutdown;
use flowgate_config::Protocol;
use flowgate_tests::{flow::ServedGateway, gate::Gate};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

const FLOW: &str = "jtype: Flow\ngateway: {protocol: http, port: 0, SETTINGS}\n\
                    executors:\n  - {name: g, uses: 'inproc://greet'}\n";

async fn serve(settings: &str) -> ServedGateway {
    ServedGateway::start(&FLOW.replace("SETTINGS", settings)).await
}

async fn connect(gateway: &ServedGateway) -> TcpStream {
    let authority = gateway.authority(Protocol::Http);
    TcpStream::connect(authority).await.expect("a connection")
}

/// Sends a head and a body of this many bytes, in pieces and to the end, before it reads: many clients do.
async fn send_then_read(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: usize,
) -> String {
    let head = format!("{head}host: a\r\ncontent-length: {body}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("head sent");
    let piece = vec![b' '; 16 << 10];
    let mut left = body;
    while left > 0 {
        let size = left.min(piece.len());
        socket
            .write_all(&piece[..size])
            .await
            .unwrap_or_else(|error| panic!("{left} of {body} bytes unsent: {error}"));
        socket.flush().await.expect("flushed");
        left -= size;
    }
    read_to_end(socket).await
}

/// Reads a response, and that the connection ends cleanly.
async fn read_to_end(mut socket: impl AsyncRead + Unpin) -> String {
    let mut response = Vec::new();
    socket
        .read_to_end(&mut response)
        .await
        .unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&response)));
    String::from_utf8(response).expect("text")
}

const MANY_BYTES: usize = 5 << 20;

#[tokio::test]
async fn a_response_before_the_body_is_read_reaches_the_client() {
    let gateway = serve("limits: {max_message_bytes: 1000000}, no_crud_endpoints: true").await;
    for (head, body, status) in [
        ("POST /nowhere HTTP/1.1\r\n", MANY_BYTES, "404"),
        ("PUT /post HTTP/1.1\r\n", MANY_BYTES, "405"),
        ("POST /post HTTP/1.1\r\n", MANY_BYTES, "413"),
        (
            "POST /post HTTP/1.1\r\ncontent-encoding: br\r\n",
            900_000,
            "415",
        ),
        ("POST /post HTTP/1.1\r\n", 900_000, "422"),
    ] {
        let socket = connect(&gateway).await;
        let head = format!("{head}content-type: application/json\r\nconnection: close\r\n");
        let response = send_then_read(socket, &head, body).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&start), "{head} -> {response}");
        assert!(response.ends_with('}'), "{head} -> {response}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_without_a_length_gets_its_response() {
    let gateway = serve("limits: {max_message_bytes: 1000}").await;
    let mut socket = connect(&gateway).await;
    let head = "POST /post HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..80 {
        socket.write_all(chunk.as_bytes()).await.expect("sent");
    }
    socket.write_all(b"0\r\n\r\n").await.expect("sent");
    let response = read_to_end(socket).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    gateway.stop().await;
}

#[tokio::test]
async fn an_unauthenticated_body_gets_its_response() {
    let key = "0123456789abcdef0123456789abcdef";
    let gateway = serve(&format!("auth: {{api_keys: [{{name: k, key: {key}}}]}}")).await;
    let head = "POST /post HTTP/1.1\r\nconnection: close\r\n";
    let response = send_then_read(connect(&gateway).await, head, MANY_BYTES).await;
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_400() {
    let gateway = serve("").await;
    let chunked = "transfer-encoding: chunked\r\n";
    let body = "0\r\n\r\n";
    for head in [
        String::new(),
        "host: a\r\nhost: b\r\n".to_owned(),
        "host: a\r\ntransfer-encoding: gzip, chunked\r\n".to_owned(),
        "host: a\r\ntransfer-encoding: chunked, gzip\r\n".to_owned(),
        format!("host: a\r\n{chunked}{chunked}"),
        format!("host: a\r\ncontent-length: 5\r\n{chunked}"),
        format!("host: a\r\n{chunked}Content-Length: 5\r\n"),
        "host: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n".to_owned(),
    ] {
        let mut socket = connect(&gateway).await;
        let request = format!("POST /post HTTP/1.1\r\n{head}\r\n{body}");
        socket.write_all(request.as_bytes()).await.expect("sent");
        // The server closes the connection if it cannot know where the next request begins.
        let end = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        socket.write_all(end).await.expect("sent");
        let response = read_to_end(socket).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{head} -> {response}");
    }
    gateway.stop().await;
}

/// Sends a whole request, and returns the response.
async fn exchange(gateway: &ServedGateway, request: &str) -> String {
    let mut socket = connect(gateway).await;
    socket.write_all(request.as_bytes()).await.expect("sent");
    let read = tokio::time::timeout(Duration::from_secs(60), read_to_end(socket));
    read.await.expect("an end")
}

#[tokio::test]
async fn a_length_that_no_body_can_have_is_400() {
    let gateway = serve("").await;
    for length in [
        "18446744073709551614",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999",
        "-1",
        "+5",
        "0x5",
    ] {
        let head = format!("POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        let response = exchange(&gateway, &head).await;
        assert!(
            response.starts_with("HTTP/1.1 400"),
            "{length} -> {response}"
        );
    }
    gateway.stop().await;
}

/// As RFC 9112, section 2.2, allows for the lines of a head only.
#[tokio::test]
async fn a_line_of_a_head_may_end_with_lf_alone_and_no_other_line() {
    let gateway = serve("").await;
    for (request, status) in [
        ("GET / HTTP/1.1\nhost: a\nconnection: close\n\n", 200),
        ("GET / HTTP/1.1\rhost: a\rconnection: close\r\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nhost: a\rx: b\r\nconnection: close\r\n\r\n",
            400,
        ),
        // What smuggling needs: two lengths.
        (
            "POST /post HTTP/1.1\r\nhost: a\r\nx: a\ntransfer-encoding: chunked\ncontent-length: 5\n\n0\n\n",
            400,
        ),
        (
            "POST /post HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\n{}\n0\n\n",
            400,
        ),
    ] {
        let response = exchange(&gateway, request).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&start), "{request:?} -> {response}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn connect_is_405_with_the_allowed_methods() {
    let gateway = serve("").await;
    for target in ["a:80", "/post", "/"] {
        let head = format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let response = exchange(&gateway, &head).await;
        if target == "a:80" {
            assert!(
                response.starts_with("HTTP/1.1 405"),
                "{target} -> {response}"
            );
            assert!(
                response.contains("allow: ") && response.contains("GET, "),
                "{response}"
            );
        } else {
            assert!(
                response.starts_with("HTTP/1.1 40"),
                "{target} -> {response}"
            );
        }
    }
    gateway.stop().await;
}

/// An array has no bytes for empty lists, so that no answer could have as many.
#[tokio::test]
async fn arrays_of_too_many_empty_lists_are_422() {
    let gateway = serve("").await;
    let lists = |count| vec!["[]"; count].join(",");
    let many = format!(r#"{{"tensor":[{}]}}"#, lists(2_200_000));
    let few = format!(r#"{{"tensor":[{}]}}"#, lists(1_200_000));
    for (data, status) in [(many, 422), (format!("{few},{few}"), 422), (few, 200)] {
        let body = format!(r#"{{"data":[{data}]}}"#);
        let head = "POST /post HTTP/1.1\r\ncontent-type: application/json\r\nconnection: close\r\n";
        let request = format!(
            "{head}host: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = exchange(&gateway, &request).await;
        let start = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&start), "{response:.500}");
        assert_eq!(
            response.contains("more than 4194304 empty lists"),
            status == 422
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_response_before_the_body_is_read_reaches_the_client_over_tls() {
    let generated =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let directory = std::env::temp_dir().join(format!("flowgate-http1-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let (certfile, keyfile) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&certfile, generated.cert.pem()).expect("written");
    fs::write(&keyfile, generated.signing_key.serialize_pem()).expect("written");
    let (certfile, keyfile) = (certfile.display(), keyfile.display());
    let gateway = serve(&format!(
        "ssl_certfile: '{certfile}', ssl_keyfile: '{keyfile}'"
    ))
    .await;
    fs::remove_dir_all(&directory).expect("deleted");

    let mut roots = RootCertStore::empty();
    roots.add(generated.cert.der().clone()).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for body in [30 << 10, MANY_BYTES] {
        let name = "localhost".try_into().expect("a name");
        let socket = connector.connect(name, connect(&gateway).await).await;
        let head = "POST /nowhere HTTP/1.1\r\nconnection: close\r\n";
        let response = send_then_read(socket.expect("a connection"), head, body).await;
        assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_that_stops_is_408_and_the_connection_ends() {
    let gateway = serve("slow_client_timeout: 50").await;
    let mut socket = connect(&gateway).await;
    let head = "POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.expect("sent");
    let (mut reader, writer) = socket.into_split();
    let mut response = String::new();
    let read = reader.read_to_string(&mut response).await;
    read.expect("a whole response");
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    drop(writer);
    gateway.stop().await;
}

#[tokio::test]
async fn a_slow_body_over_connect_and_grpc_web_is_said_to_be_slow() {
    let gateway = serve("slow_client_timeout: 50").await;
    for (content_type, expected) in [
        ("application/proto", &["HTTP/1.1 504", "deadline_exceeded"]),
        ("application/grpc-web", &["HTTP/1.1 200", "grpc-status: 4"]),
    ] {
        let mut socket = connect(&gateway).await;
        let head = format!(
            "POST /jina.JinaSingleDataRequestRPC/process_single_data HTTP/1.1\r\nhost: a\r\n\
             content-type: {content_type}\r\ncontent-length: 100000\r\n\r\n{{"
        );
        socket.write_all(head.as_bytes()).await.expect("sent");
        let (reader, writer) = socket.into_split();
        let response = read_to_end(reader).await;
        for expected in expected {
            assert!(response.contains(expected), "{response}");
        }
        let text = response.replace("%20", " ");
        assert!(text.contains("the body did not arrive in time"), "{text}");
        drop(writer);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_full_gateway_answers_a_client_that_still_sends() {
    let gate = Gate::closed();
    let yaml = FLOW
        .replace("SETTINGS", "limits: {max_concurrent_requests: 1}")
        .replace("greet", "gate");
    let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
    let mut first = connect(&gateway).await;
    let request = b"POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: 12\r\n\r\n{\"data\": []}";
    first.write_all(request).await.expect("sent");
    gate.wait_for_requests(1).await;
    // Broken JSON, and a body that never ends: neither is read.
    for (head, status, detail) in [
        (
            "POST /post HTTP/1.1\r\n",
            "HTTP/1.1 429",
            "its limit; try again later",
        ),
        (
            "POST /jina.JinaSingleDataRequestRPC/process_single_data HTTP/1.1\r\ncontent-type: application/proto\r\n",
            "HTTP/1.1 429",
            "resource_exhausted",
        ),
    ] {
        let socket = connect(&gateway).await;
        let sent = format!("{head}connection: close\r\n");
        let response = send_then_read(socket, &sent, MANY_BYTES).await;
        assert!(response.starts_with(status), "{head} -> {response}");
        assert!(response.contains(detail), "{head} -> {response}");
        let mut socket = connect(&gateway).await;
        let unfinished = format!("{head}host: a\r\ncontent-length: 100000\r\n\r\n{{");
        let sent = socket.write_all(unfinished.as_bytes()).await;
        sent.expect("sent");
        let mut start = [0; 12];
        socket.read_exact(&mut start).await.expect("a response");
        assert_eq!(&start, status.as_bytes(), "{head}");
    }
    gate.release(1);
    let mut start = [0; 12];
    first.read_exact(&mut start).await.expect("a response");
    assert_eq!(&start, b"HTTP/1.1 200");
    gateway.stop().await;
}

#[tokio::test]
async fn a_response_that_is_not_read_ends_the_connection() {
    let gate = Gate::closed();
    let yaml = FLOW
        .replace("SETTINGS", "slow_client_timeout: 50")
        .replace("greet", "gate");
    let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
    let mut socket = connect(&gateway).await;
    // More than the buffers of both sockets hold.
    let text = "x".repeat(30 << 20);
    let body = format!(r#"{{"data": [{{"text": "{text}"}}]}}"#);
    let size = body.len();
    let head = format!("POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket.write_all(body.as_bytes()).await.expect("sent");
    gate.wait_for_requests(1).await;
    gate.release(1);
    // The client does not read, and the stop need not wait for it.
    assert_eq!(gateway.stop().await, Shutdown::Drained);
    drop(socket);
}

#[tokio::test]
async fn a_connection_between_requests_ends_after_the_time_that_is_set() {
    let gateway = serve("keep_alive_timeout: 50").await;
    let mut socket = connect(&gateway).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    socket.write_all(request).await.expect("sent");
    let response = read_to_end(socket).await;
    assert!(response.ends_with("\r\n\r\n{}"), "{response}");
    gateway.stop().await;
}
