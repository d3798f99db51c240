//! Requests on their way between nodes, and the visit of each node: what arrived there and what came of it.

use std::collections::VecDeque;

use flowgate_proto::{DataRequest, Struct, Timestamp, jina::StatusProto};

use crate::graph::{Node, NodeId};

/// The request on one branch of the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    pub(super) request: DataRequest,
    /// The last node that processed it; `None` if it is as the client sent it.
    pub(super) last_node: Option<NodeId>,
}

/// A request on an edge of the graph.
pub(super) struct Delivery {
    pub(super) from: Option<NodeId>,
    pub(super) to: NodeId,
    pub(super) branch: Branch,
}

/// The visit of the request to one node.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// One place for each of the node's `needs`, in their order, so that the result of a join does not depend on timing.
    branches: Vec<Option<Branch>>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    /// Set if the Executor responded with an error.
    pub(super) status: Option<StatusProto>,
    pub(super) results: Option<Struct>,
    /// The node's contribution to the response to the client: its response at the end of the graph, or an error.
    pub(super) outcome: Option<DataRequest>,
}

impl Visit {
    /// Creates a visit that has not started.
    pub(super) fn new(node: &Node) -> Self {
        Self {
            branches: vec![None; node.needs.len()],
            ..Self::default()
        }
    }

    /// Accepts the request of one branch. Returns the requests of all branches if it was the last one.
    pub(super) fn accept(&mut self, position: usize, branch: Branch) -> Option<Vec<Branch>> {
        self.branches[position] = Some(branch);
        if self.branches.iter().any(Option::is_none) {
            return None;
        }
        Some(self.branches.drain(..).flatten().collect())
    }
}

/// Queues a request for each of several nodes. The last gets the original, the others get copies.
pub(super) fn queue_deliveries(
    queue: &mut VecDeque<Delivery>,
    from: Option<NodeId>,
    to: &[NodeId],
    branch: Branch,
) {
    let Some((&last, others)) = to.split_last() else {
        return;
    };
    for &to in others {
        let branch = branch.clone();
        queue.push_back(Delivery { from, to, branch });
    }
    let to = last;
    queue.push_back(Delivery { from, to, branch });
}
