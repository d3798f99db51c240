//! The endpoints of each node, as reported by endpoint discovery. They decide which nodes a request skips.

use std::sync::OnceLock;

use flowgate_proto::DEFAULT_ENDPOINT;

use super::graph::NodeId;

/// The known endpoints of every node, recorded one node at a time. Reading takes no lock.
#[derive(Debug, Default)]
pub struct KnownEndpoints {
    nodes: Vec<OnceLock<Vec<String>>>,
}

impl KnownEndpoints {
    /// Creates the table for a number of nodes, with no endpoints known.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes: std::iter::repeat_with(OnceLock::new).take(nodes).collect(),
        }
    }

    /// Records the endpoints of a node. Only the first record has an effect.
    pub fn record(&self, node: NodeId, endpoints: Vec<String>) {
        // An Executor's endpoints do not change while it runs, so that a second record is the same.
        let _ = self.nodes[node.0].set(endpoints);
    }

    /// Whether the endpoints of the node are known.
    #[must_use]
    pub fn is_known(&self, node: NodeId) -> bool {
        self.nodes[node.0].get().is_some()
    }

    /// Whether a request to `endpoint` skips the node: its endpoints are known, and neither `endpoint` nor `/default` is
    /// among them (as in Jina 3.13).
    #[must_use]
    pub fn should_skip(&self, node: NodeId, endpoint: &str) -> bool {
        self.nodes[node.0].get().is_some_and(|endpoints| {
            !endpoints
                .iter()
                .any(|name| name == endpoint || name == DEFAULT_ENDPOINT)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_skipped_only_when_it_is_known_not_to_serve_the_endpoint() {
        let known = KnownEndpoints::new(3);
        assert!(!known.should_skip(NodeId(0), "/foo"), "not known yet");
        known.record(
            NodeId(0),
            vec!["/foo".to_owned(), "_jina_dry_run_".to_owned()],
        );
        assert!(!known.should_skip(NodeId(0), "/foo"));
        assert!(known.should_skip(NodeId(0), "/bar"));
        known.record(NodeId(1), vec!["/default".to_owned()]);
        assert!(!known.should_skip(NodeId(1), "/bar"));
        known.record(NodeId(2), Vec::new());
        assert!(known.should_skip(NodeId(2), "/bar"), "no endpoints");
    }
}
