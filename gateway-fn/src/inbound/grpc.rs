//! Serves Jina's gRPC services, health checks and reflection.

mod answers;

mod call;

mod data;

use std::{num::NonZeroUsize, sync::Arc};

use axum::Router;
use executor_fn::introspect::{HealthSwitch, Introspection};
use flowgate_auth::layer;
use flowgate_config::{GatewayConfig, Limits};
use flowgate_proto::{
    DataRequest,
    docarray::DocumentProto,
    generate_id,
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
use http::{Extensions, HeaderMap};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding, service::Routes};

pub use self::data::{DataMethod, DataMethods, is_grpc};

use self::call::StreamingService;
use super::{
    Services,
    bounded::{self, MAX_CONTROL_MESSAGE_BYTES},
    connect, min_rate,
};
use crate::{context::Context, gateway::Gateway, status::GatewayStatus};

/// The services in reflection and health checks, as Jina's Gateway lists them (Jina 3.13).
const SERVICES: &[&str] = &[
    "jina.JinaRPC",
    "jina.JinaSingleDataRequestRPC",
    "jina.JinaGatewayDryRunRPC",
    "jina.JinaInfoRPC",
];

/// The same services with authentication for different protocols.
#[derive(Clone, Debug)]
pub struct Routers {
    /// The methods that carry data, for gRPC over HTTP/2.
    pub data_methods: DataMethods,
    /// The services for gRPC. Those methods are among them, for hosts that have no HTTP/2 connection.
    pub grpc: Router,
    /// The services for gRPC-Web and Connect: callers are authenticated if `auth` applies to gRPC or to HTTP.
    pub over_http: Router,
}

/// Returns the gRPC routes, and the switch that makes health checks fail when the Gateway is about to stop. Streams read no
/// more requests once `stopping` is cancelled.
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
    let min_rate = min_rate(config);
    let max_in_flight = config
        .prefetch
        .map_or(max_concurrent_requests, NonZeroUsize::get);
    let Services {
        gateway,
        auth,
        status,
        budget,
    } = services;
    let service = GatewayService(gateway.clone());
    let streaming = StreamingService::new(gateway.clone(), max_in_flight, stopping.clone());
    let introspection = Introspection::new(SERVICES);
    let routes = Routes::default()
        .add_service(
            JinaRpcServer::new(streaming.clone())
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            JinaSingleDataRequestRpcServer::new(service.clone())
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(max_message_bytes),
        )
        .add_service(
            JinaGatewayDryRunRpcServer::new(service)
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_CONTROL_MESSAGE_BYTES),
        )
        .add_service(
            JinaInfoRpcServer::new(InfoService(status.clone()))
                .accept_compressed(CompressionEncoding::Deflate)
                .accept_compressed(CompressionEncoding::Gzip)
                .max_decoding_message_size(MAX_CONTROL_MESSAGE_BYTES),
        );
    let routes = introspection.add_to(routes).into_axum_router();
    let routes = bounded::read_messages(routes, gateway, config);
    let routers = Routers {
        data_methods: DataMethods::new(
            gateway.clone(),
            streaming,
            auth.clone(),
            Arc::clone(budget),
            max_message_bytes,
            min_rate,
        ),
        grpc: layer::protect_grpc(routes.clone(), auth),
        over_http: layer::protect_grpc_over_http(routes, auth),
    };
    (routers, introspection.health())
}

#[derive(Clone, Debug)]
struct GatewayService(Gateway);

#[derive(Debug)]
struct InfoService(GatewayStatus);

#[tonic::async_trait]
impl JinaSingleDataRequestRpc for GatewayService {
    async fn process_single_data(
        &self,
        request: Request<DataRequest>,
    ) -> Result<Response<DataRequest>, Status> {
        let context = context(&request);
        let is_connect = connect::is_call(request.extensions());
        match self.0.handle(request.into_inner(), context).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error) if is_connect => Err(error.connect_status()),
            Err(error) => Err(error.grpc_status()),
        }
    }
}

#[tonic::async_trait]
impl JinaGatewayDryRunRpc for GatewayService {
    async fn dry_run(&self, request: Request<()>) -> Result<Response<StatusProto>, Status> {
        // Over gRPC Jina's dry run sends one document, over the other protocols none (Jina 3.13).
        let document = DocumentProto {
            id: generate_id(),
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
impl JinaInfoRpc for InfoService {
    async fn status(&self, _: Request<()>) -> Result<Response<JinaInfoProto>, Status> {
        Ok(Response::new(self.0.info()))
    }
}

fn context<T>(request: &Request<T>) -> Context {
    context_of(request.extensions(), request.metadata().as_ref())
}

/// Returns the context that the host added to the request, or else one with the trace in the headers. The client's deadline
/// applies in both cases.
fn context_of(extensions: &Extensions, headers: &HeaderMap) -> Context {
    let mut context = Context::from_request(extensions, headers);
    if let Some(limit) = executor_fn::grpc_timeout(headers) {
        context.shorten_deadline(limit);
    }
    context
}
