//! The Gateway: sends a request through the Flow's graph of Executors and returns the answer. It knows no client
//! protocol.

mod aborting;

mod admission;

mod discovery;

mod drive;

mod registry;

mod start;

mod warm_up;

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use flowgate_flow::{endpoints::KnownEndpoints, graph::FlowGraph};
use flowgate_grpc::Budget;
use flowgate_proto::{
    DRY_RUN_ENDPOINT, DataRequest, DecodeLimits, Documents, generate_id,
    jina::{HeaderProto, StatusProto},
    with_causes,
};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    aborting::Aborting,
    admission::{Admission, Place},
    drive::Drive,
};
use crate::{
    context::{ConnectionLoad, Context, Counting},
    error::{ErrorCode, GatewayError},
    outbound::Deployment,
};

pub use registry::Registry;
pub use start::DeploymentError;

/// Documents of up to this many times the size of their bytes or text are not counted beside them: the budget is a part of
/// the memory that leaves room for them, and clients with usual documents see the same limit over every protocol.
pub(crate) const FREE_DECODED_TIMES: usize = 2;

/// The Gateway of a Flow. Clones share it.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    graph: Arc<FlowGraph>,
    known: Arc<KnownEndpoints>,
    /// The deployments, by the index of their node in the graph.
    deployments: Vec<Deployment>,
    /// One place for each request that may run at once.
    admission: Arc<Admission>,
    /// What a request, or an Executor's answer, may become when it is decoded.
    decode_limits: DecodeLimits,
    /// Bounds the memory of documents that are decoded, beside what else is held; `None` is no bound.
    budget: Option<Arc<Budget>>,
    /// Whether discovery of the Executors' endpoints has started.
    discovering: AtomicBool,
    /// Requests of Flows with floating Executors, which outlive their answers.
    floating: TaskTracker,
    /// The task that asks the Executors for their endpoints.
    background: TaskTracker,
    stopping: CancellationToken,
    /// Ends the requests in flight at once.
    aborting: Aborting,
    /// Whether health checks fail because the process is about to stop.
    is_unready: AtomicBool,
}

impl Gateway {
    /// Sends a request through the Flow. An error that an Executor reports is in the header of the answer.
    ///
    /// Dropping the future cancels the calls that the answer waits for; floating work that has begun goes on.
    ///
    /// # Errors
    /// When a call to an Executor that the answer waits for fails, the request does not fit the Flow, the Gateway is full, or
    /// the connection has its share of it. Such a request does not wait: it would hold its bytes meanwhile, and its client,
    /// or the balancer before it, can try another Gateway.
    pub async fn handle(
        &self,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        let _counting = self.count(context.load.as_ref())?;
        let place = self.0.admission.try_enter();
        let place = place.ok_or_else(|| self.overloaded())?;
        self.run(place, request, context).await
    }

    /// Does the same as [`Gateway::handle`] for one of many requests on a connection: if the Gateway is full, the
    /// request waits, because an error would end the whole connection.
    ///
    /// The future must be polled also while the client reads no answers, because the request holds a place meanwhile.
    ///
    /// # Errors
    /// The same as [`Gateway::handle`]; a full Gateway is an error only when the deadline passes first.
    pub fn handle_in_turn(
        &self,
        request: DataRequest,
        context: Context,
    ) -> impl Future<Output = Result<DataRequest, GatewayError>> + Send + use<> {
        let gateway = self.clone();
        // Before the future is polled, so that the next `fair_share` counts this request.
        let place = self.0.admission.try_enter();
        async move {
            let place = match place {
                Some(place) => place,
                None => gateway.wait_for_place(context.deadline).await?,
            };
            gateway.run(place, request, context).await
        }
    }

    /// Returns how many requests one WebSocket, or the streams of one connection, may have in flight now: a share of the places that are free, so that however
    /// many requests some connections send, there are places for others.
    #[must_use]
    pub fn fair_share(&self) -> usize {
        self.0.admission.fair_share()
    }

    /// Checks that another request of a connection with this load could be handled now, before its body is read.
    ///
    /// # Errors
    /// When the Gateway is full, or the connection has its share of it.
    pub fn check_room(&self, load: Option<&ConnectionLoad>) -> Result<(), GatewayError> {
        if self.0.admission.is_full() {
            return Err(self.overloaded());
        }
        load.map_or(Ok(()), |load| self.check_share(load))
    }

    fn check_share(&self, load: &ConnectionLoad) -> Result<(), GatewayError> {
        let in_flight = load.get();
        match in_flight < self.0.admission.share_of_single_calls() {
            true => Ok(()),
            false => Err(GatewayError::ConnectionShare { in_flight }),
        }
    }

    /// Counts a request for its connection, if the share allows another one.
    fn count(&self, load: Option<&ConnectionLoad>) -> Result<Option<Counting>, GatewayError> {
        let Some(load) = load else { return Ok(None) };
        self.check_share(load)?;
        Ok(Some(load.enter()))
    }

    async fn wait_for_place(&self, deadline: Option<Instant>) -> Result<Place, GatewayError> {
        let place = self.0.admission.enter();
        match deadline {
            None => Ok(place.await),
            Some(deadline) => tokio::time::timeout_at(deadline, place)
                .await
                .map_err(|_| self.overloaded()),
        }
    }

    fn overloaded(&self) -> GatewayError {
        GatewayError::Overloaded {
            limit: self.0.admission.limit(),
        }
    }

