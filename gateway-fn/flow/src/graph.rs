//! The Flow's graph, compiled once from its nodes and edges; it cannot be cyclic or dangling.

use std::collections::BTreeSet;

use super::filter::Filter;

/// A node's place in the graph: its index in the order of the Flow file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// What is known of one node before it is wired up.
#[derive(Debug)]
pub struct NodeSpec {
    /// The deployment's name.
    pub name: String,
    /// `when`: the documents that this node gets to see.
    pub filter: Option<Filter>,
    /// Whether parts that meet here become one request (`no_reduce` turns it off).
    pub reduce: bool,
}

/// One edge. The order of the edges given to [`FlowGraph::new`] is the order of a node's followers, and of the
/// parts at a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// From the Gateway to a node.
    Start(NodeId),
    /// From a node to the next.
    Between(NodeId, NodeId),
    /// From a node back to the Gateway.
    End(NodeId),
}

/// Nodes that wait for each other in a circle, in the order of the circle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the executors {} need each other in a circle", .0.join(" -> "))]
pub struct Cycle(pub Vec<String>);

/// A compiled node.
#[derive(Debug)]
pub struct Node {
    /// The deployment's name.
    pub name: String,
    /// The documents that this node gets to see.
    pub filter: Option<Filter>,
    /// Whether parts that meet here become one request.
    pub reduce: bool,
    /// Where parts come from, in their order; `None` is the Gateway.
    pub needs: Vec<Option<NodeId>>,
    /// Where the answer goes, in the order of the file.
    pub followers: Vec<NodeId>,
    /// Whether the answer of this node goes back to the client.
    pub ends: bool,
    /// Whether the client's answer waits for this node; the others float.
    pub awaited: bool,
}

/// The Flow's graph.
#[derive(Debug, Default)]
pub struct FlowGraph {
    nodes: Vec<Node>,
    start: Vec<NodeId>,
    order: Vec<NodeId>,
    /// By the index of the node.
    before: Vec<BTreeSet<NodeId>>,
    /// By the index of the node.
    behind: Vec<usize>,
    floats: bool,
    filters: bool,
}

impl FlowGraph {
    /// Wires the nodes up.
    ///
    /// # Errors
    /// When the edges go round in a circle.
    ///
    /// # Panics
    /// When an edge names a node that is not among `nodes`.
    pub fn new(nodes: Vec<NodeSpec>, edges: &[Edge]) -> Result<Self, Cycle> {
        let mut graph = Self {
            nodes: nodes.into_iter().map(Node::new).collect(),
            ..Self::default()
        };
        for edge in edges {
            graph.connect(*edge);
        }
        if let Some(circle) = graph.circle() {
            return Err(Cycle(
                circle
                    .into_iter()
                    .map(|id| graph[id].name.clone())
                    .collect(),
            ));
        }
        graph.mark_awaited();
        graph.mark_before();
        graph.mark_behind();
        graph.order = graph.walk_depth_first();
        graph.floats = graph.nodes.iter().any(|node| !node.awaited);
        graph.filters = graph.nodes.iter().any(|node| node.filter.is_some());
        Ok(graph)
    }

    /// The nodes that get the client's request, in the order of the file.
    #[must_use]
    pub fn start(&self) -> &[NodeId] {
        &self.start
    }

    /// How many nodes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node: every request comes straight back.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether any node runs on after the client has its answer.
    #[must_use]
    pub const fn floats(&self) -> bool {
        self.floats
    }

    /// Whether any node has a condition; the answer's documents are then put back in the client's order.
    #[must_use]
    pub const fn filters(&self) -> bool {
        self.filters
    }

