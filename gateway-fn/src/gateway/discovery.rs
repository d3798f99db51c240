//! Learns the endpoints of each Executor: asks gRPC Executors in the background, beginning with the first request, until
//! they have answered, and reads those of a Lambda function from its first answer.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flowgate_flow::graph::NodeId;
use flowgate_proto::with_causes;

use super::{Gateway, Shared};
use crate::outbound::Deployment;

/// The pause after a failed attempt doubles from the minimum to the maximum: an Executor that is starting is soon asked
/// again, one that is down is asked rarely.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

impl Gateway {
    /// Starts discovery with the first request, as Jina does (Jina 3.13). An Executor is not skipped before it
    /// has answered. A function is not asked: the invocation would be a second cold start beside the first request's, and
    /// take the only place of a function with a reserved concurrency of one.
    pub(super) fn start_discovery(&self) {
        // Read first: a store would take the cache line from the other threads at every request.
        if self.0.discovering.load(Ordering::Relaxed)
            || self.0.discovering.swap(true, Ordering::Relaxed)
        {
            return;
        }
        for (id, _) in self.0.graph.nodes() {
            match &self.0.deployments[id.0] {
                // A dry run at start may have been its first answer.
                Deployment::Lambda(_) => note_answer(&self.0, id),
                Deployment::Grpc(_) => spawn_discovery(&self.0, id),
                Deployment::InProcess(_) => {}
            }
        }
    }
}

/// Records the endpoints of a function, which its first answer lists. Asks one that did not list them.
pub(super) fn note_answer(shared: &Arc<Shared>, id: NodeId) {
    if shared.known.is_known(id) {
        return;
    }
    let Deployment::Lambda(function) = &shared.deployments[id.0] else {
        return;
    };
    match function.take_listed_endpoints() {
        Some(Some(endpoints)) => {
            let executor = &shared.graph[id].name;
            tracing::debug!(executor, ?endpoints, "endpoints discovered");
            shared.known.record(id, endpoints);
        }
        Some(None) => spawn_discovery(shared, id),
        None => {}
    }
}

fn spawn_discovery(shared: &Arc<Shared>, id: NodeId) {
    let discovery = discover_endpoints(Arc::clone(shared), id);
    shared.background.spawn(discovery);
}

async fn discover_endpoints(shared: Arc<Shared>, id: NodeId) {
    let executor = &shared.graph[id].name;
    let discovery = async {
        let mut pause = MIN_PAUSE;
        loop {
            match shared.deployments[id.0].endpoints().await {
                Ok(endpoints) => {
                    tracing::debug!(executor, ?endpoints, "endpoints discovered");
                    return shared.known.record(id, endpoints);
                }
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::debug!(executor, %error, ?pause, "endpoint discovery failed");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    };
    shared.stopping.run_until_cancelled(discovery).await;
}
