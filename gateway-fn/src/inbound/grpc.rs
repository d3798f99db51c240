//! gRPC clients: Jina's services over one Gateway, with health and reflection.

mod call;

mod timeout;

use std::num::NonZeroUsize;

use axum::Router;
use executor_fn::introspect::{HealthSwitch, Introspection};
use flowgate_auth::layer;
use flowgate_config::{GatewayConfig, Limits};
use flowgate_proto::{
    DataRequest,
    docarray::DocumentProto,
    fresh_id,
    jina::{
        JinaInfoProto, StatusProto,
        jina_gateway_dry_run_rpc_server::{JinaGatewayDryRunRpc, JinaGatewayDryRunRpcServer},
        jina_info_rpc_server::{JinaInfoRpc, JinaInfoRpcServer},
        jina_rpc_server::JinaRpcServer,
        jina_single_data_request_rpc_server::{
            JinaSingleDataRequestRpc, JinaSingleDataRequestRpcServer,
        },
    },
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};

use self::call::Calls;
use super::Services;
use crate::{context::Context, gateway::Gateway, status::GatewayStatus};

/// What reflection lists, and health knows: what Jina's own Gateway serves (facts of Jina 3.13).
const SERVICES: &[&str] = &[
    "jina.JinaRPC",
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaGatewayDryRunRPC",
    "jina.JinaInfoRPC",
];

/// The same services behind two doors.
#[derive(Clone, Debug)]
pub struct Routers {
    /// For gRPC itself.
    pub grpc: Router,
    /// For gRPC-Web and Connect: a caller needs what `auth` demands of gRPC or of HTTP.
    pub over_http: Router,
}

/// The routes of a gRPC listener, and the switch that tells health checks when the Gateway is about to stop. Streams
/// take no more requests once `stopping` is true.
pub fn routers(
    services: &Services,
    config: &GatewayConfig,
    stopping: &CancellationToken,
) -> (Routers, HealthSwitch) {
    let Limits {
        max_message_bytes,
        max_concurrent_requests,
        ..
    } = config.limits;
    let in_flight = config
        .prefetch
        .map_or(max_concurrent_requests, NonZeroUsize::get);
    let Services {
        gateway,
        auth,
        status,
    } = services;
    let inbound = Inbound(gateway.clone());
    let introspection = Introspection::new(SERVICES);
    let routes = Routes::default()
        .add_service(
            JinaRpcServer::new(Calls::new(gateway.clone(), in_flight, stopping.clone()))
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            JinaSingleDataRequestRpcServer::new(inbound.clone())
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            JinaGatewayDryRunRpcServer::new(inbound)
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip),
        )
        .add_service(
            JinaInfoRpcServer::new(Info(status.clone()))
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip),
        );
    let routes = introspection.add_to(routes).into_axum_router();
    let routers = Routers {
        grpc: layer::protect_grpc(routes.clone(), auth),
        over_http: layer::protect_grpc_over_http(routes, auth),
    };
    (routers, introspection.health())
}

#[derive(Clone, Debug)]
struct Inbound(Gateway);

#[derive(Debug)]
struct Info(GatewayStatus);

#[tonic::async_trait]
impl JinaSingleDataRequestRpc for Inbound {
    async fn process_single_data(
        &self,
        request: Request<DataRequest>,
    ) -> Result<Response<DataRequest>, Status> {
        let context = context(&request);
        match self.0.handle(request.into_inner(), context).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error) => Err(error.grpc_status()),
        }
    }
}

#[tonic::async_trait]
impl JinaGatewayDryRunRpc for Inbound {
    async fn dry_run(&self, request: Request<()>) -> Result<Response<StatusProto>, Status> {
        // Over gRPC Jina's dry run carries one document, over the other protocols none (facts of Jina 3.13).
        let document = DocumentProto {
            id: fresh_id(),
            ..Default::default()
        };
        let outcome = self
            .0
            .try_dry_run(vec![document].into(), context(&request))
            .await;
        Ok(Response::new(
            outcome.unwrap_or_else(|error| error.status()),
        ))
    }
}

#[tonic::async_trait]
impl JinaInfoRpc for Info {
    async fn status(&self, _: Request<()>) -> Result<Response<JinaInfoProto>, Status> {
        Ok(Response::new(self.0.info()))
    }
}

/// What the host knows about the request, or else the trace that its metadata names; the client's own deadline counts in
/// any case.
fn context<T>(request: &Request<T>) -> Context {
    let headers = request.metadata().as_ref();
    let mut context = Context::of(request.extensions(), headers);
    if let Some(limit) = timeout::of(headers) {
        context.wait_at_most(limit);
    }
    context
}
