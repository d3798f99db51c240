//! The gRPC services over real sockets: trailers, compression, limits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use flowgate_proto::{
    DataRequest,
    jina::{
        DataRequestListProto, jina_data_request_rpc_client::JinaDataRequestRpcClient,
        jina_discover_endpoints_rpc_client::JinaDiscoverEndpointsRpcClient,
        jina_info_rpc_client::JinaInfoRpcClient,
        jina_single_data_request_rpc_client::JinaSingleDataRequestRpcClient,
    },
};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tonic::{
    Code,
    client::Grpc,
    codec::{Codec, CompressionEncoding},
    transport::Channel,
};

use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    Batching, DocumentProto, Error, Executor, Identity, Reply, ServeError, ServeOptions, Shutdown,
    serve_on,
};

mod context;

struct RunningServer {
    address: SocketAddr,
    channel: Channel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<Shutdown, ServeError>>,
}

impl RunningServer {
    async fn stop(self) {
        drop(self.channel);
        self.stop.send(()).expect("the server listens");
        let result = self.server.await.expect("no panic");
        assert_eq!(result.expect("no error"), Shutdown::Drained);
    }
}

fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}"));
    endpoint.expect("a URI").connect_lazy()
}

async fn stopped(stop: oneshot::Receiver<()>) {
    let _ = stop.await;
}

async fn serve(executor: Executor) -> RunningServer {
    serve_with(executor, ServeOptions::default()).await
}

async fn serve_with(executor: Executor, options: ServeOptions) -> RunningServer {
    let options = ServeOptions {
        identity: Some(Identity::first_replica("exec0")),
        max_message_bytes: 1 << 20,
        ..options
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stop_receiver) = oneshot::channel();
    let server = serve_on(listener, executor, options, stopped(stop_receiver));
    let server = tokio::spawn(server);
    RunningServer {
        address,
        channel: channel(address),
        stop,
        server,
    }
}

fn multi() -> Executor {
    Executor::new("Multi")
        .environment(|key| (key == "JINA_LOG_LEVEL").then(|| "hush".to_owned()))
        .on_default(|_| async { Ok(Reply::unchanged()) })
        .on("/raise", |_| async {
            Err(Error::new("ValueError", "boom").arg(42))
        })
}

fn request(endpoint: &str) -> DataRequest {
    let document = DocumentProto {
        id: "d0".to_owned(),
        ..DocumentProto::default()
    };
    let mut request = DataRequest::default();
    request.header.request_id = "r1".to_owned();
    request.header.exec_endpoint = Some(endpoint.to_owned());
    request.documents = vec![document].into();
    request
}

/// Sends any bytes, and returns message and trailers separately; tonic's own clients merge them.
async fn call_raw(
    channel: &Channel,
    path: &'static str,
    message: &[u8],
) -> Result<(DataRequest, tonic::metadata::MetadataMap), tonic::Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("the server is there");
    let stream = futures_util::stream::once(std::future::ready(message.to_vec()));
    let request = tonic::Request::new(stream);
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = grpc.streaming(request, path, BytesCodec).await?;
    assert!(
        answer.metadata().get("is-error").is_none(),
        "a trailer only"
    );
    assert!(answer.metadata().get("grpc-encoding").is_none());
    let mut stream = answer.into_inner();
    let message = stream.message().await?.expect("a message");
    let trailers = stream.trailers().await?.expect("trailers");
    Ok((message, trailers))
}

/// Encodes bytes unchanged, and decodes a request.
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = DataRequest;
    type Encoder = Self;
    type Decoder = flowgate_proto::JinaCodec<DataRequest, DataRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Self::Decoder::default()
    }
}

impl tonic::codec::Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: Vec<u8>,
        buf: &mut tonic::codec::EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        bytes::BufMut::put_slice(buf, &item);
        Ok(())
    }
}

const PROCESS_SINGLE_DATA: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const PROCESS_DATA: &str = "/jina.JinaDataRequestRPC/process_data";

