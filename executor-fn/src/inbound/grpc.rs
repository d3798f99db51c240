//! Serves an Executor over gRPC: Jina's four worker services on top of one [`Service`].

mod data;

mod timeout;

use flowgate_proto::{
    DecodeLimits,
    jina::{
        EndpointsProto, JinaInfoProto,
        jina_discover_endpoints_rpc_server::{
            JinaDiscoverEndpointsRpc, JinaDiscoverEndpointsRpcServer,
        },
        jina_info_rpc_server::{JinaInfoRpc, JinaInfoRpcServer},
    },
};
use tonic::{Response, Status, codec::CompressionEncoding, service::Routes};

use crate::Service;

use self::data::{Admission, DataRpc, ProcessData, ProcessSingleData};

pub use self::timeout::grpc_timeout;

/// The services that an Executor lists in reflection. Jina 3.13's Gateway fails every call to an Executor that lists
/// others.
pub(crate) const ADVERTISED_SERVICES: &[&str] = &[
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaInfoRPC",
];

/// Limits above which a request is answered RESOURCE_EXHAUSTED.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The largest message accepted, in bytes, as sent and after decompression.
    pub(crate) max_message_bytes: usize,
    /// What a message may become when it is decoded.
    pub(crate) decode_limits: DecodeLimits,
    /// Concurrent requests with documents, until their answers are sent. Other calls are not limited: health has to be
    /// answered under any load.
    pub(crate) max_concurrent_requests: usize,
}

/// Returns the routes of the four services.
pub(crate) fn routes(service: &Service, limits: Limits) -> Routes {
    let admission = Admission::new(limits.max_concurrent_requests);
    let (max_bytes, decoding) = (limits.max_message_bytes, limits.decode_limits);
    let process_single_data =
        DataRpc::<ProcessSingleData>::new(service.clone(), max_bytes, decoding, admission.clone());
    let process_data = DataRpc::<ProcessData>::new(service.clone(), max_bytes, decoding, admission);
    Routes::default()
        .add_service(process_single_data)
        .add_service(process_data)
        .add_service(
            JinaDiscoverEndpointsRpcServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Deflate),
        )
        .add_service(
            JinaInfoRpcServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Deflate),
        )
}

#[tonic::async_trait]
impl JinaDiscoverEndpointsRpc for Service {
    async fn endpoint_discovery(
        &self,
        _: tonic::Request<()>,
    ) -> Result<Response<EndpointsProto>, Status> {
        Ok(Response::new(EndpointsProto {
            endpoints: self.endpoints(),
        }))
    }
}

#[tonic::async_trait]
impl JinaInfoRpc for Service {
    async fn status(&self, _: tonic::Request<()>) -> Result<Response<JinaInfoProto>, Status> {
        Ok(Response::new(self.info()))
    }
}

#[cfg(test)]
mod tests;
