//! A fake Executor that serves selected RPCs, records its calls, fails a given number of times, and otherwise returns
//! each request unchanged.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use flowgate_proto::{
    DataRequest,
    jina::{
        DataRequestListProto, EndpointsProto,
        jina_data_request_rpc_server::{JinaDataRequestRpc, JinaDataRequestRpcServer},
        jina_discover_endpoints_rpc_server::{
            JinaDiscoverEndpointsRpc, JinaDiscoverEndpointsRpcServer,
        },
        jina_rpc_server::{JinaRpc, JinaRpcServer},
        jina_single_data_request_rpc_server::{
            JinaSingleDataRequestRpc, JinaSingleDataRequestRpcServer,
        },
    },
};
use futures_util::{Stream, StreamExt as _};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming, codec::CompressionEncoding, metadata::MetadataMap,
    service::Routes, transport::Server,
};

/// The RPCs of an Executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// `jina.JinaSingleDataRequestRPC/process_single_data`.
    Single,
    /// `jina.JinaRPC/Call`.
    Call,
    /// `jina.JinaDataRequestRPC/process_data`.
    List,
    /// `jina.JinaDiscoverEndpointsRPC/endpoint_discovery`.
    Endpoints,
}

/// One received call.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The RPC that was called.
    pub rpc: Rpc,
    /// The metadata, including gRPC's own headers.
    pub metadata: MetadataMap,
    /// The requests; empty for [`Rpc::Endpoints`].
    pub requests: Vec<DataRequest>,
}

impl RecordedCall {
    /// Returns the only request.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn request(&self) -> &DataRequest {
        match &self.requests[..] {
            [one] => one,
            other => panic!("{} requests", other.len()),
        }
    }

    /// Returns a value of the metadata.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.to_str().ok()
    }
}

/// A running Executor that records its calls.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    log: CallLog,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Starts an Executor that serves only these RPCs.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(rpcs: &[Rpc]) -> Self {
        let socket = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let log = CallLog::default();
        let stop = CancellationToken::new();
        let serving = Server::builder()
            .add_routes(log.routes(rpcs))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(socket),
                stop.clone().cancelled_owned(),
            );
        let task = tokio::spawn(async move { serving.await.expect("the recorder serves") });
        Self {
            address,
            log,
            stop,
            task,
        }
    }

    /// Returns its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Fails this many of the next data requests with the status.
    pub fn fail_next(&self, times: usize, status: &Status) {
        self.log
            .lock()
            .failures
            .extend(std::iter::repeat_n(status.clone(), times));
    }

    /// Returns the calls with data requests so far, in order.
    #[must_use]
    pub fn data_calls(&self) -> Vec<RecordedCall> {
        let mut calls = self.calls();
        calls.retain(|call| call.rpc != Rpc::Endpoints);
        calls
    }

    /// Returns all calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.log.lock().calls.clone()
    }

    /// Stops it and waits for its end.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the recorder stops cleanly");
    }
}

#[derive(Clone, Debug, Default)]
struct CallLog(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    calls: Vec<RecordedCall>,
    failures: VecDeque<Status>,
}

impl CallLog {
    fn lock(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self, rpcs: &[Rpc]) -> Routes {
        rpcs.iter()
            .fold(Routes::default(), |routes, rpc| match rpc {
                Rpc::Single => routes.add_service(
                    JinaSingleDataRequestRpcServer::new(self.clone())
                        .accept_compressed(CompressionEncoding::Gzip)
                        .accept_compressed(CompressionEncoding::Deflate),
                ),
                Rpc::Call => routes.add_service(
                    JinaRpcServer::new(self.clone())
                        .accept_compressed(CompressionEncoding::Gzip)
                        .accept_compressed(CompressionEncoding::Deflate),
                ),
                Rpc::List => routes.add_service(
                    JinaDataRequestRpcServer::new(self.clone())
                        .accept_compressed(CompressionEncoding::Gzip)
                        .accept_compressed(CompressionEncoding::Deflate),
                ),
                Rpc::Endpoints => {
                    routes.add_service(JinaDiscoverEndpointsRpcServer::new(self.clone()))
                }
            })
    }

    /// Records a call. Returns its first request, or the next scripted failure.
    fn record(
        &self,
        rpc: Rpc,
        metadata: MetadataMap,
        requests: Vec<DataRequest>,
    ) -> Result<DataRequest, Status> {
        let first = requests.first().cloned().unwrap_or_default();
        let mut calls = self.lock();
        calls.calls.push(RecordedCall {
            rpc,
            metadata,
            requests,
        });
        let failure = match rpc {
            Rpc::Endpoints => None,
            Rpc::Single | Rpc::Call | Rpc::List => calls.failures.pop_front(),
        };
        failure.map_or(Ok(first), Err)
    }
}

#[tonic::async_trait]
impl JinaSingleDataRequestRpc for CallLog {
    async fn process_single_data(
        &self,
        request: Request<DataRequest>,
    ) -> Result<Response<DataRequest>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.record(Rpc::Single, metadata, vec![request])
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl JinaDataRequestRpc for CallLog {
    async fn process_data(
        &self,
        request: Request<DataRequestListProto>,
    ) -> Result<Response<DataRequest>, Status> {
        let (metadata, _, list) = request.into_parts();
        self.record(Rpc::List, metadata, list.requests)
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl JinaRpc for CallLog {
    type CallStream = Pin<Box<dyn Stream<Item = Result<DataRequest, Status>> + Send>>;

    async fn call(
        &self,
        request: Request<Streaming<DataRequest>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let log = self.clone();
        let responses =
            requests.map(move |request| log.record(Rpc::Call, metadata.clone(), vec![request?]));
        Ok(Response::new(Box::pin(responses)))
    }
}

#[tonic::async_trait]
impl JinaDiscoverEndpointsRpc for CallLog {
    async fn endpoint_discovery(
        &self,
        request: Request<()>,
    ) -> Result<Response<EndpointsProto>, Status> {
        self.record(Rpc::Endpoints, request.into_parts().0, Vec::new())?;
        Ok(Response::new(EndpointsProto {
            endpoints: vec!["/default".to_owned()],
        }))
    }
}
