//! Clients of gRPC and gRPC-Web that begin a message and do not finish it.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_tests::flow::ServedGateway;
use futures_util::{StreamExt as _, stream};
use http::{Request, header};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

const YAML: &str = "jtype: Flow\n\
    gateway: {protocol: [grpc, http], port: [0, 0], slow_client_timeout: 50}\n\
    executors:\n  - {name: e, uses: 'inproc://greet'}\n";

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const CALL: &str = "/jina.JinaRPC/Call";

/// Sends the beginning of a message over HTTP/2, keeps the request open, and returns the whole answer as text.
async fn begin_message(authority: &str, path: &str, content_type: &str) -> String {
    let begun = Bytes::from_static(&[0, 0, 0, 1, 0, 10, 20]);
    let body = stream::iter([Ok::<_, Infallible>(begun)]).chain(stream::pending());
    let request = Request::post(format!("http://{authority}{path}"))
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from_stream(body))
        .expect("a request");
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let answer = client.request(request).await.expect("an answer");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a whole answer");
    let trailers = body.trailers().cloned().unwrap_or_default();
    // gRPC-Web has its trailers in the body.
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let lines = head.headers.iter().chain(&trailers);
    let lines = lines.map(|(name, value)| format!("\r\n{name}:{}", value.to_str().expect("ASCII")));
    lines.chain([text]).collect()
}

#[tokio::test]
async fn a_message_that_is_not_finished_ends_its_call() {
    let gateway = ServedGateway::start(YAML).await;
    let authority = gateway.authority(Protocol::Grpc);
    for (path, content_type) in [
        (SINGLE, "application/grpc"),
        (CALL, "application/grpc"),
        (CALL, "application/grpc+proto"),
        (CALL, "application/grpc;charset=utf-8"),
        (SINGLE, "application/grpc-web+proto"),
        (CALL, "application/grpc-web+proto"),
    ] {
        let answer = begin_message(&authority, path, content_type).await;
        let answer = answer.replace("%20", " ");
        let case = format!("{path} {content_type}: {answer}");
        assert!(answer.contains("grpc-status:4"), "{case}");
        assert!(answer.contains("in time"), "{case}");
    }
    gateway.stop().await;
}
