//! Calls Executors: by compressed gRPC, by Lambda invocation, or in this process, as the address in the Flow says.

mod attempt;

pub mod grpc;

pub mod lambda;

use std::{num::NonZeroUsize, sync::Arc};

use executor_fn::{Answer, CallContext, Service, info::Traffic};
use flowgate_config::{GatewayConfig, InvokeConfig};
use flowgate_grpc::Budget;
use flowgate_proto::DataRequest;
use flowgate_tls::TlsRoots;
use http::HeaderMap;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use self::lambda::LambdaClient;
use crate::{context::Context, error::CallError};

pub use grpc::GrpcDeployment;
pub use lambda::LambdaDeployment;

/// What the deployments of a Flow share. A host makes it, and may use it too.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Invokes functions.
    pub lambda: Arc<LambdaClient>,
    /// Counts the bytes of requests and answers.
    pub traffic: Arc<Traffic>,
    /// Bounds the bytes of answers while they arrive, beside what else is held; `None` bounds only each answer.
    pub budget: Option<Arc<Budget>>,
    /// Runs the Executors in this process, whose handlers may compute for long, apart from the threads that serve
    /// connections; `None` runs them where the request is.
    pub executor_runtime: Option<Handle>,
}

impl Clients {
    /// Prepares the clients. The AWS client is built when it is first needed.
    #[must_use]
    pub fn new(config: &InvokeConfig) -> Self {
        Self {
            lambda: Arc::new(LambdaClient::new(config)),
            traffic: Arc::default(),
            budget: None,
            executor_runtime: None,
        }
    }
}

/// Returns the certificate authorities that the Flow trusts.
#[must_use]
pub const fn trusted_roots(config: &GatewayConfig) -> TlsRoots {
    match config.tls_roots {
        flowgate_config::TlsRoots::System => TlsRoots::System,
        flowgate_config::TlsRoots::Bundled => TlsRoots::Bundled,
    }
}

/// One deployment of the Flow.
#[derive(Debug)]
pub enum Deployment {
    /// An Executor behind gRPC, on one or more replicas.
    Grpc(GrpcDeployment),
    /// One or more Lambda functions that take turns.
    Lambda(LambdaDeployment),
    /// An Executor that is compiled into this process.
    InProcess(InProcessDeployment),
}

impl Deployment {
    /// Sends the parts of one request and returns the answer. An error that the Executor itself reports is an answer.
    ///
    /// # Errors
    /// When no attempt succeeded, or the peer answered with an error that is not worth another attempt.
    pub async fn call(
        &self,
        parts: Vec<DataRequest>,
        context: &Context,
    ) -> Result<Answer, CallError> {
        match self {
            Self::Grpc(deployment) => deployment.call(parts, context).await,
            // Boxed, because the SDK's futures are large and calls to other Executors should not have that size.
            Self::Lambda(deployment) => Box::pin(deployment.call(parts, context)).await,
            Self::InProcess(deployment) => deployment.call(parts, context).await,
        }
    }

    /// Runs batches that wait for more requests: no more requests come.
    pub fn flush_batches(&self) {
        match self {
            Self::Grpc(_) | Self::Lambda(_) => {}
            Self::InProcess(deployment) => deployment.service.flush_batches(),
        }
    }

    /// Whether handlers of this process announce work that outlives their answers.
    #[must_use]
    pub fn has_background_work(&self) -> bool {
        match self {
            Self::Grpc(_) | Self::Lambda(_) => false,
            Self::InProcess(deployment) => deployment.service.has_background_work(),
        }
    }

    /// Waits until no work runs that handlers of this process have started and that outlives their answers.
    pub async fn background_done(&self) {
        match self {
            Self::Grpc(_) | Self::Lambda(_) => {}
            Self::InProcess(deployment) => deployment.service.background_done().await,
        }
    }

    /// Returns the endpoints that the Executor binds.
    ///
    /// # Errors
    /// The same as [`Deployment::call`].
    pub async fn endpoints(&self) -> Result<Vec<String>, CallError> {
        match self {
            Self::Grpc(deployment) => deployment.endpoints().await,
            Self::Lambda(deployment) => Box::pin(deployment.endpoints()).await,
            Self::InProcess(deployment) => Ok(deployment.endpoints()),
        }
    }
}

/// An Executor that is compiled into this process.
#[derive(Debug)]
pub struct InProcessDeployment {
    service: Service,
    metadata: HeaderMap,
    runtime: Option<Handle>,
}

impl InProcessDeployment {
    /// Runs the Executor on this runtime, or where its requests are. Its handlers can read `metadata` with every request.
    #[must_use]
    pub const fn new(service: Service, metadata: HeaderMap, runtime: Option<Handle>) -> Self {
        Self {
            service,
            metadata,
            runtime,
        }
    }

    /// The endpoints that the Executor binds.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.service.endpoints()
    }

    async fn call(&self, parts: Vec<DataRequest>, context: &Context) -> Result<Answer, CallError> {
        let answer = self.process(parts, self.call_context(context));
        let Some(deadline) = context.deadline else {
            return answer.await;
        };
        let in_time = tokio::time::timeout_at(deadline, answer).await;
        in_time.unwrap_or_else(|_| Err(CallError::deadline_exceeded(self.service.deployment())))
    }

    /// What a handler can read beside the request, as over gRPC and in an invocation.
    fn call_context(&self, context: &Context) -> CallContext {
        let mut metadata = self.metadata.clone();
        for (name, value) in context.trace.headers() {
            metadata.insert(name, value.clone());
        }
        let call = CallContext::default()
            .with_executor(Some(self.service.deployment().to_owned()))
            .with_metadata(metadata)
            .with_deadline(context.deadline);
        match context.lambda.clone() {
            Some(lambda) => call.with_lambda(lambda),
            None => call,
        }
    }

    async fn process(
        &self,
        parts: Vec<DataRequest>,
        context: CallContext,
    ) -> Result<Answer, CallError> {
        let Some(runtime) = &self.runtime else {
            return Ok(self.service.process_in(parts, context).await);
        };
        let service = self.service.clone();
        let task = runtime.spawn(async move { service.process_in(parts, context).await });
        // A panic of the handler is an answer: this task ends early only with the process.
        let answer = AbortOnDropHandle::new(task).await;
        answer.map_err(|_| CallError::deadline_exceeded(self.service.deployment()))
    }
}

/// Returns how many attempts a call may take: the setting, otherwise Jina's `max(3, replicas) + 1` (Jina
/// 3.13).
fn max_attempts(setting: Option<NonZeroUsize>, replicas: usize) -> usize {
    setting.map_or_else(|| replicas.max(3) + 1, NonZeroUsize::get)
}
