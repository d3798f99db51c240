//! What each node is known to serve: the answer of endpoint discovery, kept for the skipping of nodes.

use std::sync::OnceLock;

use flowgate_proto::DEFAULT_ENDPOINT;

use super::graph::NodeId;

/// The endpoints of every node, learnt one node at a time. Reading takes no lock.
#[derive(Debug, Default)]
pub struct KnownEndpoints {
    nodes: Vec<OnceLock<Vec<String>>>,
}

impl KnownEndpoints {
    /// Nothing known yet of `nodes` nodes.
    #[must_use]
    pub fn unknown(nodes: usize) -> Self {
        Self {
            nodes: std::iter::repeat_with(OnceLock::new).take(nodes).collect(),
        }
    }

    /// Keeps what a node said of itself; what was learnt first stays.
    pub fn learn(&self, node: NodeId, endpoints: Vec<String>) {
        // A second answer says the same: an Executor's endpoints do not change while it runs.
        let _ = self.nodes[node.0].set(endpoints);
    }

    /// Whether the node has been asked with success.
    #[must_use]
    pub fn knows(&self, node: NodeId) -> bool {
        self.nodes[node.0].get().is_some()
    }

    /// Whether the node is known to have no use for a request to `endpoint` (Jina 3.13: neither this endpoint nor
    /// `/default`). A node that has not been asked yet is not skipped.
    #[must_use]
    pub fn skips(&self, node: NodeId, endpoint: &str) -> bool {
        self.nodes[node.0].get().is_some_and(|served| {
            !served
                .iter()
                .any(|name| name == endpoint || name == DEFAULT_ENDPOINT)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_skipped_only_when_it_is_known_not_to_serve() {
        let known = KnownEndpoints::unknown(3);
        assert!(!known.skips(NodeId(0), "/foo"), "not asked yet");
        known.learn(
            NodeId(0),
            vec!["/foo".to_owned(), "_jina_dry_run_".to_owned()],
        );
        assert!(!known.skips(NodeId(0), "/foo"));
        assert!(known.skips(NodeId(0), "/bar"));
        known.learn(NodeId(1), vec!["/default".to_owned()]);
        assert!(!known.skips(NodeId(1), "/bar"));
        known.learn(NodeId(2), Vec::new());
        assert!(known.skips(NodeId(2), "/bar"), "binds nothing");
    }
}
