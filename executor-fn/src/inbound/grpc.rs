//! An Executor over gRPC: Jina's four worker services on one [`Service`], to what it answers.

mod data;

use flowgate_proto::jina::{
    EndpointsProto, JinaInfoProto,
    jina_discover_endpoints_rpc_server::{
        JinaDiscoverEndpointsRpc, JinaDiscoverEndpointsRpcServer,
    },
    jina_info_rpc_server::{JinaInfoRpc, JinaInfoRpcServer},
};
use tonic::{Response, Status, codec::CompressionEncoding, service::Routes};

use crate::Service;

use self::data::{Admission, DataRpc, Parts, Single};

/// The services that an Executor names in reflection; Jina 3.13's Gateway refuses a peer that names
/// any other.
pub const ADVERTISED: &[&str] = &[
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaInfoRPC",
];

/// What is refused as RESOURCE_EXHAUSTED.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest message taken, as sent or when decompressed, in bytes.
    pub max_message_bytes: usize,
    /// Requests with documents at once, until their answers are sent. The other calls are not counted:
    /// health is answered under any load.
    pub max_concurrent_requests: usize,
}

/// The routes of the four services.
#[must_use]
pub fn routes(service: &Service, limits: Limits) -> Routes {
    let admission = Admission::new(limits.max_concurrent_requests);
    let max = limits.max_message_bytes;
    let single = DataRpc::<Single>::new(service.clone(), max, admission.clone());
    let parts = DataRpc::<Parts>::new(service.clone(), max, admission);
    Routes::default()
        .add_service(single)
        .add_service(parts)
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
