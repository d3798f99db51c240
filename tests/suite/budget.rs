//! The bytes of all requests and answers together are bounded, and requests that do not fit are refused before they are read.

use std::time::Duration;

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{Compression, DataRequest, docarray::DocumentProto, invoke::compress};
use flowgate_tests::{
    client::{HttpResponse, RawGrpc, http},
    flow::{ServedGateway, eventually},
    frames::{BINARY, CLOSE, FrameSocket, PING, PONG, TEXT, frame},
    gate::Gate,
};
use futures_util::FutureExt as _;
use http::Request;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, Status};

const YAML: &str = "jtype: Flow\n\
    gateway: {protocol: [grpc, http, websocket], port: [0, 0, 0], limits: {max_bytes_in_flight: 100000}}\n\
    executors:\n  - {name: e, uses: 'inproc://gate'}\n";

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// Encodes a request with one document of this size.
fn request(bytes: usize) -> Bytes {
    let document = DocumentProto {
        id: "x".repeat(bytes),
        ..Default::default()
    };
    let request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    request.encode_to_vec().into()
}

/// Sends one document of this size over gRPC.
async fn send(authority: &str, bytes: usize) -> Result<(), Status> {
    let message = tonic::Request::new(request(bytes));
    let mut client = RawGrpc::new(authority);
    client.unary(SINGLE, message).await.map(|_| ())
}

/// Sends one document of this size over HTTP.
async fn post(authority: &str, bytes: usize) -> HttpResponse {
    let body = format!(r#"{{"data": [{{"text": "{}"}}]}}"#, "x".repeat(bytes));
    call(authority, "/post", "application/json", body.into()).await
}

async fn call(authority: &str, path: &str, content_type: &str, body: Bytes) -> HttpResponse {
    let request = Request::post(format!("http://{authority}{path}"))
        .header("content-type", content_type)
        .body(body);
    http(request.expect("a request")).await
}

/// Puts a gRPC message into its frame.
fn grpc_frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("short");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

#[tokio::test]
async fn a_request_that_does_not_fit_beside_the_others_is_refused() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let held = tokio::spawn({
        let authority = authority.clone();
        async move { send(&authority, 60_000).await }
    });
    gate.wait_for_requests(1).await;
    let status = send(&authority, 60_000).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("100000"), "{status}");
    gate.release(3);
    held.await.expect("no panic").expect("an answer");
    send(&authority, 1_000).await.expect("an answer");
    send(&authority, 60_000).await.expect("there is room again");
    gateway.stop().await;
}

/// A Gateway without room for requests is not down.
#[tokio::test]
async fn health_checks_succeed_while_requests_fill_the_budget() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    // With its frame it takes all of the budget.
    let bytes = 100_000 - 5;
    let bytes = bytes - (request(bytes).len() - bytes);
    let held = tokio::spawn({
        let authority = authority.clone();
        async move { send(&authority, bytes).await }
    });
    gate.wait_for_requests(1).await;
    send(&authority, 1).await.expect_err("no room");
    let mut client = RawGrpc::new(&authority);
    for method in ["/grpc.health.v1.Health/Check", "/jina.JinaInfoRPC/_status"] {
        let answer = client.unary(method, tonic::Request::new(Bytes::new()));
        answer.await.expect(method);
    }
    // Over Connect too, with a field that is not known.
    let web = gateway.authority(Protocol::Http);
    let body = Bytes::from_static(&[0x08, 0x01]);
    let answer = call(&web, "/jina.JinaInfoRPC/_status", "application/proto", body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    gate.release(1);
    held.await.expect("no panic").expect("an answer");
    gateway.stop().await;
}

/// A request of this many empty lists, which take far more memory than their text.
fn empty_lists(count: usize) -> Bytes {
    let lists = vec!["[]"; count].join(",");
    format!(r#"{{"data":[],"parameters":{{"a":[{lists}]}}}}"#).into()
}

#[tokio::test]
async fn what_json_becomes_counts_as_long_as_its_request() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let post = |count| {
        let authority = authority.clone();
        async move { call(&authority, "/post", "application/json", empty_lists(count)).await }
    };
    // Three kilobytes of text, and 32 of values; more than twice as many while they are converted.
    let held = tokio::spawn(post(1000));
    gate.wait_for_requests(1).await;
    let refused = tokio::time::timeout(Duration::from_secs(60), post(1000)).await;
    let refused = refused.expect("not at the gate");
    assert_eq!(refused.status, 503, "{:?}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    let mut socket = FrameSocket::open(&gateway.authority(Protocol::WebSocket), "json").await;
    socket.send(&frame(TEXT, &empty_lists(1000))).await;
    let (opcode, payload) = socket.receive().await.expect("a frame");
    assert_eq!(
        (opcode, &payload[..2]),
        (CLOSE, &1013_u16.to_be_bytes()[..])
    );
    gate.release(2);
    assert_eq!(held.await.expect("no panic").status, 200);
    assert_eq!(post(1000).await.status, 200, "there is room again");
    gateway.stop().await;
}

/// A document of two bytes takes half a kilobyte or more where it is decoded.
#[tokio::test]
async fn what_documents_become_counts_as_long_as_their_request() {
    let gate = Gate::closed();
    let yaml = YAML.replace("100000", "1000000");
    let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let send = || {
        let request = DataRequest {
            documents: vec![DocumentProto::default(); 1200].into(),
            ..Default::default()
        };
        let message = tonic::Request::new(Bytes::from(request.encode_to_vec()));
        let mut client = RawGrpc::new(&authority);
        async move { client.unary(SINGLE, message).await.map(|_| ()) }
    };
    let held = tokio::spawn(send());
    gate.wait_for_requests(1).await;
    let refused = tokio::time::timeout(Duration::from_secs(60), send()).await;
    let status = refused.expect("not at the gate").expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("try again later"), "{status}");
    gate.release(2);
    held.await.expect("no panic").expect("an answer");
    send().await.expect("there is room again");
    gateway.stop().await;
}

