//! The Gateway itself: a request in, through the Flow's graph, its answer out. Knows no client protocol.

mod discovery;

mod drive;

mod registry;

mod start;

mod streamer_args;

use std::sync::Arc;

use flowgate_proto::{
    DRY_RUN_ENDPOINT, DataRequest, fresh_id,
    jina::{HeaderProto, JinaInfoProto, StatusProto},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::drive::Drive;
use crate::{
    error::GatewayError,
    flow::{endpoints::KnownEndpoints, graph::FlowGraph},
    outbound::Deployment,
};

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
    discovery: std::sync::Once,
    /// Floating work and discovery: whatever outlives a request.
    background: TaskTracker,
    stopping: CancellationToken,
    streamer_args: String,
}

impl Gateway {
    /// Sends a request through the Flow. An Executor's error is in the answer's header.
    ///
    /// Dropping the future cancels the calls that the answer waits for; floating work goes on.
    ///
    /// # Errors
    /// When an Executor that the answer waits for gives none, the request does not fit the Flow, or the Gateway is
    /// full.
    pub async fn handle(&self, request: DataRequest) -> Result<DataRequest, GatewayError> {
        self.start_discovery();
        let drive = Drive::begin(&self.0, request)?;
        if self.0.graph.floats() {
            return drive.run_in_background(&self.0).await;
        }
        let _admitted = self.admit()?;
        let mut drive = drive;
        drive.settle().await
    }

    /// Sends an empty request through every Executor; none of them does anything with it.
    ///
    /// # Errors
    /// As [`Gateway::handle`].
    pub async fn try_dry_run(&self) -> Result<StatusProto, GatewayError> {
        let header = HeaderProto {
            request_id: fresh_id(),
            exec_endpoint: Some(DRY_RUN_ENDPOINT.to_owned()),
            ..Default::default()
        };
        // An Executor that answers with an error is there: that is all a dry run asks (facts of Jina 3.13).
        self.handle(DataRequest {
            header,
            ..Default::default()
        })
        .await
        .map(|_| StatusProto::default())
    }

    /// As [`Gateway::try_dry_run`], with a failure told in the status.
    pub async fn dry_run(&self) -> StatusProto {
        self.try_dry_run()
            .await
            .unwrap_or_else(|error| error.status())
    }

    /// What this Gateway is: `/status` and `jina.JinaInfoRPC/_status`.
    #[must_use]
    pub fn info(&self) -> JinaInfoProto {
        executor_fn::info::jina_info(|name| match name {
            "JINA_STREAMER_ARGS" => Some(self.0.streamer_args.clone()),
            name => std::env::var(name).ok(),
        })
    }

    /// Waits for floating work and stops what runs beside requests. No request comes in any more by then.
    pub async fn finish(&self) {
        self.0.stopping.cancel();
        self.0.background.close();
        self.0.background.wait().await;
    }

    /// How many floating or background tasks are under way.
    #[must_use]
    pub fn background_tasks(&self) -> usize {
        self.0.background.len()
    }

    fn admit(&self) -> Result<SemaphorePermit<'_>, GatewayError> {
        self.0
            .admission
            .try_acquire()
            .map_err(|_| self.0.overloaded())
    }
}

impl Shared {
    const fn overloaded(&self) -> GatewayError {
        GatewayError::Overloaded {
            limit: self.max_concurrent_requests,
        }
    }
}
