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

use self::data::{DataRpc, Parts, Single};

/// The services that an Executor names in reflection; Jina 3.13's Gateway refuses a peer that names
/// any other.
pub const ADVERTISED: &[&str] = &[
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaDataRequestRPC",
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaInfoRPC",
];

/// The routes of the four services. A message larger than `max_message_bytes`, as sent or when
/// decompressed, is refused.
#[must_use]
pub fn routes(service: &Service, max_message_bytes: usize) -> Routes {
    Routes::default()
        .add_service(DataRpc::<Single>::new(service.clone(), max_message_bytes))
        .add_service(DataRpc::<Parts>::new(service.clone(), max_message_bytes))
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
