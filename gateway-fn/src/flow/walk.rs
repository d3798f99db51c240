//! One request's way through the graph, as a state machine: tell it what an Executor answered and it says who is
//! to be called next, and at the end what the client gets. Facts of Jina 3.13 it follows: the runs recorded in
//! `grpc/28` to `grpc/42`.

mod answer;

mod visit;

use std::sync::Arc;

use flowgate_proto::{
    DataRequest, DocumentsError, GATEWAY_ROUTE, Parameters, Timestamp, docarray::DocumentProto,
    jina::RouteProto, normalise,
};

use self::visit::Visit;
use super::{
    endpoints::KnownEndpoints,
    filter::{Filter, FilterError},
    graph::{FlowGraph, NodeId},
    parameters::{RequestParameters, results_of},
    reduce::reduce,
    target::{TargetError, TargetExecutor},
};

/// The state of one request in the graph.
#[derive(Debug)]
pub struct Walk {
    graph: Arc<FlowGraph>,
    known: Arc<KnownEndpoints>,
    parameters: RequestParameters,
    target: TargetExecutor,
    exec_endpoint: Option<String>,
    /// The request as the Gateway took it, where no node is awaited and it comes straight back.
    unanswered: Option<DataRequest>,
    /// The ids of the client's documents, wherever a condition may drop some of them.
    client_ids: Vec<String>,
    visits: Vec<Visit>,
    ready: Vec<Step>,
    /// Steps handed out or ready that the client's answer waits for.
    awaited: usize,
}

/// A call to be made.
#[derive(Debug)]
pub struct Step {
    /// Whom to call.
    pub node: NodeId,
    /// What to send: several requests at a join that does not reduce.
    pub parts: Vec<DataRequest>,
}