#[tokio::test]
async fn every_protocol_counts_and_is_refused() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let (grpc, web) = (
        gateway.authority(Protocol::Grpc),
        gateway.authority(Protocol::Http),
    );
    let message = request(60_000);
    let framed = grpc_frame(&message);
    let web_content = "application/grpc-web+proto";
    // Each in turn holds its request while the others are refused.
    for holder in 0..4 {
        // The bytes of the last answer may be released a moment after the client has it.
        let held = tokio::spawn({
            let (grpc, web) = (grpc.clone(), web.clone());
            let (message, framed) = (message.clone(), framed.clone());
            async move {
                eventually("there is room", || async {
                    match holder {
                        0 => post(&web, 60_000).await.status == 200,
                        1 => {
                            let message = message.clone();
                            let answer = call(&web, SINGLE, "application/proto", message).await;
                            answer.status == 200
                        }
                        2 => {
                            let answer = call(&web, SINGLE, web_content, framed.clone()).await;
                            !answer.headers.contains_key("grpc-status")
                        }
                        _ => send(&grpc, 60_000).await.is_ok(),
                    }
                })
                .await;
            }
        });
        gate.wait_for_requests(1).await;
        let refused = post(&web, 60_000).await;
        assert_eq!(refused.status, 503, "{holder}: {:?}", refused.body);
        assert_eq!(refused.headers["retry-after"], "1");
        assert!(refused.json()["detail"].to_string().contains("100000"));
        let refused = call(&web, SINGLE, "application/proto", message.clone()).await;
        assert_eq!(refused.status, 429, "{holder}: {:?}", refused.body);
        assert_eq!(refused.json()["code"], "resource_exhausted");
        assert_eq!(refused.headers["retry-after"], "1");
        let refused = call(&web, SINGLE, web_content, framed.clone()).await;
        assert_eq!(refused.headers["grpc-status"], "8", "{holder}");
        assert_eq!(refused.headers["retry-after"], "1");
        let status = send(&grpc, 60_000).await.expect_err("no room");
        assert_eq!(status.code(), Code::ResourceExhausted, "{holder}: {status}");
        assert_eq!(status.metadata().get("retry-after").expect("a time"), "1");
        gate.release(1);
        held.await.expect("an answer");
    }
    gateway.stop().await;
}

/// Sends one document of this size, compressed by gzip to far less, and returns whether it was answered; else checks that it was
/// refused.
async fn send_gzip(authority: &str, protocol: &str, document_bytes: usize) -> bool {
    let message = request(document_bytes);
    let gzip = compress(&message, Compression::Gzip).expect("compressed");
    assert!(gzip.len() < 1000);
    let (content_type, encoding, body) = match protocol {
        "Connect" => ("application/proto", "content-encoding", gzip.into()),
        _ => {
            let mut framed = grpc_frame(&gzip).to_vec();
            framed[0] = 1;
            let body = Bytes::from(framed);
            ("application/grpc-web+proto", "grpc-encoding", body)
        }
    };
    let request = Request::post(format!("http://{authority}{SINGLE}"))
        .header("content-type", content_type)
        .header(encoding, "gzip")
        .body(body);
    let answering = http(request.expect("a request"));
    let answered = tokio::time::timeout(Duration::from_secs(60), answering).await;
    let answer = answered.expect("an answer in time");
    let text = match (answer.status, answer.headers.get("grpc-status")) {
        (200, None) => return true,
        (200, Some(status)) => {
            assert_eq!(status, "8", "{answer:?}");
            answer.headers["grpc-message"].to_str().expect("ASCII")
        }
        (status, _) => {
            assert_eq!(status, 429, "{answer:?}");
            std::str::from_utf8(&answer.body).expect("JSON")
        }
    };
    assert!(text.contains("100000"), "{text}");
    assert_eq!(answer.headers["retry-after"], "1");
    false
}

