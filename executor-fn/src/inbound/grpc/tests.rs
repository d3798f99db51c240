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
    Batching, DocumentProto, Ended, Error, Executor, Identity, Reply, ServeError, ServeOptions,
    serve_on,
};

struct Served {
    address: SocketAddr,
    channel: Channel,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<Ended, ServeError>>,
}

impl Served {
    async fn stop(self) {
        drop(self.channel);
        self.stop.send(()).expect("the server listens");
        let ended = self.server.await.expect("no panic");
        assert_eq!(ended.expect("no failure"), Ended::Drained);
    }
}

fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}"));
    endpoint.expect("a URI").connect_lazy()
}

async fn stopped(stop: oneshot::Receiver<()>) {
    let _ = stop.await;
}

async fn serve(executor: Executor) -> Served {
    serve_with(executor, ServeOptions::default()).await
}

async fn serve_with(executor: Executor, options: ServeOptions) -> Served {
    let options = ServeOptions {
        identity: Some(Identity::of("exec0")),
        max_message_bytes: 1 << 20,
        ..options
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stop_receiver) = oneshot::channel();
    let server = serve_on(listener, executor, options, stopped(stop_receiver));
    let server = tokio::spawn(server);
    Served {
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

/// Sends any bytes and gives message and trailers apart; tonic's own clients mix them up.
async fn raw(
    channel: &Channel,
    path: &'static str,
    message: &[u8],
) -> Result<(DataRequest, tonic::metadata::MetadataMap), tonic::Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.expect("the server is there");
    let stream = futures_util::stream::once(std::future::ready(message.to_vec()));
    let request = tonic::Request::new(stream);
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = grpc.streaming(request, path, Bytes).await?;
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

/// Bytes out, a request in.
struct Bytes;

impl Codec for Bytes {
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

impl tonic::codec::Encoder for Bytes {
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

const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
const PARTS: &str = "/jina.JinaDataRequestRPC/process_data";

/// Recordings `grpc/22-executor_direct_echo` and `grpc/23-executor_direct_error`.
#[tokio::test]
async fn an_error_is_an_ok_answer_with_a_trailer_behind_it() {
    let served = serve(multi()).await;
    let sent = request("/echo").encode_to_vec();
    let (answer, trailers) = raw(&served.channel, SINGLE, &sent).await.expect("OK");
    assert_eq!(answer.routes[0].executor, "exec0");
    assert!(trailers.get("is-error").is_none());

    let sent = request("/raise").encode_to_vec();
    let (mut answer, trailers) = raw(&served.channel, SINGLE, &sent).await.expect("OK");
    assert_eq!(trailers.get("is-error").expect("a trailer"), "true");
    let status = answer.header.status.take().expect("a status");
    assert_eq!(status.description, "ValueError('boom', 42)");
    assert_eq!(answer, request("/raise"));
    served.stop().await;
}

/// As Jina 3.13 answers them.
#[tokio::test]
async fn bytes_that_are_no_request_are_answered_as_jina_does() {
    let served = serve(multi()).await;
    let (answer, trailers) = raw(&served.channel, SINGLE, b"garbage!").await.expect("OK");
    assert_eq!(trailers.get("is-error").expect("a trailer"), "true");
    let status = answer.header.status.expect("a status");
    assert_eq!(
        status.description,
        "DecodeError(\"Error parsing message with type 'jina.DataRequestProto'\")"
    );
    for (path, message, details) in [
        (
            PARTS,
            &b""[..],
            "Unexpected <class 'IndexError'>: list index out of range",
        ),
        (
            PARTS,
            b"garbage!",
            "Unexpected <class 'google.protobuf.message.DecodeError'>: \
             Error parsing message with type 'jina.DataRequestListProto'",
        ),
    ] {
        let status = raw(&served.channel, path, message)
            .await
            .expect_err(details);
        assert_eq!((status.code(), status.message()), (Code::Unknown, details));
    }
    served.stop().await;
}

/// Where Jina 3.13 answers UNKNOWN, "the buffer is already decompressed".
#[tokio::test]
async fn an_empty_message_is_an_empty_request() {
    let served = serve(multi()).await;
    let (answer, trailers) = raw(&served.channel, SINGLE, b"").await.expect("OK");
    assert!(trailers.get("is-error").is_none());
    assert_eq!(answer.routes[0].executor, "exec0");
    assert!(answer.documents.decode().expect("documents").is_empty());
    served.stop().await;
}

#[tokio::test]
async fn the_other_services_answer() {
    let served = serve(multi()).await;
    let channel = &served.channel;
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
    let unserved = Executor::new("Multi").into_service(Identity::of("exec0"));
    let nowhere = unserved.info();
    assert!(nowhere.envs.values().all(|value| value == "(unset)"));

    let status = raw(channel, "/jina.JinaRPC/Call", b"")
        .await
        .expect_err("no Gateway");
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "Method not found!");
    served.stop().await;
}

#[tokio::test]
async fn compressed_requests_are_taken_up_to_the_limit() {
    let served = serve(multi()).await;
    let mut large = request("/echo");
    let mut documents = large.documents.into_vec().expect("documents");
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let channel = || served.channel.clone();
        let mut discovery =
            JinaDiscoverEndpointsRpcClient::new(channel()).send_compressed(encoding);
        discovery.endpoint_discovery(()).await.expect("OK");
        let mut info = JinaInfoRpcClient::new(channel()).send_compressed(encoding);
        info.status(()).await.expect("OK");
        let mut client =
            JinaSingleDataRequestRpcClient::new(served.channel.clone()).send_compressed(encoding);
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
    served.stop().await;
}

#[tokio::test]
async fn a_stop_flushes_batches_and_finishes_what_is_under_way() {
    let hour = Batching {
        timeout: Duration::from_secs(3600),
        ..Batching::default()
    };
    let executor = Executor::new("Multi")
        .batched("/x", hour, |batch| async move { Ok(batch.documents) })
        .on("/y", |_| async { Ok(Reply::unchanged()) });
    let served = serve(executor).await;
    let mut client = JinaSingleDataRequestRpcClient::new(served.channel.clone());
    let mut other = client.clone();
    let (waited, ()) = tokio::join!(client.process_single_data(request("/x")), async {
        // On one connection requests arrive in order: behind this one the first is there.
        other.process_single_data(request("/y")).await.expect("OK");
        served.stop().await;
    });
    assert_eq!(waited.expect("OK").into_inner().routes.len(), 1);
}

/// Binds `/x` to what waits until it is let go, and tells when it has begun.
fn waiting() -> (Executor, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let notifies = (Arc::clone(&begun), Arc::clone(&go));
    let executor = Executor::new("Waiting").on("/x", move |_| {
        let (begun, go) = notifies.clone();
        async move {
            begun.notify_one();
            go.notified().await;
            Ok(Reply::unchanged())
        }
    });
    (executor, begun, go)
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_health_is_not() {
    let (executor, begun, go) = waiting();
    let options = ServeOptions {
        max_concurrent_requests: 1,
        ..ServeOptions::default()
    };
    let served = serve_with(executor, options).await;
    let message = request("/x").encode_to_vec();
    let first = raw(&served.channel, SINGLE, &message);
    let (first, ()) = tokio::join!(first, async {
        begun.notified().await;
        // On another connection: the limit is everybody's.
        let other = channel(served.address);
        for path in [SINGLE, PARTS] {
            let refused = raw(&other, path, &message).await.expect_err("full");
            assert_eq!(refused.code(), Code::ResourceExhausted);
        }
        let mut health = HealthClient::new(other);
        let check = HealthCheckRequest::default();
        health.check(check).await.expect("OK");
        go.notify_one();
    });
    first.expect("OK");
    go.notify_one();
    raw(&served.channel, SINGLE, &message).await.expect("OK");
    served.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_closes() {
    let options = ServeOptions {
        max_connections: 1,
        ..ServeOptions::default()
    };
    let served = serve_with(multi(), options).await;
    let message = request("/echo").encode_to_vec();
    raw(&served.channel, SINGLE, &message).await.expect("OK");
    let other = channel(served.address);
    let sent = message.clone();
    let waits = tokio::spawn(async move { raw(&other, SINGLE, &sent).await });
    // Far more round trips than a request on a connection that is taken needs.
    for _ in 0..50 {
        raw(&served.channel, SINGLE, &message).await.expect("OK");
    }
    assert!(!waits.is_finished());
    let Served {
        channel,
        stop,
        server,
        ..
    } = served;
    drop(channel);
    waits.await.expect("no panic").expect("OK");
    stop.send(()).expect("the server listens");
    let ended = server.await.expect("no panic");
    assert_eq!(ended.expect("no failure"), Ended::Drained);
}

#[tokio::test]
async fn what_is_under_way_for_too_long_is_cut_off() {
    let (executor, begun, _go) = waiting();
    let options = ServeOptions {
        drain: Duration::from_millis(1),
        ..ServeOptions::default()
    };
    let served = serve_with(executor, options).await;
    let message = request("/x").encode_to_vec();
    let channel = served.channel.clone();
    tokio::spawn(async move { raw(&channel, SINGLE, &message).await });
    begun.notified().await;
    served.stop.send(()).expect("the server listens");
    let ended = served.server.await.expect("no panic");
    assert_eq!(ended.expect("no failure"), Ended::CutOff);
}
