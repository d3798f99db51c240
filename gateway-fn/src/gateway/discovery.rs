//! Asks each Executor for its endpoints in the background, beginning with the first request, until it has answered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flowgate_flow::graph::NodeId;
use flowgate_proto::with_causes;

use super::{Gateway, Shared};

/// The pause after a failed attempt doubles from the minimum to the maximum: an Executor that is starting is soon asked
/// again, one that is down is asked rarely.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

impl Gateway {
    /// Starts discovery with the first request, as Jina does (Jina 3.13). An Executor is not skipped before it
    /// has answered.
    pub(super) fn start_discovery(&self) {
        // Read first: a store would take the cache line from the other threads at every request.
        if self.0.discovering.load(Ordering::Relaxed)
            || self.0.discovering.swap(true, Ordering::Relaxed)
        {
            return;
        }
        for (id, _) in self.0.graph.nodes() {
            if !self.0.known.is_known(id) {
                let discovery = discover_endpoints(Arc::clone(&self.0), id);
                self.0.background.spawn(discovery);
            }
        }
    }
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