#[tokio::test]
async fn compressed_messages_count_as_what_they_become() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let web = gateway.authority(Protocol::Http);
    for protocol in ["gRPC-Web", "Connect"] {
        // The bytes of the last answer may be released a moment after the client has it.
        let held = tokio::spawn({
            let web = web.clone();
            async move {
                eventually("there is room", || {
                    send_gzip(&web, protocol, 60_000).boxed()
                })
                .await;
            }
        });
        gate.wait_for_requests(1).await;
        assert_eq!(post(&web, 60_000).await.status, 503, "{protocol}");
        for other in ["gRPC-Web", "Connect"] {
            let is_answered = send_gzip(&web, other, 60_000).await;
            assert!(!is_answered, "{other} beside {protocol}");
        }
        gate.release(1);
        held.await.expect("an answer");
        // One that would fill the budget by itself ends as it grows.
        assert!(!send_gzip(&web, protocol, 150_000).await);
    }
    gateway.stop().await;
}

/// Sends a head, and returns the response that comes without the body.
async fn answer_to_head(authority: &str, head: &str, body: &str) -> String {
    let mut socket = TcpStream::connect(authority).await.expect("a connection");
    let head = format!("POST /post HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}");
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        let read = socket.read_buf(&mut response).await.expect("a response");
        assert_ne!(read, 0, "closed after {response:?}");
    }
    String::from_utf8(response).expect("text")
}

#[tokio::test]
async fn a_body_is_refused_before_it_is_read_or_as_it_grows() {
    let gate = Gate::closed();
    let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Http);
    let held = tokio::spawn({
        let authority = authority.clone();
        async move { post(&authority, 60_000).await.status }
    });
    gate.wait_for_requests(1).await;
    let response = answer_to_head(&authority, "content-length: 50000", "").await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    let chunk = format!("{:x}\r\n{}\r\n", 45_000, " ".repeat(45_000));
    let response = answer_to_head(&authority, "transfer-encoding: chunked", &chunk).await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    gate.release(1);
    assert_eq!(held.await.expect("no panic"), 200);
    gateway.stop().await;
}

#[tokio::test]
async fn bodies_that_have_not_arrived_whole_and_answers_that_are_not_read_count() {
    let yaml = "jtype: Flow\n\
        gateway: {protocol: http, port: 0, limits: {max_bytes_in_flight: 40000000}}\n\
        executors:\n  - {name: e, uses: 'inproc://pass_through'}\n";
    let gateway = ServedGateway::start(yaml).await;
    let authority = gateway.authority(Protocol::Http);
    let size = 30_000_000;
    let document = format!(r#"{{"data": [{{"text": "{}"}}]}}"#, "x".repeat(size));
    for sent in [size - 1000, document.len()] {
        let mut client = TcpStream::connect(&authority).await.expect("a connection");
        let length = document.len();
        let head = format!("POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("sent");
        let body = &document.as_bytes()[..sent];
        client.write_all(body).await.expect("sent");
        eventually("there is no room for others", || async {
            post(&authority, 15_000_000).await.status == 503
        })
        .await;
        if sent == length {
            // The answer is there, and more of it than sockets hold waits to be read.
            let mut first = [0; 12];
            client.read_exact(&mut first).await.expect("an answer");
            assert_eq!(&first, b"HTTP/1.1 200");
            assert_eq!(post(&authority, 15_000_000).await.status, 503);
        }
        drop(client);
        eventually("there is room again", || async {
            post(&authority, 1_000_000).await.status == 200
        })
        .await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_without_room_for_a_message_answers_the_others_and_closes() {
    for (subprotocol, first) in [("json", TEXT), ("bytes", BINARY)] {
        let gate = Gate::closed();
        let gateway = ServedGateway::start_with(YAML, &gate.registry()).await;
        let authority = gateway.authority(Protocol::WebSocket);
        let message = |bytes: usize| match subprotocol {
            "json" => {
                let text = format!(r#"{{"data": [{{"text": "{}"}}]}}"#, "x".repeat(bytes));
                frame(first, text.as_bytes())
            }
            _ => frame(first, &request(bytes)),
        };
        let mut socket = FrameSocket::open(&authority, subprotocol).await;
        socket.send(&message(60_000)).await;
        gate.wait_for_requests(1).await;
        // Its messages count for others.
        let web = gateway.authority(Protocol::Http);
        assert_eq!(post(&web, 60_000).await.status, 503);
        socket.send(&message(60_000)).await;
        // The answer to the ping says that the second message has been refused, before the first makes room.
        socket.send(&frame(PING, b"read")).await;
        let pong = socket.receive().await.expect("an answer to the ping");
        assert_eq!(pong, (PONG, b"read".to_vec()));
        gate.release(1);
        let (kind, answer) = socket.receive().await.expect("an answer");
        assert_eq!((kind, answer.len() > 60_000), (first, true), "{answer:?}");
        let (kind, close) = socket.receive().await.expect("a close frame");
        assert_eq!((kind, &close[..2]), (CLOSE, &1013_u16.to_be_bytes()[..]));
        assert!(close[2..].ends_with(b"(limit 100000); try again later"));
        drop(socket);
        gate.release(2);
        eventually("there is room again", || async {
            post(&web, 60_000).await.status == 200
        })
        .await;
        gateway.stop().await;
    }
}