    /// All nodes in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeId(index), node))
    }

    /// Every node once, depth first from the start with followers in order: the order of routes (facts of Jina 3.13,
    /// recording `grpc/28-join_b_first`).
    #[must_use]
    pub fn depth_first(&self) -> &[NodeId] {
        &self.order
    }

    /// Whether the client's answer waits for any node; otherwise every request comes straight back.
    #[must_use]
    pub fn awaits(&self) -> bool {
        self.nodes.iter().any(|node| node.awaited)
    }

    /// Whether parts meet anywhere and become one.
    #[must_use]
    pub fn joins(&self) -> bool {
        self.nodes.iter().any(|node| node.needs.len() > 1)
    }

    /// Whether `later` needs `earlier`, at once or by way of others; everything needs the Gateway.
    pub(super) fn comes_after(&self, later: Option<NodeId>, earlier: Option<NodeId>) -> bool {
        match (later, earlier) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(later), Some(earlier)) => self.before[later.0].contains(&earlier),
        }
    }

    /// Notes for every node all that it needs, at once or by way of others.
    fn mark_before(&mut self) {
        for index in 0..self.nodes.len() {
            let mut before = BTreeSet::new();
            let mut back: Vec<NodeId> = self.nodes[index].needs.iter().flatten().copied().collect();
            while let Some(id) = back.pop() {
                if before.insert(id) {
                    back.extend(self.nodes[id.0].needs.iter().flatten());
                }
            }
            self.before.push(before);
        }
    }

    /// How many nodes the client's answer needs after this one, one behind the other, by the longest way.
    #[must_use]
    pub fn nodes_behind(&self, id: NodeId) -> usize {
        self.behind[id.0]
    }

    fn mark_behind(&mut self) {
        self.behind = vec![0; self.nodes.len()];
        // A node needs more others than each of those, so that those behind a node come before it here.
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.before[*index].len()));
        for index in order {
            let followers = self.nodes[index].followers.iter();
            let awaited = followers.filter(|next| self.nodes[next.0].awaited);
            let longest = awaited.map(|next| self.behind[next.0] + 1).max();
            self.behind[index] = longest.unwrap_or(0);
        }
    }

    fn walk_depth_first(&self) -> Vec<NodeId> {
        let mut seen = vec![false; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut stack: Vec<NodeId> = self.start.iter().rev().copied().collect();
        while let Some(id) = stack.pop() {
            if std::mem::replace(&mut seen[id.0], true) {
                continue;
            }
            order.push(id);
            stack.extend(self[id].followers.iter().rev());
        }
        order
    }

    fn connect(&mut self, edge: Edge) {
        match edge {
            Edge::Start(to) => {
                self.start.push(to);
                self.nodes[to.0].needs.push(None);
            }
            Edge::Between(from, to) => {
                self.nodes[from.0].followers.push(to);
                self.nodes[to.0].needs.push(Some(from));
            }
            Edge::End(from) => self.nodes[from.0].ends = true,
        }
    }

    /// Walks back from the ends: whatever the client's answer needs is awaited.
    fn mark_awaited(&mut self) {
        let mut needed: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.nodes[*index].ends)
            .collect();
        while let Some(index) = needed.pop() {
            if !std::mem::replace(&mut self.nodes[index].awaited, true) {
                needed.extend(self.nodes[index].needs.iter().flatten().map(|id| id.0));
            }
        }
    }

    /// A circle, if there is one.
    fn circle(&self) -> Option<Vec<NodeId>> {
        let mut done = vec![false; self.nodes.len()];
        (0..self.nodes.len())
            .find_map(|index| self.circle_from(NodeId(index), &mut Vec::new(), &mut done))
    }

    fn circle_from(
        &self,
        id: NodeId,
        path: &mut Vec<NodeId>,
        done: &mut [bool],
    ) -> Option<Vec<NodeId>> {
        if let Some(at) = path.iter().position(|seen| *seen == id) {
            return Some([&path[at..], &[id]].concat());
        }
        if done[id.0] {
            return None;
        }
        path.push(id);
        let found = self[id]
            .followers
            .iter()
            .find_map(|next| self.circle_from(*next, path, done));
        path.pop();
        done[id.0] = true;
        found
    }
}

impl std::ops::Index<NodeId> for FlowGraph {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

impl Node {
    fn new(spec: NodeSpec) -> Self {
        Self {
            name: spec.name,
            filter: spec.filter,
            reduce: spec.reduce,
            needs: Vec::new(),
            followers: Vec::new(),
            ends: false,
            awaited: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_way_to_the_answer_is_known_of_every_node() {
        let spec = |name: &str| NodeSpec {
            name: name.to_owned(),
            filter: None,
            reduce: true,
        };
        let (a, b, c, d, floating) = (NodeId(0), NodeId(1), NodeId(2), NodeId(3), NodeId(4));
        let nodes = ["a", "b", "c", "d", "floating"].map(spec);
        let edges = [
            Edge::Start(a),
            Edge::Between(a, d),
            Edge::Between(a, b),
            Edge::Between(b, c),
            Edge::Between(c, d),
            Edge::Between(d, floating),
            Edge::End(d),
        ];
        let graph = FlowGraph::new(nodes.into(), &edges).expect("no circle");
        let behind = [a, b, c, d, floating].map(|id| graph.nodes_behind(id));
        assert_eq!(behind, [3, 2, 1, 0, 0]);
    }
}
