//! The Gateway itself: a request in, through the Flow's graph, its answer out. Knows no client protocol.

mod discovery;

mod drive;

mod facts;

mod registry;

mod start;

mod streamer_args;

mod warm_up;

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use executor_fn::info::Traffic;
use flowgate_auth::Auth;
use flowgate_config::WarmUp;
use flowgate_flow::{endpoints::KnownEndpoints, graph::FlowGraph};
use flowgate_proto::{
    DRY_RUN_ENDPOINT, DataRequest, Documents, fresh_id,
    jina::{HeaderProto, JinaInfoProto, StatusProto},
    with_causes,
};
use futures_util::FutureExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use self::drive::Drive;
use crate::{
    context::Context,
    error::{ErrorCode, GatewayError},
    outbound::{Deployment, lambda::LambdaClient},
};

pub use facts::Facts;
pub use registry::Registry;
pub use start::StartError;

/// A Flow's Gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    graph: Arc<FlowGraph>,
    known: Arc<KnownEndpoints>,
    /// By the index of the graph's node.
    deployments: Vec<Deployment>,
    /// One permit for each request under way.
    admission: Arc<Semaphore>,
    max_concurrent_requests: usize,
    /// Whether Executors are being asked for their endpoints.
    discovering: AtomicBool,
    /// Requests of Flows with floating Executors, which outlive their answers.
    floating: TaskTracker,
    /// Discovery.
    background: TaskTracker,
    stopping: CancellationToken,
    streamer_args: String,
    auth: Auth,
    traffic: Arc<Traffic>,
    warm_up: WarmUp,
    lambda: Arc<LambdaClient>,
    facts: OnceLock<Facts>,
}

impl Gateway {
    /// Sends a request through the Flow. An Executor's error is in the answer's header.
    ///
    /// Dropping the future cancels the calls that the answer waits for; floating work that has begun goes on.
    ///
    /// # Errors
    /// When an Executor that the answer waits for gives none, the request does not fit the Flow, or the Gateway is
    /// full.
    pub async fn handle(
        &self,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        let full = GatewayError::Overloaded {
            limit: self.0.max_concurrent_requests,
        };
        let admission = Arc::clone(&self.0.admission);
        let admitted = admission.try_acquire_owned().map_err(|_| full)?;
        self.run(admitted, request, context).await
    }

    /// As [`Gateway::handle`], for one request of many on a connection: a full Gateway lets it wait instead of
    /// failing the whole connection.
    ///
    /// # Errors
    /// As [`Gateway::handle`], but for a full Gateway.
    pub async fn handle_in_turn(
        &self,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        // A task of its own: a client that reads no answers keeps its requests from being polled, and they must not
        // keep their places meanwhile.
        let gateway = self.clone();
        let task = tokio::spawn(async move {
            let admitted = gateway.turn(context.deadline).await?;
            gateway.run(admitted, request, context).await
        });
        let outcome = AbortOnDropHandle::new(task).await;
        outcome.unwrap_or(Err(GatewayError::Internal))
    }

