//! Requests on their way between nodes, and the visit of each node: what arrived there and what came of it.

use std::{collections::VecDeque, sync::Arc};

use flowgate_proto::{
    DataRequest, Struct, Timestamp, docarray::DocumentProto, jina::StatusProto, normalize_shared,
};

use crate::graph::{FlowGraph, Node, NodeId};

/// The request on one branch of the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    pub(super) request: DataRequest,
    /// The last node that processed it; `None` if it is as the client sent it.
    pub(super) last_node: Option<NodeId>,
    /// The documents of the request, normalized, on the way to nodes with a condition: they are decoded once for all of them.
    pub(super) normalized: Option<Arc<Vec<DocumentProto>>>,
}

impl Branch {
    /// Normalizes the documents for several conditions. Not if ids are generated, because they differ in each branch; and
    /// documents that cannot be decoded are an error at the node that needs them.
    fn share_normalized(&mut self) {
        let documents = &self.request.documents;
        if self.normalized.is_none() && documents.has_all_ids() {
            self.normalized = documents.decode().ok();
            self.normalized
                .as_mut()
                .into_iter()
                .for_each(normalize_shared);
        }
    }
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
    graph: &FlowGraph,
    queue: &mut VecDeque<Delivery>,
    from: Option<NodeId>,
    to: &[NodeId],
    mut branch: Branch,
) {
    let Some((&last, others)) = to.split_last() else {
        return;
    };
    let has_filter = |node: NodeId| graph[node].filter.is_some();
    if to.iter().filter(|node| has_filter(**node)).count() > 1 {
        branch.share_normalized();
    }
    let normalized = branch.normalized.take();
    let mut push = |to, mut branch: Branch| {
        branch.normalized = normalized.clone().filter(|_| has_filter(to));
        queue.push_back(Delivery { from, to, branch });
    };
    for &to in others {
        push(to, branch.clone());
    }
    push(last, branch);
}
