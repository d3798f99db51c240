//! A state machine for one request on its way through the graph. The caller reports the response of each Executor, and
//! gets the next calls to make and, at the end, the response to the client. It follows Jina 3.13 as recorded in
//! `tests/golden`, from `grpc/28-join_b_first` to `grpc/42-no_executors`.
//!
//! | type | what it is |
//! |---|---|
//! | `Drive` (crate `gateway`) | runs one `Walk`: makes the calls and reports their responses to it |
//! | [`Walk`] | the state of one request in the graph; it makes no calls itself |
//! | `Visit` | the state of one node in a `Walk`: which requests have arrived, and its response |
//! | `Delivery` | a request on an edge of the graph, before the node at its end accepts it |
//! | [`Step`] | a call to make: a node whose requests have all arrived, and these requests |

mod response;

mod visit;

use std::{collections::VecDeque, sync::Arc};

use flowgate_proto::{
    DataRequest, DocumentsError, GATEWAY_ROUTE, Timestamp, assign_missing_ids,
    docarray::DocumentProto, jina::RouteProto, normalize_all, normalize_shared,
};

use self::visit::{Branch, Delivery, Visit, queue_deliveries};
use super::{
    endpoints::KnownEndpoints,
    filter::{Filter, FilterError},
    graph::{FlowGraph, NodeId},
    parameters::RequestParameters,
    reduce::reduce,
    target::{TargetError, TargetExecutor},
};

/// The state of one request in the graph.
#[derive(Debug)]
pub struct Walk {
    graph: Arc<FlowGraph>,
    endpoints: Arc<KnownEndpoints>,
    parameters: RequestParameters,
    target: TargetExecutor,
    /// Empty if the request has none. Jina 3.13.2 then skips nodes without the endpoint `/default`.
    exec_endpoint: String,
    /// The client's request, if no node is awaited: it is returned without waiting.
    passthrough: Option<DataRequest>,
    /// The ids of the client's documents, if a condition may remove some of them.
    client_ids: Vec<String>,
    visits: Vec<Visit>,
    ready: Vec<Step>,
    /// Calls that are ready or in flight and that the response to the client depends on.
    pending_awaited: usize,
    floating_errors: Vec<(NodeId, WalkError)>,
}

/// A call to make.
#[derive(Debug)]
pub struct Step {
    /// The node to call.
    pub node: NodeId,
    /// The requests to send: several at a join that does not reduce, otherwise one.
    pub requests: Vec<DataRequest>,
}

