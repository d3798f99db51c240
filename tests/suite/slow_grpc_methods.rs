//! Clients that send too slowly, or too much, to gRPC methods that carry no data, and to other routes under gRPC's content type.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, docarray::DocumentProto};
use flowgate_tests::{client::RawGrpc, flow::ServedGateway};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{Request, header};
use http_body_util::BodyExt as _;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_reflection::pb::v1alpha::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use crate::introspection::channel;

const YAML: &str = "jtype: Flow\n\
    gateway: {protocol: [grpc, http], port: [0, 0], slow_client_timeout: 50}\n\
    executors:\n  - {name: e, uses: 'inproc://greet'}\n";

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The methods with one request each.
const UNARY: [&str; 5] = [
    CHECK,
    "/grpc.health.v1.Health/Watch",
    "/jina.JinaGatewayDryRunRPC/dry_run",
    "/jina.JinaInfoRPC/_status",
    "/jina.JinaSingleDataRequestRPC/process_single_data",
];

const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Sends the beginning of a body over HTTP/2, keeps the request open, and returns the status and the headers and trailers of the
/// answer as text.
async fn begin(authority: &str, path: &str, body: &'static [u8]) -> (u16, String) {
    let begun = stream::iter([Ok::<_, Infallible>(Bytes::from_static(body))]);
    let request = Request::post(format!("http://{authority}{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .body(Body::from_stream(begun.chain(stream::pending())))
        .expect("a request");
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let answering = async {
        let answer = client.request(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole answer");
        let trailers = body.trailers().cloned().unwrap_or_default();
        let lines = head.headers.iter().chain(&trailers);
        let lines = lines.map(|(name, value)| format!("{name}:{value:?} "));
        (head.status.as_u16(), lines.collect())
    };
    let answered = tokio::time::timeout(Duration::from_secs(60), answering).await;
    answered.unwrap_or_else(|_| panic!("no answer to {path}"))
}

#[tokio::test]
async fn a_message_that_is_not_finished_ends_a_call_of_any_method() {
    let gateway = ServedGateway::start(YAML).await;
    let authority = gateway.authority(Protocol::Grpc);
    for begun in [&[0, 0][..], &[0, 0, 0, 0, 10, 20]] {
        for path in UNARY {
            let (_, answer) = begin(&authority, path, begun).await;
            assert!(answer.contains("grpc-status:\"4\""), "{path}: {answer}");
        }
        // tonic's reflection ends its stream with OK after any error.
        for path in REFLECTION {
            let (_, answer) = begin(&authority, path, begun).await;
            assert!(answer.contains("grpc-status:"), "{path}: {answer}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_call_with_one_request_ends_if_that_does_not_come_or_does_not_end() {
    let gateway = ServedGateway::start(YAML).await;
    let authority = gateway.authority(Protocol::Grpc);
    for path in UNARY {
        let (_, answer) = begin(&authority, path, &[]).await;
        assert!(answer.contains("grpc-status:\"4\""), "{path}: {answer}");
    }
    for path in &UNARY[..4] {
        let (_, answer) = begin(&authority, path, &[0; 5]).await;
        assert!(answer.contains("grpc-status:\"4\""), "{path}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn methods_without_data_take_small_messages_only() {
    let gateway = ServedGateway::start(YAML).await;
    let authority = gateway.authority(Protocol::Grpc);
    // A megabyte is announced, and the first bytes of it are sent.
    let begun = &[0, 0, 16, 0, 0, 1, 2, 3];
    for path in &UNARY[..4] {
        let (_, answer) = begin(&authority, path, begun).await;
        assert!(answer.contains("grpc-status:\"8\""), "{path}: {answer}");
    }
    for path in REFLECTION {
        let (_, answer) = begin(&authority, path, begun).await;
        assert!(answer.contains("grpc-status:"), "{path}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_reflection_stream_may_pause_between_its_messages() {
    let gateway = ServedGateway::start(YAML).await;
    let mut client = ServerReflectionClient::new(channel(&gateway));
    let (requests, stream) = mpsc::channel(1);
    let answers = client.server_reflection_info(ReceiverStream::new(stream));
    let (answers, ()) = tokio::join!(answers, list_services(&requests));
    let mut answers = answers.expect("a stream").into_inner();
    for _ in 0..2 {
        answers
            .message()
            .await
            .expect("no error")
            .expect("an answer");
        // Meanwhile a slower client is not waited for.
        let authority = gateway.authority(Protocol::Grpc);
        let (_, slower) = begin(&authority, CHECK, &[0]).await;
        assert!(slower.contains("grpc-status:\"4\""), "{slower}");
        assert!(answers.message().now_or_never().is_none());
        list_services(&requests).await;
    }
    gateway.stop().await;
}

/// Each message counts until the next one has been read: a stream of them does not fill the budget, nor its reserve.
#[tokio::test]
async fn the_messages_of_a_reflection_stream_make_room_for_each_other() {
    let limits = "limits: {max_bytes_in_flight: 100000}";
    let yaml = YAML.replace("slow_client_timeout: 50", limits);
    let gateway = ServedGateway::start(&yaml).await;
    let mut client = ServerReflectionClient::new(channel(&gateway));
    let (requests, stream) = mpsc::channel(1);
    let answers = client.server_reflection_info(ReceiverStream::new(stream));
    let (answers, ()) = tokio::join!(answers, list_services(&requests));
    let mut answers = answers.expect("a stream").into_inner();
    for n in 0..40 {
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.message()).await;
        let answer = answer.expect("an answer in time").expect("no error");
        assert!(answer.is_some(), "the stream has ended after {n} messages");
        let request = ServerReflectionRequest {
            host: "x".repeat(4000),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        requests.send(request).await.expect("the stream is open");
    }
    let document = DocumentProto {
        id: "x".repeat(80_000),
        ..Default::default()
    };
    let request = DataRequest {
        documents: vec![document].into(),
        ..Default::default()
    };
    let message = tonic::Request::new(Bytes::from(request.encode_to_vec()));
    let mut other = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    other
        .unary(UNARY[4], message)
        .await
        .expect("there is room for a request");
    drop(requests);
    gateway.stop().await;
}

async fn list_services(requests: &mpsc::Sender<ServerReflectionRequest>) {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    requests.send(request).await.expect("the stream is open");
}

/// A port without gRPC serves such a request by its HTTP routes.
#[tokio::test]
async fn a_slow_body_of_grpc_ends_on_a_port_without_grpc() {
    let gateway = ServedGateway::start(YAML).await;
    let authority = gateway.authority(Protocol::Http);
    let (status, answer) = begin(&authority, "/post", b"{").await;
    assert_eq!(status, 408, "{answer}");
    gateway.stop().await;
}
