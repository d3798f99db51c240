//! The graph of a Flow, compiled once from its nodes and edges. It has no cycle, and no edge to a missing node.

use std::collections::{BTreeSet, HashSet};

use super::filter::Filter;

/// The index of a node, in the order of the Flow file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A node without its edges.
#[derive(Debug)]
pub struct NodeSpec {
    /// The deployment's name.
    pub name: String,
    /// Selects the documents that the node gets (`when`).
    pub filter: Option<Filter>,
    /// Whether the requests that meet at the node are merged into one (`no_reduce` turns it off).
    pub reduce: bool,
}

/// An edge. The order of the edges given to [`FlowGraph::new`] is the order of a node's followers, and of the requests
/// that meet at a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// From the Gateway to a node.
    Start(NodeId),
    /// From a node to the next.
    Between(NodeId, NodeId),
    /// From a node back to the Gateway.
    End(NodeId),
}

/// Nodes that need each other in a cycle, in its order. The first node is repeated at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the executors need each other in a cycle: {}", .0.join(" -> "))]
pub struct Cycle(pub Vec<String>);

/// A compiled node.
#[derive(Debug)]
pub struct Node {
    /// The deployment's name.
    pub name: String,
    /// Selects the documents that the node gets.
    pub filter: Option<Filter>,
    /// Whether the requests that meet at the node are merged into one.
    pub reduce: bool,
    /// The nodes whose responses it needs, in order; `None` is the Gateway.
    pub needs: Vec<Option<NodeId>>,
    /// The nodes that need its response, in the order of the file.
    pub followers: Vec<NodeId>,
    /// Whether its response goes back to the client.
    pub is_end: bool,
    /// Whether the response to the client depends on it. Other nodes float.
    pub is_awaited: bool,
}

/// The graph of a Flow.
#[derive(Debug, Default)]
pub struct FlowGraph {
    nodes: Vec<Node>,
    names: HashSet<String>,
    start: Vec<NodeId>,
    depth_first: Vec<NodeId>,
    /// For each node, the nodes that it needs, directly or indirectly.
    dependencies: Vec<BTreeSet<NodeId>>,
    /// For each node, the length of the longest path from it to the end.
    max_nodes_after: Vec<usize>,
    has_floating_nodes: bool,
    has_filters: bool,
}

impl FlowGraph {
    /// Connects the nodes.
    ///
    /// # Errors
    /// When the edges form a cycle.
    ///
    /// # Panics
    /// When an edge names a node that is not among `nodes`.
    pub fn new(nodes: Vec<NodeSpec>, edges: &[Edge]) -> Result<Self, Cycle> {
        let mut graph = Self {
            names: nodes.iter().map(|node| node.name.clone()).collect(),
            nodes: nodes.into_iter().map(Node::new).collect(),
            ..Self::default()
        };
        for edge in edges {
            graph.connect(*edge);
        }
        if let Some(cycle) = graph.find_cycle() {
            let names = cycle.into_iter().map(|id| graph[id].name.clone());
            return Err(Cycle(names.collect()));
        }
        graph.mark_awaited();
        graph.collect_dependencies();
        graph.measure_paths();
        graph.depth_first = graph.order_depth_first();
        graph.has_floating_nodes = graph.nodes.iter().any(|node| !node.is_awaited);
        graph.has_filters = graph.nodes.iter().any(|node| node.filter.is_some());
        Ok(graph)
    }

    /// Returns the nodes that get the client's request, in the order of the file.
    #[must_use]
    pub fn start(&self) -> &[NodeId] {
        &self.start
    }

    /// Returns the number of nodes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes, so that every request is returned at once.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether a node may still run after the response to the client.
    #[must_use]
    pub const fn has_floating_nodes(&self) -> bool {
        self.has_floating_nodes
    }

    /// Whether a node has a condition. The documents of the response are then put back in the client's order.
    #[must_use]
    pub const fn has_filters(&self) -> bool {
        self.has_filters
    }