/// Why a request cannot continue through the graph.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The request's `target_executor` is not a valid pattern.
    #[error("`target_executor` is not a valid regular expression")]
    Target(#[from] TargetError),
    /// The request's parameters cannot be decoded.
    #[error("cannot decode the parameters of the request")]
    Parameters(#[from] flowgate_proto::DecodeError),
    /// The client's documents must be decoded for a node, and cannot be.
    #[error("executor `{node}`: cannot decode the documents of the request")]
    Documents {
        /// The name of the node.
        node: String,
        /// The cause.
        source: DocumentsError,
    },
    /// The documents of another Executor's response must be decoded for a node, and cannot be.
    #[error("executor `{node}`: cannot decode the documents that another executor returned")]
    ExecutorDocuments {
        /// The name of the node.
        node: String,
        /// The cause.
        source: DocumentsError,
    },
    /// A node's condition cannot be evaluated for a document.
    #[error("executor `{node}`: cannot evaluate its condition")]
    Filter {
        /// The node with the condition.
        node: String,
        /// The cause.
        source: FilterError,
    },
}

impl WalkError {
    fn in_executor_response(self) -> Self {
        match self {
            Self::Documents { node, source } => Self::ExecutorDocuments { node, source },
            other => other,
        }
    }
}

impl Walk {
    /// Starts with a client's request: adds the Gateway to its routes and delivers it to the first nodes.
    ///
    /// # Errors
    /// When the request has an invalid `target_executor` or parameters, or fails at the condition of a first node.
    pub fn start(
        graph: Arc<FlowGraph>,
        endpoints: Arc<KnownEndpoints>,
        mut request: DataRequest,
        now: Timestamp,
    ) -> Result<Self, WalkError> {
        let target = request.header.target_executor.as_deref();
        let target = TargetExecutor::compile(target.unwrap_or_default())?;
        let parameters =
            RequestParameters::new(request.parameters.clone(), |key| graph.has_node(key))?;
        // A document needs its id before it is copied to several branches: otherwise it is duplicated at a join.
        if graph.has_joins() || graph.has_filters() {
            fill_in_ids(&mut request);
        }
        let (client_ids, normalized) = match graph.has_filters() {
            true => decode_ids(&request),
            false => (Vec::new(), None),
        };
        add_gateway_route(&mut request, now);
        let visits = graph.nodes().map(|(_, node)| Visit::new(node));
        let mut walk = Self {
            visits: visits.collect(),
            passthrough: (!graph.has_awaited_nodes()).then(|| request.clone()),
            exec_endpoint: request.header.exec_endpoint.clone().unwrap_or_default(),
            graph,
            endpoints,
            parameters,
            target,
            client_ids,
            ready: Vec::new(),
            pending_awaited: 0,
            floating_errors: Vec::new(),
        };
        let graph = Arc::clone(&walk.graph);
        let branch = Branch {
            request,
            last_node: None,
            normalized,
        };
        walk.deliver(None, graph.start(), branch, now)?;
        Ok(walk)
    }

    /// Takes the calls that can be made now. Each is returned once.
    pub fn take_ready(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.ready)
    }

    /// Takes the errors at floating nodes, of which the client does not learn. Each is returned once.
    pub fn take_floating_errors(&mut self) -> Vec<(NodeId, WalkError)> {
        std::mem::take(&mut self.floating_errors)
    }

    /// Whether every node that the response to the client depends on has responded.
    #[must_use]
    pub const fn is_response_ready(&self) -> bool {
        self.pending_awaited == 0
    }

    /// Records an Executor's response and delivers it to the nodes that need it. An error response ends its branch.
    ///
    /// # Errors
    /// When the response fails at the condition of a node that needs it.
    pub fn record_response(
        &mut self,
        id: NodeId,
        mut response: DataRequest,
        is_error: bool,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        self.pending_awaited -= usize::from(self.graph[id].is_awaited);
        let visit = &mut self.visits[id.0];
        visit.ended = Some(now);
        // Results that cannot be decoded are left out; the client still gets the documents.
        visit.results = response.parameters.results().ok().flatten();
        response.parameters = self.parameters.client().clone();
        if is_error {
            visit.status = Some(response.header.status.clone().unwrap_or_default());
            visit.outcome = Some(response);
            return Ok(());
        }
        let graph = Arc::clone(&self.graph);
        let branch = Branch {
            request: response,
            last_node: Some(id),
            normalized: None,
        };
        let Some(branch) = self.store_outcome(id, branch) else {
            return Ok(());
        };
        self.deliver(Some(id), &graph[id].followers, branch, now)
            .map_err(WalkError::in_executor_response)
    }

    /// Stores a node's response if it goes back to the client, and returns it if other nodes need it.
    fn store_outcome(&mut self, id: NodeId, branch: Branch) -> Option<Branch> {
        let node = &self.graph[id];
        if !node.is_end {
            return Some(branch);
        }
        if node.followers.is_empty() {
            self.visits[id.0].outcome = Some(branch.request);
            return None;
        }
        self.visits[id.0].outcome = Some(branch.request.clone());
        Some(branch)
    }

    /// Delivers a request to nodes, and past nodes that are skipped. It uses a queue instead of recursion, because a Flow
    /// may be a long chain of skipped nodes.
    fn deliver(
        &mut self,
        from: Option<NodeId>,
        to: &[NodeId],
        branch: Branch,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let graph = Arc::clone(&self.graph);
        let mut queue = VecDeque::with_capacity(to.len());
        queue_deliveries(&graph, &mut queue, from, to, branch);
        while let Some(delivery) = queue.pop_front() {
            let to = delivery.to;
            match self.accept(delivery, now) {
                Ok(None) => {}
                Ok(Some(bypass)) => {
                    if let Some(bypass) = self.store_outcome(to, bypass) {
                        let followers = &graph[to].followers;
                        queue_deliveries(&graph, &mut queue, Some(to), followers, bypass);
                    }
                }
                Err(error) if !graph[to].is_awaited => self.floating_errors.push((to, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Accepts a request at a node. When all that the node needs have arrived, the node is ready; or, if it is skipped,
    /// this returns the request that continues behind it.
    fn accept(&mut self, delivery: Delivery, now: Timestamp) -> Result<Option<Branch>, WalkError> {
        let Delivery { from, to, branch } = delivery;
        let node = &self.graph[to];
        let position = node.needs.iter().position(|need| *need == from);
        let visit = &mut self.visits[to.0];
        let Some(branches) = visit.accept(position.unwrap_or_default(), branch) else {
            return Ok(None);
        };
        visit.started = Some(now);
        if self.is_skipped(to) {
            return self.bypass(to, branches).map(Some);
        }
        let requests = self.prepare(to, branches)?;
        self.pending_awaited += usize::from(self.graph[to].is_awaited);
        self.ready.push(Step { node: to, requests });
        Ok(None)
    }

    /// Prepares the requests for a node: sets its parameters, applies its condition, and reduces them.
    fn prepare(&self, id: NodeId, branches: Vec<Branch>) -> Result<Vec<DataRequest>, WalkError> {
        let node = &self.graph[id];
        let parameters = self.parameters.for_node(&node.name);
        let mut requests = Vec::with_capacity(branches.len());
        for mut branch in branches {
            branch.request.parameters = parameters.clone();
            if let Some(filter) = &node.filter {
                apply_filter(filter, &node.name, &mut branch)?;
            }
            requests.push(branch.request);
        }
        if node.reduce && requests.len() > 1 {
            return Ok(vec![merge(&node.name, requests)?]);
        }
        Ok(requests)
    }

    /// Returns what continues behind a skipped node: its request, or at a join the merged requests of all branches.
    fn bypass(&self, id: NodeId, branches: Vec<Branch>) -> Result<Branch, WalkError> {
        if branches.len() == 1 {
            return Ok(branches.into_iter().next().unwrap_or_default());
        }
        let (mut latest, outdated) = self.split_outdated(branches);
        // Documents that a condition removed from a branch are still in the outdated requests.
        if self.graph.has_filters() {
            latest.extend(outdated);
        }
        let last_node = match latest.as_slice() {
            [only] => only.last_node,
            _ => Some(id),
        };
        let requests = latest.into_iter().map(|branch| branch.request).collect();
        let mut request = merge(&self.graph[id].name, requests)?;
        // Jina normalizes documents where it decodes them.
        if request.documents.is_present() {
            request.documents.edit(|documents| normalize_all(documents));
        }
        Ok(Branch {
            request,
            last_node,
            normalized: None,
        })
    }

    /// Splits the branches of a join into the latest and the outdated ones. A branch is outdated if another one has been
    /// processed by a node further along: then it adds nothing to the other.
    fn split_outdated(&self, branches: Vec<Branch>) -> (Vec<Branch>, Vec<Branch>) {
        let last_nodes: Vec<_> = branches.iter().map(|branch| branch.last_node).collect();
        let is_outdated = |position: usize| {
            let own = last_nodes[position];
            let mut others = last_nodes.iter().enumerate();
            others.any(|(other, &last_node)| {
                self.graph.depends_on(last_node, own) || (last_node == own && other < position)
            })
        };
        let (mut latest, mut outdated) = (Vec::new(), Vec::new());
        for (position, branch) in branches.into_iter().enumerate() {
            match is_outdated(position) {
                true => outdated.push(branch),
                false => latest.push(branch),
            }
        }
        (latest, outdated)
    }

    fn is_skipped(&self, id: NodeId) -> bool {
        self.endpoints.should_skip(id, &self.exec_endpoint)
            || !self.target.selects(&self.graph[id].name)
    }
}

fn merge(node: &str, mut requests: Vec<DataRequest>) -> Result<DataRequest, WalkError> {
    match requests.len() {
        1 => Ok(requests.swap_remove(0)),
        _ => reduce(requests).map_err(|source| WalkError::Documents {
            node: node.to_owned(),
            source,
        }),
    }
}

fn apply_filter(filter: &Filter, node: &str, branch: &mut Branch) -> Result<(), WalkError> {
    let documents = std::mem::take(&mut branch.request.documents);
    let documents = match branch.normalized.take() {
        Some(normalized) => normalized,
        None => {
            let decoded = documents.decode();
            let mut decoded = decoded.map_err(|source| WalkError::Documents {
                node: node.to_owned(),
                source,
            })?;
            // Without the second reference, a list that is not shared need not be copied.
            drop(documents);
            normalize_shared(&mut decoded);
            decoded
        }
    };
    let selected = filter
        .select(documents)
        .map_err(|source| WalkError::Filter {
            node: node.to_owned(),
            source,
        })?;
    branch.request.documents = selected.into();
    Ok(())
}

/// Adds the Gateway to the routes of a request. `target_executor` is cleared, because Executors must not evaluate it
/// again; clients find it empty in the response too.
fn add_gateway_route(request: &mut DataRequest, now: Timestamp) {
    request.header.target_executor = Some(String::new());
    request.routes.push(RouteProto {
        executor: GATEWAY_ROUTE.to_owned(),
        start_time: Some(now),
        ..Default::default()
    });
}

/// Gives an id to every document that has none. Documents that cannot be decoded stay unchanged.
fn fill_in_ids(request: &mut DataRequest) {
    if !request.documents.has_all_ids() {
        request
            .documents
            .edit(|documents| assign_missing_ids(documents));
    }
}

/// Returns the ids of the documents in their order. It is empty for documents that cannot be decoded, whose order is
/// then not restored in the response. Documents that were decoded for it are returned too, normalized for the first condition.
fn decode_ids(request: &DataRequest) -> (Vec<String>, Option<Arc<Vec<DocumentProto>>>) {
    let Ok(mut documents) = request.documents.decode() else {
        return (Vec::new(), None);
    };
    let ids = documents
        .iter()
        .map(|document| document.id.clone())
        .collect();
    // A list that the request shares was decoded before, and may still be changed in place.
    let normalized = Arc::get_mut(&mut documents).is_some().then(|| {
        normalize_shared(&mut documents);
        documents
    });
    (ids, normalized)
}

#[cfg(test)]
mod tests;
