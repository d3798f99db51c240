//! A call to an Executor -> its answer. The transport is what the Flow's address says: compressed gRPC, a
//! Lambda invocation, or this process itself.

mod error;

pub mod grpc;

pub mod lambda;

use std::sync::Arc;

use executor_fn::{Answer, Service, info::Traffic};
use flowgate_config::InvokeConfig;
use flowgate_proto::DataRequest;

use self::lambda::LambdaClient;
use crate::context::Context;

pub use error::{CallError, Failure};
pub use grpc::GrpcDeployment;
pub use lambda::{InvokeFault, LambdaDeployment};

/// What the deployments of a Flow share. A host makes it, and may use it itself.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Invokes functions.
    pub lambda: Arc<LambdaClient>,
    /// Counts the bytes of requests and answers.
    pub traffic: Arc<Traffic>,
}

impl Clients {
    /// Prepares the clients. The AWS client is built when it is first needed.
    #[must_use]
    pub fn new(config: &InvokeConfig) -> Self {
        Self {
            lambda: Arc::new(LambdaClient::new(config)),
            traffic: Arc::default(),
        }
    }
}

/// One deployment of the Flow, ready to be called.
#[derive(Debug)]
pub enum Deployment {
    /// Behind gRPC, on one or more replicas.
    Grpc(GrpcDeployment),
    /// A Lambda function, or several that take turns.
    Lambda(LambdaDeployment),
    /// Compiled into this process.
    InProcess(Service),
}

impl Deployment {
    /// Sends the parts of one request and waits for the answer.
    ///
    /// # Errors
    /// When no replica could be reached in the tries allowed, or the peer refused the call. An error that the
    /// Executor itself reports is an answer.
    pub async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        match self {
            Self::Grpc(deployment) => deployment.call(parts, context).await,
            // The SDK's futures are large; a call to another Executor is not to carry their size.
            Self::Lambda(deployment) => Box::pin(deployment.call(parts, context)).await,
            Self::InProcess(service) => in_process(service, parts, context).await,
        }
    }

    /// Lets batches that wait for more requests run at once: no more come.
    pub fn flush_batches(&self) {
        match self {
            Self::Grpc(_) | Self::Lambda(_) => {}
            Self::InProcess(service) => service.close(),
        }
    }

    /// The endpoints that the Executor binds.
    ///
    /// # Errors
    /// As [`Deployment::call`].
    pub async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        match self {
            Self::Grpc(deployment) => deployment.endpoints().await,
            Self::Lambda(deployment) => Box::pin(deployment.endpoints()).await,
            Self::InProcess(service) => Ok(service.endpoints()),
        }
    }
}

async fn in_process(
    service: &Service,
    parts: Vec<DataRequest>,
    context: &Context,
) -> Result<Answer, CallError> {
    let answer = service.process(parts);
    let Some(deadline) = context.deadline else {
        return Ok(answer.await);
    };
    let in_time = tokio::time::timeout_at(deadline, answer).await;
    in_time.map_err(|_| CallError::out_of_time(service.deployment()))
}
