//! Prepares the deployments of a Flow's configuration for a Gateway.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicBool},
};

use executor_fn::Identity;
use flowgate_config::{Address, Config, ExecutorConfig, GatewayConfig, Retries};
use flowgate_flow::{endpoints::KnownEndpoints, graph::NodeId};
use flowgate_tls::TlsRoots;
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::{Gateway, Registry, Shared, aborting::Aborting, admission::Admission};
use crate::outbound::{
    Clients, Deployment, GrpcDeployment, InProcessDeployment, LambdaDeployment,
    grpc::{ChannelError, ClientTls, GrpcAddress, GrpcOptions, SystemResolver},
    lambda::LambdaOptions,
    trusted_roots,
};

/// Why this process cannot call a deployment of a valid Flow.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// No Executor of the name is compiled in.
    #[error("executor `{executor}`: no executor {name:?} is compiled in (known: {})", known.join(", "))]
    UnknownInProcess {
        /// The deployment's name.
        executor: String,
        /// The name in `inproc://NAME`.
        name: String,
        /// The names of all Executors that are compiled in.
        known: Vec<String>,
    },
    /// An address or the trusted roots cannot be used.
    #[error("executor `{executor}`: {source}")]
    Channel {
        /// The deployment's name.
        executor: String,
        /// Why the channel cannot be made.
        source: ChannelError,
    },
    /// An entry of `grpc_metadata` is not valid gRPC metadata. The value is not shown, because it may be a secret.
    #[error(
        "executor `{executor}`: the key or value of grpc_metadata {key:?} is not valid gRPC metadata"
    )]
    Metadata {
        /// The deployment's name.
        executor: String,
        /// The key of the entry.
        key: String,
    },
}

impl Gateway {
    /// Prepares the Gateway of a Flow. Calls no Executor and opens no connection.
    ///
    /// # Errors
    /// When this process cannot call a deployment at all.
    pub fn new(
        config: &Config,
        registry: &Registry,
        clients: &Clients,
    ) -> Result<Self, DeploymentError> {
        let known = KnownEndpoints::new(config.graph.len());
        let options = Options {
            grpc: grpc_options(&config.gateway, clients),
            lambda: lambda_options(&config.gateway, clients),
            executor_runtime: clients.executor_runtime.clone(),
        };
        let mut deployments = Vec::with_capacity(config.executors.len());
        for (index, executor) in config.executors.iter().enumerate() {
            let deployment = deployment(executor, registry, &options)?;
            if let Deployment::InProcess(deployment) = &deployment {
                known.record(NodeId(index), deployment.endpoints());
            }
            deployments.push(deployment);
        }
        let limits = config.gateway.limits;
        let bytes_in_flight = clients.budget.as_ref().map_or(usize::MAX, |b| b.limit());
        Ok(Self(Arc::new(Shared {
            graph: Arc::clone(&config.graph),
            known: Arc::new(known),
            deployments,
            admission: Admission::new(limits.max_concurrent_requests, limits.connection_share),
            decode_limits: limits.decode_limits(bytes_in_flight),
            budget: clients.budget.clone(),
            discovering: AtomicBool::new(false),
            floating: TaskTracker::new(),
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
            aborting: Aborting::new(),
            is_unready: AtomicBool::new(false),
        })))
    }
}

/// How Executors outside of this process are called.
struct Options {
    grpc: GrpcOptions,
    lambda: LambdaOptions,
    executor_runtime: Option<Handle>,
}

fn lambda_options(gateway: &GatewayConfig, clients: &Clients) -> LambdaOptions {
    let invoke = &gateway.invoke;
    LambdaOptions {
        timeout: gateway.timeout_send,
        attempts: attempts(gateway),
        compression: gateway.compression,
        max_message_bytes: gateway.limits.max_message_bytes,
        max_parts: invoke.max_parts,
        parallel_parts: invoke.parallel_parts,
        max_retry_pause: invoke.max_retry_pause,
        show_addresses: gateway.internal_addresses_in_errors,
        traffic: Arc::clone(&clients.traffic),
        client: Arc::clone(&clients.lambda),
    }
}

fn attempts(gateway: &GatewayConfig) -> Option<NonZeroUsize> {
    let Retries::Exactly(retries) = gateway.retries else {
        return None;
    };
    let retries = usize::try_from(retries).unwrap_or(usize::MAX);
    NonZeroUsize::new(retries.saturating_add(1))
}

fn grpc_options(gateway: &GatewayConfig, clients: &Clients) -> GrpcOptions {
    GrpcOptions {
        timeout: gateway.timeout_send,
        attempts: attempts(gateway),
        retry_policy: gateway.retry_policy,
        compression: gateway.compression,
        max_message_bytes: gateway.limits.max_message_bytes,
        connections: gateway.limits.connections_per_replica,
        resolver: Arc::new(SystemResolver),
        tls: ClientTls::new(match &gateway.executor_roots_file {
            Some(file) => TlsRoots::File(file.clone()),
            None => trusted_roots(gateway),
        }),
        show_addresses: gateway.internal_addresses_in_errors,
        traffic: Arc::clone(&clients.traffic),
        budget: clients.budget.clone(),
    }
}

fn deployment(
    executor: &ExecutorConfig,
    registry: &Registry,
    options: &Options,
) -> Result<Deployment, DeploymentError> {
    let name = &executor.name;
    let mut replicas = Vec::new();
    let mut functions = Vec::new();
    for address in &executor.addresses {
        match address {
            Address::Grpc { tls, .. } => {
                replicas.push(GrpcAddress {
                    authority: address.authority().unwrap_or_default(),
                    tls: *tls,
                });
            }
            Address::InProcess { name: uses } => {
                return in_process(executor, uses, registry, options);
            }
            Address::Lambda { function } => functions.push(function.as_str()),
        }
    }
    // The configuration guarantees that all addresses of a deployment have the same scheme.
    if !functions.is_empty() {
        let deployment = LambdaDeployment::new(name, functions, &options.lambda);
        let deployment = deployment.with_metadata(metadata(executor)?);
        return Ok(Deployment::Lambda(deployment));
    }
    GrpcDeployment::new(name, &replicas, &metadata(executor)?, &options.grpc)
        .map(Deployment::Grpc)
        .map_err(|source| DeploymentError::Channel {
            executor: name.clone(),
            source,
        })
}

fn in_process(
    executor: &ExecutorConfig,
    uses: &str,
    registry: &Registry,
    options: &Options,
) -> Result<Deployment, DeploymentError> {
    let service = registry
        .make(uses)
        .ok_or_else(|| DeploymentError::UnknownInProcess {
            executor: executor.name.clone(),
            name: uses.to_owned(),
            known: registry.names().map(str::to_owned).collect(),
        })?
        .into_service(Identity::first_replica(&executor.name));
    let runtime = options.executor_runtime.clone();
    Ok(Deployment::InProcess(InProcessDeployment::new(
        service,
        metadata(executor)?,
        runtime,
    )))
}

fn metadata(executor: &ExecutorConfig) -> Result<HeaderMap, DeploymentError> {
    let mut metadata = MetadataMap::new();
    for (key, value) in &executor.metadata {
        let invalid = || DeploymentError::Metadata {
            executor: executor.name.clone(),
            key: key.clone(),
        };
        let name = AsciiMetadataKey::from_bytes(key.as_bytes()).map_err(|_| invalid())?;
        let mut value = AsciiMetadataValue::try_from(value).map_err(|_| invalid())?;
        value.set_sensitive(true);
        metadata.insert(name, value);
    }
    Ok(metadata.into_headers())
}