/// Recordings `grpc/22-executor_direct_echo` and `grpc/23-executor_direct_error`.
#[tokio::test]
async fn an_error_is_an_ok_answer_followed_by_a_trailer() {
    let server = serve(multi()).await;
    let sent = request("/echo").encode_to_vec();
    let (answer, trailers) = call_raw(&server.channel, PROCESS_SINGLE_DATA, &sent)
        .await
        .expect("OK");
    assert_eq!(answer.routes[0].executor, "exec0");
    assert!(trailers.get("is-error").is_none());

    let sent = request("/raise").encode_to_vec();
    let (mut answer, trailers) = call_raw(&server.channel, PROCESS_SINGLE_DATA, &sent)
        .await
        .expect("OK");
    assert_eq!(trailers.get("is-error").expect("a trailer"), "true");
    let status = answer.header.status.take().expect("a status");
    assert_eq!(status.description, "ValueError('boom', 42)");
    assert_eq!(answer, request("/raise"));
    server.stop().await;
}

#[tokio::test]
async fn malformed_messages_are_answered_as_jina_does() {
    let server = serve(multi()).await;
    let (answer, trailers) = call_raw(&server.channel, PROCESS_SINGLE_DATA, b"garbage!")
        .await
        .expect("OK");
    assert_eq!(trailers.get("is-error").expect("a trailer"), "true");
    let status = answer.header.status.expect("a status");
    assert_eq!(
        status.description,
        "DecodeError(\"Error parsing message with type 'jina.DataRequestProto'\")"
    );
    for (path, message, details) in [
        (
            PROCESS_DATA,
            &b""[..],
            "Unexpected <class 'IndexError'>: list index out of range",
        ),
        (
            PROCESS_DATA,
            b"garbage!",
            "Unexpected <class 'google.protobuf.message.DecodeError'>: \
             Error parsing message with type 'jina.DataRequestListProto'",
        ),
    ] {
        let status = call_raw(&server.channel, path, message)
            .await
            .expect_err(details);
        assert_eq!((status.code(), status.message()), (Code::Unknown, details));
    }
    server.stop().await;
}

/// Unlike Jina 3.13, which answers UNKNOWN, "the buffer is already decompressed".
#[tokio::test]
async fn an_empty_message_is_an_empty_request() {
    let server = serve(multi()).await;
    let (answer, trailers) = call_raw(&server.channel, PROCESS_SINGLE_DATA, b"")
        .await
        .expect("OK");
    assert!(trailers.get("is-error").is_none());
    assert_eq!(answer.routes[0].executor, "exec0");
    assert!(answer.documents.decode().expect("documents").is_empty());
    server.stop().await;
}

#[tokio::test]
async fn the_other_services_answer() {
    let server = serve(multi()).await;
    let channel = &server.channel;
    let parts = DataRequestListProto {
        requests: vec![request("/echo"), request("/echo")],
    };
    let answer = JinaDataRequestRpcClient::new(channel.clone())
        .process_data(parts)
        .await
        .expect("OK")
        .into_inner();
    assert_eq!(answer.documents.decode().expect("documents").len(), 2);

    let endpoints = JinaDiscoverEndpointsRpcClient::new(channel.clone())
        .endpoint_discovery(())
        .await
        .expect("OK")
        .into_inner();
    assert_eq!(
        endpoints.endpoints,
        ["/default", "/raise", "_jina_dry_run_"]
    );

    let info = JinaInfoRpcClient::new(channel.clone())
        .status(())
        .await
        .expect("OK")
        .into_inner();
    assert_ne!(info.envs["JINA_GRPC_RECV_BYTES"], "(unset)");
    assert_eq!(info.envs["JINA_LOG_LEVEL"], "hush");
    let unserved = Executor::new("Multi").into_service(Identity::first_replica("exec0"));
    let nowhere = unserved.info();
    assert!(nowhere.envs.values().all(|value| value == "(unset)"));

    let status = call_raw(channel, "/jina.JinaRPC/Call", b"")
        .await
        .expect_err("not a Gateway");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "Method not found!");
    server.stop().await;
}

