//! What one node has got, and what came of it.

use flowgate_proto::{DataRequest, Struct, Timestamp, jina::StatusProto};

use crate::graph::{Node, NodeId};

/// A request on one of its ways through the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub(super) request: DataRequest,
    /// The last node that did something with it; none when it is as the client sent it.
    pub(super) seen_by: Option<NodeId>,
}

/// What became of one request at one node.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// One place for each edge into the node, in the order of its `needs`, so that a join comes out the same whoever
    /// answers first.
    parts: Vec<Option<Part>>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    /// Set when the Executor answered with an error.
    pub(super) status: Option<StatusProto>,
    pub(super) results: Option<Struct>,
    /// What this node has to say to the client: its answer where a path ends, or an error that ended one.
    pub(super) outcome: Option<DataRequest>,
}

impl Visit {
    /// A visit to the node that has not begun.
    pub(super) fn expecting(node: &Node) -> Self {
        Self {
            parts: vec![None; node.needs.len()],
            ..Self::default()
        }
    }

    /// Takes a part in; all of them when this was the last.
    pub(super) fn arrive(&mut self, place: usize, part: Part) -> Option<Vec<Part>> {
        self.parts[place] = Some(part);
        if self.parts.iter().any(Option::is_none) {
            return None;
        }
        Some(self.parts.drain(..).flatten().collect())
    }
}