    /// A place among the requests under way, or the news that none was free in time.
    async fn turn(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, GatewayError> {
        let place = Arc::clone(&self.0.admission).acquire_owned();
        let place = match deadline {
            None => place.await,
            Some(deadline) => {
                let full = GatewayError::Overloaded {
                    limit: self.0.max_concurrent_requests,
                };
                let in_time = tokio::time::timeout_at(deadline, place).await;
                in_time.map_err(|_| full)?
            }
        };
        place.map_err(|_| GatewayError::Internal)
    }

    async fn run(
        &self,
        admitted: OwnedSemaphorePermit,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        self.start_discovery();
        let request_id = request.header.request_id.clone();
        let record = context.record.clone();
        // A panic, a library's at what a peer sent for one, is this request's error and nobody else's.
        let driven = AssertUnwindSafe(self.drive(admitted, request, context)).catch_unwind();
        let outcome = driven.await.unwrap_or(Err(GatewayError::Internal));
        outcome.inspect_err(|error| {
            record.note_failure(error.code(), error.executor());
            log(error, &request_id);
        })
    }

    async fn drive(
        &self,
        admitted: OwnedSemaphorePermit,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        let mut drive = Drive::begin(&self.0, request, context)?;
        if self.0.graph.floats() {
            return drive.run_in_background(admitted).await;
        }
        drive.settle().await
    }

    /// Sends an empty request through every Executor; none of them does anything with it.
    ///
    /// # Errors
    /// As [`Gateway::handle`].
    pub async fn try_dry_run(
        &self,
        documents: Documents,
        context: Context,
    ) -> Result<StatusProto, GatewayError> {
        let header = HeaderProto {
            request_id: fresh_id(),
            exec_endpoint: Some(DRY_RUN_ENDPOINT.to_owned()),
            ..Default::default()
        };
        let request = DataRequest {
            header,
            documents,
            ..Default::default()
        };
        // An Executor that answers with an error is there: that is all a dry run asks (facts of Jina 3.13).
        self.handle(request, context)
            .await
            .map(|_| StatusProto::default())
    }

    /// As [`Gateway::try_dry_run`] without documents, with a failure told in the status.
    pub async fn dry_run(&self, context: Context) -> StatusProto {
        let outcome = self.try_dry_run(Documents::default(), context).await;
        outcome.unwrap_or_else(|error| error.status())
    }

    /// What this Gateway is: `/status` and `jina.JinaInfoRPC/_status`.
    #[must_use]
    pub fn info(&self) -> JinaInfoProto {
        let facts = self.facts();
        let mut info = executor_fn::info::jina_info(|name| match name {
            "JINA_STREAMER_ARGS" => Some(self.0.streamer_args.clone()),
            name => {
                let told = || facts.variable(name);
                self.0.traffic.variable(name).or_else(told)
            }
        });
        info.envs.extend(facts.of_function());
        info
    }

    /// What the host knows about this process, for [`Gateway::info`]. It can be told once, before the first request.
    pub fn tell(&self, facts: Facts) {
        // What was told first stays.
        let _ = self.0.facts.set(facts);
    }

    /// What was told, or nothing.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        self.0.facts.get_or_init(Facts::default)
    }

    /// The bytes that went to Executors and came from them.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The client of the Flow's functions, for a host that has one to invoke.
    pub(crate) fn lambda_client(&self) -> &LambdaClient {
        &self.0.lambda
    }

    /// Who may call. Every inbound asks; [`Gateway::handle`] does not.
    #[must_use]
    pub fn auth(&self) -> &Auth {
        &self.0.auth
    }

    /// Lets batches inside this process that wait for more requests run at once: no more come.
    pub fn hurry(&self) {
        self.0.deployments.iter().for_each(Deployment::close);
    }

    /// Waits until no floating work is under way: before a host is frozen, which would leave it hanging.
    pub async fn settled(&self) {
        // A tracker that is closed takes work all the same; it only lets itself be waited for.
        self.0.floating.close();
        self.0.floating.wait().await;
    }

    /// Waits for floating work and stops what runs beside requests. No request comes in any more by then.
    pub async fn finish(&self) {
        self.0.stopping.cancel();
        self.0.background.close();
        self.0.background.wait().await;
        self.settled().await;
    }

    /// How many floating or background tasks are under way.
    #[must_use]
    pub fn background_tasks(&self) -> usize {
        self.0.background.len() + self.0.floating.len()
    }
}

/// The chain of causes goes to the log. What the client did wrong is the client's affair and must not fill it.
fn log(error: &GatewayError, request_id: &str) {
    let code = error.code();
    match code {
        ErrorCode::InvalidTarget | ErrorCode::InvalidRequest => {
            tracing::debug!(request_id, ?code, error = %with_causes(error), "a request was refused");
        }
        ErrorCode::Unavailable
        | ErrorCode::DeadlineExceeded
        | ErrorCode::Overloaded
        | ErrorCode::TooLarge
        | ErrorCode::Refused
        | ErrorCode::FunctionFailed
        | ErrorCode::Misconfigured
        | ErrorCode::Internal => {
            tracing::warn!(request_id, ?code, error = %with_causes(error), "a request failed");
        }
    }
}