#[tokio::test]
async fn compressed_requests_are_accepted_up_to_the_limit() {
    let server = serve(multi()).await;
    let mut large = request("/echo");
    let mut documents = large.documents.into_vec().expect("documents");
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let channel = || server.channel.clone();
        let mut discovery =
            JinaDiscoverEndpointsRpcClient::new(channel()).send_compressed(encoding);
        discovery.endpoint_discovery(()).await.expect("OK");
        let mut info = JinaInfoRpcClient::new(channel()).send_compressed(encoding);
        info.status(()).await.expect("OK");
        let mut client =
            JinaSingleDataRequestRpcClient::new(server.channel.clone()).send_compressed(encoding);
        client
            .process_single_data(request("/echo"))
            .await
            .expect("OK");
        documents[0].uri = "a".repeat(2 << 20);
        large.documents = documents.clone().into();
        let refused = client.process_single_data(large.clone()).await;
        assert_eq!(
            refused.expect_err("too large").code(),
            Code::ResourceExhausted
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_flushes_batches_and_answers_requests_in_flight() {
    let hour = Batching {
        timeout: Duration::from_secs(3600),
        ..Batching::default()
    };
    let executor = Executor::new("Multi")
        .batched("/x", hour, |batch| async move { Ok(batch.documents) })
        .on("/y", |_| async { Ok(Reply::unchanged()) });
    let server = serve(executor).await;
    let mut client = JinaSingleDataRequestRpcClient::new(server.channel.clone());
    let mut other = client.clone();
    let (waited, ()) = tokio::join!(client.process_single_data(request("/x")), async {
        // On one connection requests arrive in order, so the first one has arrived before this one.
        other.process_single_data(request("/y")).await.expect("OK");
        server.stop().await;
    });
    assert_eq!(waited.expect("OK").into_inner().routes.len(), 1);
}

/// An Executor whose handler of `/x` notifies `started` and waits for `resume`.
fn waiting_executor() -> (Executor, Arc<Notify>, Arc<Notify>) {
    let (started, resume) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifies = (Arc::clone(&started), Arc::clone(&resume));
    let executor = Executor::new("Waiting").on("/x", move |_| {
        let (started, resume) = notifies.clone();
        async move {
            started.notify_one();
            resume.notified().await;
            Ok(Reply::unchanged())
        }
    });
    (executor, started, resume)
}

#[tokio::test]
async fn requests_over_the_limit_are_rejected_and_health_checks_are_not() {
    let (executor, started, resume) = waiting_executor();
    let options = ServeOptions {
        max_concurrent_requests: 1,
        ..ServeOptions::default()
    };
    let server = serve_with(executor, options).await;
    let message = request("/x").encode_to_vec();
    let first = call_raw(&server.channel, PROCESS_SINGLE_DATA, &message);
    let (first, ()) = tokio::join!(first, async {
        started.notified().await;
        // On another connection: the limit is for all connections.
        let other = channel(server.address);
        for path in [PROCESS_SINGLE_DATA, PROCESS_DATA] {
            let refused = call_raw(&other, path, &message).await.expect_err("full");
            assert_eq!(refused.code(), Code::ResourceExhausted);
        }
        let mut health = HealthClient::new(other);
        let check = HealthCheckRequest::default();
        health.check(check).await.expect("OK");
        resume.notify_one();
    });
    first.expect("OK");
    resume.notify_one();
    call_raw(&server.channel, PROCESS_SINGLE_DATA, &message)
        .await
        .expect("OK");
    server.stop().await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_until_another_closes() {
    let options = ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    };
    let server = serve_with(multi(), options).await;
    let message = request("/echo").encode_to_vec();
    call_raw(&server.channel, PROCESS_SINGLE_DATA, &message)
        .await
        .expect("OK");
    let other = channel(server.address);
    let sent = message.clone();
    let waiting = tokio::spawn(async move { call_raw(&other, PROCESS_SINGLE_DATA, &sent).await });
    // Far more round trips than a request on an accepted connection takes.
    for _ in 0..50 {
        call_raw(&server.channel, PROCESS_SINGLE_DATA, &message)
            .await
            .expect("OK");
    }
    assert!(!waiting.is_finished());
    let RunningServer {
        channel,
        stop,
        server,
        ..
    } = server;
    drop(channel);
    waiting.await.expect("no panic").expect("OK");
    stop.send(()).expect("the server listens");
    let result = server.await.expect("no panic");
    assert_eq!(result.expect("no error"), Shutdown::Drained);
}

#[tokio::test]
async fn a_stop_ends_after_the_drain_timeout() {
    let (executor, started, _resume) = waiting_executor();
    let options = ServeOptions {
        drain_timeout: Duration::from_millis(1),
        ..ServeOptions::default()
    };
    let server = serve_with(executor, options).await;
    let message = request("/x").encode_to_vec();
    let channel = server.channel.clone();
    tokio::spawn(async move { call_raw(&channel, PROCESS_SINGLE_DATA, &message).await });
    started.notified().await;
    server.stop.send(()).expect("the server listens");
    let result = server.server.await.expect("no panic");
    assert_eq!(result.expect("no error"), Shutdown::TimedOut);
}