/// Why a request cannot go on through the graph.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The request's `target_executor` is no regular expression.
    #[error("target_executor is no regular expression")]
    Target(#[from] TargetError),
    /// The request's parameters cannot be decoded.
    #[error("the parameters of the request cannot be decoded")]
    Parameters(#[from] flowgate_proto::DecodeError),
    /// Documents have to be read at a node, and cannot be.
    #[error("the documents cannot be read at executor {node}")]
    Documents {
        /// The node that has to read them.
        node: String,
        /// What is wrong with them.
        source: DocumentsError,
    },
    /// A document cannot be held against a node's condition.
    #[error("the condition of executor {node} cannot be tested")]
    Filter {
        /// The node with the condition.
        node: String,
        /// What does not fit.
        source: FilterError,
    },
}

impl Walk {
    /// Takes a client's request: notes the Gateway in its routes and brings it to the first nodes.
    ///
    /// # Errors
    /// When the request cannot be walked at all, or fails at a first node's condition.
    pub fn begin(
        graph: Arc<FlowGraph>,
        known: Arc<KnownEndpoints>,
        mut request: DataRequest,
        now: Timestamp,
    ) -> Result<Self, WalkError> {
        let target = TargetExecutor::compile(
            request
                .header
                .target_executor
                .as_deref()
                .unwrap_or_default(),
        )?;
        let names = graph.nodes().map(|(_, node)| node.name.as_str());
        let parameters = RequestParameters::new(request.parameters.clone(), names)?;
        // Executors must not look at it again, and clients find it empty in the answer.
        request.header.target_executor = Some(String::new());
        request.routes.push(RouteProto {
            executor: GATEWAY_ROUTE.to_owned(),
            start_time: Some(now),
            ..Default::default()
        });
        let client_ids = if graph.filters() {
            document_ids(&request)
        } else {
            Vec::new()
        };
        let visits = graph
            .nodes()
            .map(|(_, node)| Visit::expecting(node.needs.len()))
            .collect();
        let unanswered = (!graph.awaits()).then(|| request.clone());
        let mut walk = Self {
            graph,
            known,
            parameters,
            target,
            exec_endpoint: request.header.exec_endpoint.clone(),
            unanswered,
            client_ids,
            visits,
            ready: Vec::new(),
            awaited: 0,
        };
        let graph = Arc::clone(&walk.graph);
        walk.deliver_all(None, graph.start(), request, now)?;
        Ok(walk)
    }

    /// The calls that can be made now, each handed out once.
    pub fn take_ready(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.ready)
    }

    /// Whether everything that the client's answer waits for has answered.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.awaited == 0
    }

    /// Notes an Executor's answer and brings it to the nodes behind. An Executor's error ends its path here.
    ///
    /// # Errors
    /// When the request fails at the condition of a node behind.
    pub fn answered(
        &mut self,
        id: NodeId,
        mut answer: DataRequest,
        is_error: bool,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let graph = Arc::clone(&self.graph);
        self.awaited -= usize::from(graph[id].awaited);
        let visit = &mut self.visits[id.0];
        visit.ended = Some(now);
        // Unreadable results are an Executor's own affair and must not cost the client the documents.
        visit.results = results_of(&answer.parameters).ok().flatten();
        answer.parameters = self.parameters.client().clone();
        if is_error {
            visit.status = Some(answer.header.status.clone().unwrap_or_default());
            visit.outcome = Some(answer);
            return Ok(());
        }
        self.pass_on(id, answer, now)
    }

    /// Gives up on a floating node whose Executor could not be reached.
    pub fn lost(&mut self, id: NodeId) {
        self.awaited -= usize::from(self.graph[id].awaited);
    }

    fn pass_on(
        &mut self,
        id: NodeId,
        answer: DataRequest,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let graph = Arc::clone(&self.graph);
        let node = &graph[id];
        if node.ends {
            self.visits[id.0].outcome = Some(answer.clone());
        }
        self.deliver_all(Some(id), &node.followers, answer, now)
    }

    fn deliver_all(
        &mut self,
        from: Option<NodeId>,
        to: &[NodeId],
        part: DataRequest,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        if let Some((last, others)) = to.split_last() {
            for follower in others {
                self.deliver(from, *follower, part.clone(), now)?;
            }
            self.deliver(from, *last, part, now)?;
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        from: Option<NodeId>,
        id: NodeId,
        part: DataRequest,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let place = self.graph[id]
            .needs
            .iter()
            .position(|need| *need == from)
            .unwrap_or_default();
        let Some(parts) = self.visits[id.0].arrive(place, part) else {
            return Ok(());
        };
        self.visits[id.0].started = Some(now);
        if self.is_skipped(id) {
            let whole = merge(&self.graph[id].name, parts)?;
            return self.pass_on(id, whole, now);
        }
        let parts = self.prepare(id, parts)?;
        self.awaited += usize::from(self.graph[id].awaited);
        self.ready.push(Step { node: id, parts });
        Ok(())
    }

    /// What the node is to see of the parts that met before it.
    fn prepare(
        &self,
        id: NodeId,
        mut parts: Vec<DataRequest>,
    ) -> Result<Vec<DataRequest>, WalkError> {
        let node = &self.graph[id];
        let parameters = self.parameters.for_node(&node.name);
        for part in &mut parts {
            part.parameters = parameters.clone();
            // Jina's Executors append a route to a request that carries parameters, present or not.
            if !part.parameters.is_present() {
                part.parameters = Parameters::EMPTY;
            }
            if let Some(filter) = &node.filter {
                apply(filter, &node.name, part)?;
            }
        }
        if node.reduce && parts.len() > 1 {
            return Ok(vec![merge(&node.name, parts)?]);
        }
        Ok(parts)
    }

    fn is_skipped(&self, id: NodeId) -> bool {
        let endpoint = self.exec_endpoint.as_deref();
        endpoint.is_some_and(|endpoint| self.known.skips(id, endpoint))
            || !self.target.selects(&self.graph[id].name)
    }
}

/// Parts as one request: what a join sees that reduces, and what goes on past one that is skipped.
fn merge(node: &str, mut parts: Vec<DataRequest>) -> Result<DataRequest, WalkError> {
    match parts.len() {
        1 => Ok(parts.swap_remove(0)),
        _ => reduce(parts).map_err(|source| WalkError::Documents {
            node: node.to_owned(),
            source,
        }),
    }
}

fn apply(filter: &Filter, node: &str, part: &mut DataRequest) -> Result<(), WalkError> {
    let mut documents: Vec<DocumentProto> = std::mem::take(&mut part.documents)
        .into_vec()
        .map_err(|source| WalkError::Documents {
            node: node.to_owned(),
            source,
        })?;
    documents.iter_mut().for_each(normalise);
    part.documents = filter
        .keep(documents)
        .map_err(|source| WalkError::Filter {
            node: node.to_owned(),
            source,
        })?
        .into();
    Ok(())
}

/// Ids of documents that cannot be read are no ids: the answer then stays in the order in which it comes.
fn document_ids(request: &DataRequest) -> Vec<String> {
    request
        .documents
        .decode()
        .map(|documents| {
            documents
                .iter()
                .map(|document| document.id.clone())
                .collect()
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
