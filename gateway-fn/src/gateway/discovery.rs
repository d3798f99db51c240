//! Asks every Executor once which endpoints it binds, beside the first request, until each has told.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use flowgate_flow::graph::NodeId;
use flowgate_proto::with_causes;

use super::{Gateway, Shared};

/// The pause after a failed try doubles from the first to the last of these: an Executor that is starting is soon
/// asked again, one that is down is not bothered.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);

impl Gateway {
    /// Starts the asking with the first request, as Jina does (facts of Jina 3.13): until a node has answered,
    /// nobody is skipped.
    pub(super) fn start_discovery(&self) {
        if self.0.discovering.swap(true, Ordering::Relaxed) {
            return;
        }
        for (id, _) in self.0.graph.nodes() {
            if !self.0.known.knows(id) {
                let asking = ask_until_told(Arc::clone(&self.0), id);
                self.0.background.spawn(asking);
            }
        }
    }
}

async fn ask_until_told(shared: Arc<Shared>, id: NodeId) {
    let asking = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match shared.deployments[id.0].endpoints().await {
                Ok(endpoints) => {
                    tracing::debug!(
                        executor = shared.graph[id].name,
                        ?endpoints,
                        "endpoints learnt"
                    );
                    return shared.known.learn(id, endpoints);
                }
                Err(error) => {
                    tracing::debug!(
                        error = %with_causes(&error),
                        ?pause,
                        "endpoints not learnt yet"
                    );
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    };
    shared.stopping.run_until_cancelled(asking).await;
}
