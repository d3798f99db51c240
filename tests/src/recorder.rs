//! An Executor that is nothing but its wire: serves the RPCs it is told to, keeps what it is sent, refuses as often as
//! it is told, and answers with the request as it came.

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

/// The ways in which an Executor can be called.
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

/// One call as it came.
#[derive(Clone, Debug)]
pub struct Sent {
    /// How it came.
    pub rpc: Rpc,
    /// Its metadata, with the headers that are gRPC's own.
    pub metadata: MetadataMap,
    /// What was in it; nothing for [`Rpc::Endpoints`].
    pub requests: Vec<DataRequest>,
}

impl Sent {
    /// The one request in it.
    ///
    /// # Panics
    /// When there are none or several.
    #[must_use]
    pub fn request(&self) -> &DataRequest {
        match &self.requests[..] {
            [one] => one,
            other => panic!("{} requests", other.len()),
        }
    }

    /// A value of its metadata.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key)?.to_str().ok()
    }
}

/// The server.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    kept: Kept,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Serves these RPCs and no others.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(rpcs: &[Rpc]) -> Self {
        let socket = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let kept = Kept::default();
        let stop = CancellationToken::new();
        let serving = Server::builder()
            .add_routes(kept.routes(rpcs))
            .serve_with_incoming_shutdown(
                TcpListenerStream::new(socket),
                stop.clone().cancelled_owned(),
            );
        let task = tokio::spawn(async move { serving.await.expect("the recorder serves") });
        Self {
            address,
            kept,
            stop,
            task,
        }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Refuses the next data requests, so many, with this status.
    pub fn refuse(&self, times: usize, status: &Status) {
        self.kept
            .lock()
            .refusals
            .extend(std::iter::repeat_n(status.clone(), times));
    }

    /// The data requests so far, in the order in which they came.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        let mut calls = self.calls();
        calls.retain(|call| call.rpc != Rpc::Endpoints);
        calls
    }

    /// All calls so far, in the order in which they came.
    #[must_use]
    pub fn calls(&self) -> Vec<Sent> {
        self.kept.lock().calls.clone()
    }

    /// Stops it and waits until it has.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the recorder stops cleanly");
    }
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    calls: Vec<Sent>,
    refusals: VecDeque<Status>,
}

impl Kept {
    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
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

    /// Keeps a call; what is answered is its first request, unless it is to be refused.
    fn keep(
        &self,
        rpc: Rpc,
        metadata: MetadataMap,
        requests: Vec<DataRequest>,
    ) -> Result<DataRequest, Status> {
        let first = requests.first().cloned().unwrap_or_default();
        let mut record = self.lock();
        record.calls.push(Sent {
            rpc,
            metadata,
            requests,
        });
        let refusal = match rpc {
            Rpc::Endpoints => None,
            Rpc::Single | Rpc::Call | Rpc::List => record.refusals.pop_front(),
        };
        refusal.map_or(Ok(first), Err)
    }
}

#[tonic::async_trait]
impl JinaSingleDataRequestRpc for Kept {
    async fn process_single_data(
        &self,
        request: Request<DataRequest>,
    ) -> Result<Response<DataRequest>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.keep(Rpc::Single, metadata, vec![request])
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl JinaDataRequestRpc for Kept {
    async fn process_data(
        &self,
        request: Request<DataRequestListProto>,
    ) -> Result<Response<DataRequest>, Status> {
        let (metadata, _, list) = request.into_parts();
        self.keep(Rpc::List, metadata, list.requests)
            .map(Response::new)
    }
}

#[tonic::async_trait]
impl JinaRpc for Kept {
    type CallStream = Pin<Box<dyn Stream<Item = Result<DataRequest, Status>> + Send>>;

    async fn call(
        &self,
        request: Request<Streaming<DataRequest>>,
    ) -> Result<Response<Self::CallStream>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let kept = self.clone();
        let answers =
            requests.map(move |request| kept.keep(Rpc::Call, metadata.clone(), vec![request?]));
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl JinaDiscoverEndpointsRpc for Kept {
    async fn endpoint_discovery(
        &self,
        request: Request<()>,
    ) -> Result<Response<EndpointsProto>, Status> {
        self.keep(Rpc::Endpoints, request.into_parts().0, Vec::new())?;
        Ok(Response::new(EndpointsProto {
            endpoints: vec!["/default".to_owned()],
        }))
    }
}
