//! The services without load: reflection, by which a Jina Gateway learns what an Executor offers, and the list of
//! endpoints.

use flowgate_proto::{
    DEFAULT_ENDPOINT, FILE_DESCRIPTOR_SET,
    jina::{
        EndpointsProto,
        jina_discover_endpoints_rpc_server::{
            JinaDiscoverEndpointsRpc, JinaDiscoverEndpointsRpcServer,
        },
    },
};
use tonic::{Request, Response, Status, service::Routes};

/// The services that a Jina Gateway looks for in an Executor's reflection.
const ADVERTISED: [&str; 3] = [
    "jina.JinaDiscoverEndpointsRPC",
    "jina.JinaSingleDataRequestRPC",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Returns the routes of all services without load.
pub(super) fn routes() -> Routes {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    let builder = ADVERTISED
        .iter()
        .fold(builder, |builder, name| builder.with_service_name(*name));
    let reflection = builder
        .build_v1alpha()
        .expect("the compiled-in descriptors are valid");
    Routes::new(reflection).add_service(JinaDiscoverEndpointsRpcServer::new(Endpoints))
}

struct Endpoints;

#[tonic::async_trait]
impl JinaDiscoverEndpointsRpc for Endpoints {
    async fn endpoint_discovery(&self, _: Request<()>) -> Result<Response<EndpointsProto>, Status> {
        let endpoints = vec![DEFAULT_ENDPOINT.to_owned()];
        Ok(Response::new(EndpointsProto { endpoints }))
    }
}