    async fn run(
        &self,
        place: Place,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        self.start_discovery();
        let request_id = request.header.request_id.clone();
        let record = context.record.clone();
        // A panic fails only the request that caused it.
        let driven = AssertUnwindSafe(self.drive(place, request, context)).catch_unwind();
        let result = tokio::select! {
            biased;
            result = driven => result.unwrap_or(Err(GatewayError::Internal)),
            () = self.0.aborting.token().cancelled() => Err(GatewayError::Stopped { may_have_run: true }),
        };
        result.inspect_err(|error| {
            record.note_failure(error.code(), error.executor());
            log(error, &request_id);
        })
    }

    async fn drive(
        &self,
        place: Place,
        request: DataRequest,
        context: Context,
    ) -> Result<DataRequest, GatewayError> {
        let mut drive = Drive::begin(&self.0, request, context).await?;
        if self.0.graph.has_floating_nodes() {
            return drive.run_in_background(place).await;
        }
        drive.run_until_answered().await
    }

    /// Sends a request to the endpoint of dry runs, which every Executor answers without doing any work.
    ///
    /// # Errors
    /// The same as [`Gateway::handle`].
    pub async fn try_dry_run(
        &self,
        documents: Documents,
        context: Context,
    ) -> Result<StatusProto, GatewayError> {
        let header = HeaderProto {
            request_id: generate_id(),
            exec_endpoint: Some(DRY_RUN_ENDPOINT.to_owned()),
            ..Default::default()
        };
        let request = DataRequest {
            header,
            documents,
            ..Default::default()
        };
        // An Executor that answers with an error is up: a dry run checks nothing else (Jina 3.13).
        self.handle(request, context)
            .await
            .map(|_| StatusProto::default())
    }

    /// Does a dry run without documents and returns its status, which describes a failure.
    pub async fn dry_run(&self, context: Context) -> StatusProto {
        let result = self.try_dry_run(Documents::default(), context).await;
        result.unwrap_or_else(|error| error.status())
    }

    /// Runs the batches in which Executors of this process wait for more requests. Called when no more requests will
    /// arrive.
    pub fn flush_batches(&self) {
        self.0
            .deployments
            .iter()
            .for_each(Deployment::flush_batches);
    }

    /// Waits until no floating work is running: floating Executors, and what handlers in this process do after their
    /// answers. A Lambda function does so before it is frozen.
    pub async fn floating_done(&self) {
        // A closed tracker still accepts tasks; it must be closed to be waited for.
        self.0.floating.close();
        self.0.floating.wait().await;
        for deployment in &self.0.deployments {
            deployment.background_done().await;
        }
    }

    /// Whether requests may leave work that goes on after their answers: in floating Executors, or in handlers of this process.
    #[must_use]
    pub fn has_floating_work(&self) -> bool {
        let mut deployments = self.0.deployments.iter();
        self.0.graph.has_floating_nodes() || deployments.any(Deployment::has_background_work)
    }

    /// Stops discovery and waits for floating work. Must be called after the last request.
    pub async fn shutdown(&self) {
        self.0.stopping.cancel();
        self.0.background.close();
        self.0.background.wait().await;
        self.floating_done().await;
    }

    /// Makes health checks over HTTP fail: the process is about to stop. Requests are handled as before.
    pub fn set_unready(&self) {
        self.0.is_unready.store(true, Ordering::Relaxed);
    }

    /// Whether health checks succeed.
    pub(crate) fn is_ready(&self) -> bool {
        !self.0.is_unready.load(Ordering::Relaxed)
    }

    /// Ends all requests in flight with an error.
    pub fn abort(&self) {
        self.0.aborting.abort();
    }

    /// Waits until [`Gateway::abort`] is called, and returns the error for a request whose body is still arriving.
    pub(crate) fn aborted(&self) -> impl Future<Output = GatewayError> + Send + use<> {
        let aborting = self.0.aborting.token().clone();
        async move {
            aborting.cancelled_owned().await;
            GatewayError::Stopped {
                may_have_run: false,
            }
        }
    }

    /// The limits of a request that is decoded.
    pub(crate) fn decode_limits(&self) -> DecodeLimits {
        self.0.decode_limits
    }

    /// The number of floating and background tasks that are running.
    #[must_use]
    pub fn background_tasks(&self) -> usize {
        self.0.background.len() + self.0.floating.len()
    }
}

impl Shared {
    /// Whether an Executor in this process decodes the documents of requests.
    fn decodes_documents(&self) -> bool {
        let mut deployments = self.deployments.iter();
        deployments.any(|deployment| matches!(deployment, Deployment::InProcess(_)))
    }
}

/// Logs a failed request with the whole chain of causes. A client's own mistakes are logged at debug level only, so that
/// clients cannot fill the log.
fn log(error: &GatewayError, request_id: &str) {
    let code = error.code();
    let executor = error.executor();
    match code {
        ErrorCode::InvalidTarget | ErrorCode::InvalidRequest => {
            tracing::debug!(request_id, executor, ?code, error = %with_causes(error), "request rejected");
        }
        ErrorCode::Unavailable
        | ErrorCode::DeadlineExceeded
        | ErrorCode::Overloaded
        | ErrorCode::TooLarge
        | ErrorCode::Refused
        | ErrorCode::FunctionFailed
        | ErrorCode::Misconfigured
        | ErrorCode::Internal => {
            let address = error.addresses();
            tracing::warn!(request_id, executor, address, ?code, error = %with_causes(error), "request failed");
        }
    }
}
