//! Limits of connections: clients that send more than their share, as `Call` streams or as single calls, leave places for
//! others, and requests end also while their client reads no answers.

use std::time::Duration;

use bytes::Bytes;
use flowgate_config::Protocol;
use flowgate_proto::{DataRequest, jina::HeaderProto};
use flowgate_tests::{
    client::RawGrpc,
    executors::text,
    flow::{ServedGateway, eventually},
    gate::Gate,
};
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tonic::{Code, Streaming, metadata::MetadataMap};

const CALL: &str = "/jina.JinaRPC/Call";
const PROCESS_SINGLE_DATA: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

fn request(text_bytes: usize) -> Bytes {
    let header = HeaderProto {
        exec_endpoint: Some("/".to_owned()),
        ..Default::default()
    };
    let request = DataRequest {
        header,
        documents: vec![text("d", &"x".repeat(text_bytes))].into(),
        ..Default::default()
    };
    request.encode_to_vec().into()
}

/// Sends as many requests as are taken, and reads no answers. The stream does not end.
async fn send_all(client: &mut RawGrpc, requests: usize, text_bytes: usize) -> Streaming<Bytes> {
    let requests = vec![request(text_bytes); requests];
    let requests = tokio_stream::iter(requests).chain(futures_util::stream::pending());
    let streaming = client.streaming(CALL, MetadataMap::new(), requests);
    streaming.await.expect("a stream").into_inner()
}

async fn is_ok(authority: &str) -> bool {
    let mut client = RawGrpc::new(authority);
    let request = tonic::Request::new(request(1));
    client.unary(PROCESS_SINGLE_DATA, request).await.is_ok()
}

#[tokio::test]
async fn clients_with_streams_leave_places_for_others() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0, limits: {max_concurrent_requests: 400}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut client = RawGrpc::new(&authority);
        streams.push(send_all(&mut client, 400, 1).await);
    }
    // Each has a tenth of what the others leave, and at least eight.
    gate.wait_for_requests(150).await;
    let other = tokio::spawn(async move { is_ok(&authority).await });
    gate.wait_for_requests(1).await;
    gate.release(1_000_000);
    assert!(other.await.expect("no panic"));
    drop(streams);
    gateway.stop().await;
}

#[tokio::test]
async fn the_streams_of_one_connection_share_its_places() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: grpc, port: 0, limits: {max_concurrent_requests: 400}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    let mut client = RawGrpc::new(&authority);
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(send_all(&mut client, 400, 1).await);
    }
    // All of them take a tenth of the free places, and at most one more each.
    gate.wait_for_requests(36).await;
    let others: Vec<_> = (0..300)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move { is_ok(&authority).await })
        })
        .collect();
    gate.wait_for_requests(300).await;
    gate.release(1_000_000);
    for other in others {
        assert!(other.await.expect("no panic"));
    }
    drop(streams);
    gateway.stop().await;
}

#[tokio::test]
async fn requests_whose_answers_are_not_read_leave_their_places() {
    const REQUESTS: usize = 50;
    let gate = Gate::closed();
    let yaml = format!(
        "jtype: Flow\ngateway: {{protocol: grpc, port: 0, limits: {{max_concurrent_requests: {REQUESTS}, connection_share: 100}}}}\n\
         executors:\n  - {{name: e, uses: 'inproc://gate'}}\n"
    );
    let gateway = ServedGateway::start_with(&yaml, &gate.registry()).await;
    let authority = gateway.authority(Protocol::Grpc);
    // Together more than the client's window: some answers wait for ever.
    let unread = send_all(&mut RawGrpc::new(&authority), REQUESTS, 500_000).await;
    gate.wait_for_requests(50).await;
    assert!(!is_ok(&authority).await, "all places are taken");
    gate.release(1_000_000);
    eventually("a place is free", || is_ok(&authority)).await;
    drop(unread);
    gateway.stop().await;
}

/// A call on a connection that others share. Returns whether it was answered, or else refused with a time to wait.
type Call = Box<dyn Fn() -> BoxFuture<'static, bool>>;