    /// Whether a node has this name.
    #[must_use]
    pub fn has_node(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Returns all nodes in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (NodeId(index), node))
    }

    /// Returns every node once, depth first from the start with followers in order. This is the order of routes in a
    /// response (Jina 3.13, recording `grpc/28-join_b_first`).
    #[must_use]
    pub fn depth_first(&self) -> &[NodeId] {
        &self.depth_first
    }

    /// Whether the response to the client depends on a node. Otherwise every request is returned at once.
    #[must_use]
    pub fn has_awaited_nodes(&self) -> bool {
        self.nodes.iter().any(|node| node.is_awaited)
    }

    /// Whether a node needs the responses of several.
    #[must_use]
    pub fn has_joins(&self) -> bool {
        self.nodes.iter().any(|node| node.needs.len() > 1)
    }

    /// Whether `node` needs `other`, directly or indirectly. `None` is the Gateway, which every node needs.
    pub(super) fn depends_on(&self, node: Option<NodeId>, other: Option<NodeId>) -> bool {
        match (node, other) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(node), Some(other)) => self.dependencies[node.0].contains(&other),
        }
    }

    /// Returns how many awaited nodes follow this one, one after the other, on the longest path.
    #[must_use]
    pub fn max_nodes_after(&self, id: NodeId) -> usize {
        self.max_nodes_after[id.0]
    }

    fn collect_dependencies(&mut self) {
        for index in 0..self.nodes.len() {
            let mut found = BTreeSet::new();
            let mut pending: Vec<NodeId> =
                self.nodes[index].needs.iter().flatten().copied().collect();
            while let Some(id) = pending.pop() {
                if found.insert(id) {
                    pending.extend(self.nodes[id.0].needs.iter().flatten());
                }
            }
            self.dependencies.push(found);
        }
    }

    fn measure_paths(&mut self) {
        self.max_nodes_after = vec![0; self.nodes.len()];
        // Followers first: a node has more dependencies than any of the nodes it needs.
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.dependencies[*index].len()));
        for index in order {
            let followers = self.nodes[index].followers.iter();
            let awaited = followers.filter(|next| self.nodes[next.0].is_awaited);
            let longest = awaited.map(|next| self.max_nodes_after[next.0] + 1).max();
            self.max_nodes_after[index] = longest.unwrap_or(0);
        }
    }

    fn order_depth_first(&self) -> Vec<NodeId> {
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
            Edge::End(from) => self.nodes[from.0].is_end = true,
        }
    }

    /// Marks the nodes that the response to the client depends on, from the ends backwards.
    fn mark_awaited(&mut self) {
        let mut pending: Vec<usize> = (0..self.nodes.len())
            .filter(|index| self.nodes[*index].is_end)
            .collect();
        while let Some(index) = pending.pop() {
            if !std::mem::replace(&mut self.nodes[index].is_awaited, true) {
                pending.extend(self.nodes[index].needs.iter().flatten().map(|id| id.0));
            }
        }
    }

    fn find_cycle(&self) -> Option<Vec<NodeId>> {
        let mut visited = vec![false; self.nodes.len()];
        (0..self.nodes.len())
            .find_map(|index| self.find_cycle_from(NodeId(index), &mut Vec::new(), &mut visited))
    }

    fn find_cycle_from(
        &self,
        id: NodeId,
        path: &mut Vec<NodeId>,
        visited: &mut [bool],
    ) -> Option<Vec<NodeId>> {
        if let Some(start) = path.iter().position(|earlier| *earlier == id) {
            return Some([&path[start..], &[id]].concat());
        }
        if visited[id.0] {
            return None;
        }
        path.push(id);
        let cycle = self[id]
            .followers
            .iter()
            .find_map(|next| self.find_cycle_from(*next, path, visited));
        path.pop();
        visited[id.0] = true;
        cycle
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
            is_end: false,
            is_awaited: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_after_every_node_is_measured() {
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
        let graph = FlowGraph::new(nodes.into(), &edges).expect("no cycle");
        let lengths = [a, b, c, d, floating].map(|id| graph.max_nodes_after(id));
        assert_eq!(lengths, [3, 2, 1, 0, 0]);
    }
}
