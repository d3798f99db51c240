//! Flows with `auth`: which requests are admitted over HTTP, gRPC and WebSocket, and how others are rejected.

use bytes::Bytes;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::client::{HttpResponse, RawGrpc, http};
use http::{Request, header};
use prost::Message as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

mod api_keys;

mod tokens;

fn flow(auth: &str) -> String {
    format!(
        "jtype: Flow\ngateway: {{protocol: [grpc, http, websocket], port: [0, 0, 0], {auth}}}\n\
         executors: [{{name: g, uses: 'inproc://greet'}}]\n"
    )
}

async fn post(authority: &str, headers: &[(&str, &str)]) -> HttpResponse {
    let body = json!({"data": [{"text": "x"}]}).to_string();
    send("POST", authority, "/post", headers, body.into()).await
}

async fn send(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> HttpResponse {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{authority}{path}"))
        .header(header::CONTENT_TYPE, "application/json");
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    http(request.body(body).expect("a request")).await
}

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

async fn grpc(
    authority: &str,
    method: &str,
    metadata: &[(&'static str, &str)],
) -> Result<(), tonic::Status> {
    let request = DataRequest {
        header: HeaderProto {
            request_id: "r".to_owned(),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut request = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    for (name, value) in metadata {
        request
            .metadata_mut()
            .insert(*name, value.parse().expect("ASCII"));
    }
    let response = RawGrpc::new(authority).unary(method, request).await;
    response.map(|_| ())
}

/// Performs a WebSocket handshake and returns the response's status and headers.
async fn handshake(authority: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let mut head = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        response.push(stream.read_u8().await.expect("a whole head"));
    }
    String::from_utf8(response)
        .expect("ASCII")
        .to_ascii_lowercase()
}
