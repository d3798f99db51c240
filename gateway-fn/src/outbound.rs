//! A call to an Executor -> its answer. The transport is what the Flow's address says: compressed gRPC, or this
//! process itself.

mod error;

pub mod grpc;

use executor_fn::{Answer, Service};
use flowgate_proto::DataRequest;

pub use error::{CallError, Failure};
pub use grpc::GrpcDeployment;

/// One deployment of the Flow, ready to be called.
#[derive(Debug)]
pub enum Deployment {
    /// Behind gRPC, on one or more replicas.
    Grpc(GrpcDeployment),
    /// Compiled into this process.
    InProcess(Service),
}

impl Deployment {
    /// Sends the parts of one request and waits for the answer.
    ///
    /// # Errors
    /// When no replica could be reached in the tries allowed, or the peer refused the call. An error that the
    /// Executor itself reports is an answer.
    pub async fn call(&self, parts: Vec<DataRequest>) -> Result<Answer, CallError> {
        match self {
            Self::Grpc(deployment) => deployment.call(parts).await,
            Self::InProcess(service) => Ok(service.process(parts).await),
        }
    }

    /// Lets batches that wait for more requests run at once: no more come.
    pub fn close(&self) {
        match self {
            Self::Grpc(_) => {}
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
            Self::InProcess(service) => Ok(service.endpoints()),
        }
    }
}
