//! A Flow's configuration -> a Gateway with its deployments prepared.

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use executor_fn::{Identity, info::Traffic};
use flowgate_auth::{Auth, AuthError};
use flowgate_config::{Address, Config, ExecutorConfig, GatewayConfig, Retries};
use flowgate_flow::{endpoints::KnownEndpoints, graph::NodeId};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

use super::{Gateway, Registry, Shared, streamer_args::streamer_args};
use crate::outbound::{
    Deployment, GrpcDeployment, LambdaDeployment,
    grpc::{ChannelError, GrpcAddress, GrpcOptions, TlsRoots},
    lambda::{LambdaClient, LambdaOptions},
};

/// Why a Flow that holds as a file cannot be served by this process.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such Executor is compiled in.
    #[error("executor {executor}: no executor {name:?} is compiled in; there are: {}", known.join(", "))]
    UnknownInProcess {
        /// The deployment.
        executor: String,
        /// The name it asks for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An address cannot be used.
    #[error("executor {executor}: {source}")]
    Channel {
        /// The deployment.
        executor: String,
        /// What is wrong.
        source: ChannelError,
    },
    /// What `auth` names cannot be used.
    #[error("auth: {source}")]
    Auth {
        /// What is wrong.
        source: AuthError,
    },
    /// A key or value of `grpc_metadata` cannot travel as gRPC metadata. The value is not shown: it may be a secret.
    #[error("executor {executor}: grpc_metadata {key:?} cannot travel as gRPC metadata")]
    Metadata {
        /// The deployment.
        executor: String,
        /// The key.
        key: String,
    },
}

impl Gateway {
    /// Prepares the Gateway of a Flow. No Executor is called and no connection made yet.
    ///
    /// # Errors
    /// When a deployment cannot be reached from this process at all.
    pub fn new(config: &Config, registry: &Registry) -> Result<Self, StartError> {
        let known = KnownEndpoints::unknown(config.graph.len());
        let traffic = Arc::new(Traffic::default());
        let options = Options {
            grpc: grpc_options(&config.gateway, &traffic),
            lambda: lambda_options(&config.gateway, &traffic),
        };
        let mut deployments = Vec::with_capacity(config.executors.len());
        for (index, executor) in config.executors.iter().enumerate() {
            let deployment = deployment(executor, registry, &options)?;
            if let Deployment::InProcess(service) = &deployment {
                known.learn(NodeId(index), service.endpoints());
            }
            deployments.push(deployment);
        }
        let auth = Auth::new(&config.gateway.auth).map_err(|source| StartError::Auth { source })?;
        let max_concurrent_requests = config.gateway.limits.max_concurrent_requests;
        Ok(Self(Arc::new(Shared {
            graph: Arc::clone(&config.graph),
            known: Arc::new(known),
            deployments,
            admission: Arc::new(Semaphore::new(max_concurrent_requests)),
            max_concurrent_requests,
            discovering: AtomicBool::new(false),
            floating: TaskTracker::new(),
            background: TaskTracker::new(),
            stopping: CancellationToken::new(),
            streamer_args: streamer_args(config),
            warm_up: config.gateway.invoke.warm_up,
            lambda: options.lambda.client,
            auth,
            traffic,
            facts: OnceLock::new(),
        })))
    }
}

/// How Executors elsewhere are called.
struct Options {
    grpc: GrpcOptions,
    lambda: LambdaOptions,
}

fn lambda_options(gateway: &GatewayConfig, traffic: &Arc<Traffic>) -> LambdaOptions {
    let invoke = &gateway.invoke;
    LambdaOptions {
        timeout: gateway.timeout_send,
        tries: tries(gateway),
        compression: gateway.compression,
        max_message_bytes: gateway.limits.max_message_bytes,
        max_parts: invoke.max_parts,
        parallel_parts: invoke.parallel_parts,
        max_retry_pause: invoke.max_retry_pause,
        show_addresses: gateway.internal_addresses_in_errors,
        traffic: Arc::clone(traffic),
        client: Arc::new(LambdaClient::new(invoke)),
    }
}

fn tries(gateway: &GatewayConfig) -> Option<NonZeroUsize> {
    let Retries::Exactly(retries) = gateway.retries else {
        return None;
    };
    let retries = usize::try_from(retries).unwrap_or(usize::MAX);
    NonZeroUsize::new(retries.saturating_add(1))
}

fn grpc_options(gateway: &GatewayConfig, traffic: &Arc<Traffic>) -> GrpcOptions {
    GrpcOptions {
        timeout: gateway.timeout_send,
        tries: tries(gateway),
        compression: gateway.compression,
        max_message_bytes: gateway.limits.max_message_bytes,
        connections: gateway.limits.connections_per_replica,
        roots: gateway
            .tls_roots
            .clone()
            .map_or(TlsRoots::System, TlsRoots::File),
        show_addresses: gateway.internal_addresses_in_errors,
        traffic: Arc::clone(traffic),
    }
}

fn deployment(
    executor: &ExecutorConfig,
    registry: &Registry,
    options: &Options,
) -> Result<Deployment, StartError> {
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
            Address::InProcess { name: uses } => return in_process(name, uses, registry),
            Address::Lambda { function } => functions.push(function.as_str()),
        }
    }
    // The configuration has seen to it that all are of one kind.
    if !functions.is_empty() {
        let deployment = LambdaDeployment::new(name, functions, &options.lambda);
        return Ok(Deployment::Lambda(deployment));
    }
    GrpcDeployment::new(name, &replicas, &metadata(executor)?, &options.grpc)
        .map(Deployment::Grpc)
        .map_err(|source| StartError::Channel {
            executor: name.clone(),
            source,
        })
}

fn in_process(deployment: &str, uses: &str, registry: &Registry) -> Result<Deployment, StartError> {
    let executor = registry
        .make(uses)
        .ok_or_else(|| StartError::UnknownInProcess {
            executor: deployment.to_owned(),
            name: uses.to_owned(),
            known: registry.names().map(str::to_owned).collect(),
        })?;
    let identity = Identity {
        deployment: deployment.to_owned(),
        runtime: format!("{deployment}/rep-0"),
    };
    Ok(Deployment::InProcess(executor.into_service(identity)))
}

fn metadata(executor: &ExecutorConfig) -> Result<MetadataMap, StartError> {
    let mut metadata = MetadataMap::new();
    for (key, value) in &executor.metadata {
        let unfit = || StartError::Metadata {
            executor: executor.name.clone(),
            key: key.clone(),
        };
        let name = AsciiMetadataKey::from_bytes(key.as_bytes()).map_err(|_| unfit())?;
        let mut value = AsciiMetadataValue::try_from(value).map_err(|_| unfit())?;
        value.set_sensitive(true);
        metadata.insert(name, value);
    }
    Ok(metadata)
}