/// Returns the calls of a new connection by each protocol that can have many at once.
fn connections(gateway: &ServedGateway) -> [(&'static str, Call); 4] {
    let authority = gateway.authority(Protocol::Grpc);
    let grpc = RawGrpc::new(&authority);
    let call_grpc = move |method: &'static str, request: Bytes| {
        let mut client = grpc.clone();
        async move {
            let answered = client.unary(method, tonic::Request::new(request)).await;
            let Err(status) = answered else { return true };
            assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
            assert!(status.message().contains("connection_share"), "{status}");
            assert_eq!(status.metadata().get("retry-after").expect("a time"), "1");
            false
        }
        .boxed()
    };
    let web = |path: &'static str, content_type: &'static str, body: Bytes| {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http::<Full<Bytes>>();
        let uri = format!("http://{}{path}", gateway.authority(Protocol::Http));
        move || {
            let request = Request::post(&uri).header(header::CONTENT_TYPE, content_type);
            let request = request.body(Full::new(body.clone())).expect("a request");
            let answer = client.request(request);
            async move {
                let answer = answer.await.expect("an answer");
                let (head, body) = answer.into_parts();
                let body = body.collect().await.expect("a whole answer").to_bytes();
                if head.status == 200 {
                    return true;
                }
                assert_eq!(head.status, 429);
                assert_eq!(head.headers[header::RETRY_AFTER], "1");
                let body = String::from_utf8_lossy(&body).into_owned();
                assert!(body.contains("connection_share"), "{body}");
                false
            }
            .boxed()
        }
    };
    let json = Bytes::from_static(br#"{"data": [{"text": "x"}]}"#);
    [
        (
            "gRPC",
            Box::new(move || call_grpc(PROCESS_SINGLE_DATA, request(1))),
        ),
        ("HTTP/2", Box::new(web("/post", "application/json", json))),
        (
            "Connect",
            Box::new(web(PROCESS_SINGLE_DATA, "application/proto", request(1))),
        ),
        (
            "another gRPC connection",
            Box::new({
                let client = RawGrpc::new(&authority);
                move || {
                    let mut client = client.clone();
                    let request = tonic::Request::new(request(1));
                    async move { client.unary(PROCESS_SINGLE_DATA, request).await.is_ok() }.boxed()
                }
            }),
        ),
    ]
}

/// Calls that wait at the gate, of connections that may have as many as there are places.
#[tokio::test]
async fn the_single_calls_of_one_connection_leave_places_for_others() {
    for index in 0..3 {
        let gate = Gate::closed();
        let yaml = "jtype: Flow\n\
            gateway: {protocol: [grpc, http], port: [0, 0], limits: {max_concurrent_requests: 400}}\n\
            executors:\n  - {name: e, uses: 'inproc://gate'}\n";
        let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
        let connections = connections(&gateway);
        let (protocol, call) = &connections[index];
        let mut calls = JoinSet::new();
        for _ in 0..400 {
            calls.spawn(call());
        }
        // Nine times as many as it leaves free.
        for _ in 0..40 {
            let refused = tokio::time::timeout(Duration::from_secs(60), calls.join_next()).await;
            let refused = refused.expect("in time").expect("a call");
            assert!(!refused.expect("no panic"), "{protocol}");
        }
        gate.wait_for_requests(360).await;
        let (_, other) = &connections[3];
        for _ in 0..30 {
            calls.spawn(other());
        }
        gate.wait_for_requests(30).await;
        gate.release(1_000_000);
        let answered = calls.join_all().await;
        assert_eq!(answered, [true; 390], "{protocol}");
        gateway.stop().await;
    }
}

/// Whether a request that announces this many bytes is refused before it is read.
async fn is_refused(authority: &str, bytes: usize) -> bool {
    let mut socket = TcpStream::connect(authority).await.expect("a connection");
    let head = format!("POST /post HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut status = [0; 12];
    let read = socket.read_exact(&mut status);
    // A request that is not refused waits for its body.
    let read = tokio::time::timeout(Duration::from_millis(200), read).await;
    read.is_ok() && &status == b"HTTP/1.1 503"
}

#[tokio::test]
async fn what_a_stream_sends_before_it_is_wanted_counts() {
    let gate = Gate::closed();
    let yaml = "jtype: Flow\ngateway: {protocol: [grpc, http], port: [0, 0], prefetch: 1, limits: {max_bytes_in_flight: 1000000}}\n\
                executors:\n  - {name: e, uses: 'inproc://gate'}\n";
    let gateway = ServedGateway::start_with(yaml, &gate.registry()).await;
    let http = gateway.authority(Protocol::Http);
    let mut client = RawGrpc::new(&gateway.authority(Protocol::Grpc));
    let mut answers = send_all(&mut client, 8, 100_000).await;
    gate.wait_for_requests(1).await;
    eventually("all requests of the stream count", || {
        is_refused(&http, 300_000)
    })
    .await;
    // All of them are answered, in spite of the limit.
    gate.release(8);
    for _ in 0..8 {
        let answer = answers.message().await;
        assert!(answer.expect("no error").is_some());
    }
    eventually("none counts any more", || async {
        !is_refused(&http, 900_000).await
    })
    .await;
    gateway.stop().await;
}
