//! One request's way through the graph, as a state machine: tell it what an Executor answered and it says who is
//! to be called next, and at the end what the client gets. Facts of Jina 3.13 it follows: the runs recorded in
//! `grpc/28` to `grpc/42`.

mod answer;

mod visit;

use std::{collections::VecDeque, sync::Arc};

use flowgate_proto::{
    DataRequest, DocumentsError, GATEWAY_ROUTE, Timestamp, assign_missing_ids, jina::RouteProto,
    normalise_all,
};

use self::visit::{Part, Visit};
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
    known: Arc<KnownEndpoints>,
    parameters: RequestParameters,
    target: TargetExecutor,
    /// Empty where the request has none: seen of Jina 3.13.2, which then skips what binds no default.
    exec_endpoint: String,
    /// The request as the Gateway took it, where no node is awaited and it comes straight back.
    unanswered: Option<DataRequest>,
    /// The ids of the client's documents, wherever a condition may drop some of them.
    client_ids: Vec<String>,
    visits: Vec<Visit>,
    ready: Vec<Step>,
    /// Steps handed out or ready that the client's answer waits for.
    awaited: usize,
    lost: Vec<(NodeId, WalkError)>,
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
    /// As [`WalkError::Documents`], where an Executor has answered them.
    #[error("what an executor answered cannot be read at executor {node}")]
    Answer {
        /// The node that has to read it.
        node: String,
        /// What is wrong with it.
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

impl WalkError {
    fn of_an_answer(self) -> Self {
        match self {
            Self::Documents { node, source } => Self::Answer { node, source },
            other => other,
        }
    }
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
        let target = request.header.target_executor.as_deref();
        let target = TargetExecutor::compile(target.unwrap_or_default())?;
        let names = graph.nodes().map(|(_, node)| node.name.as_str());
        let parameters = RequestParameters::new(request.parameters.clone(), names)?;
        // A document that goes two ways must have its id before: at a join it would count twice.
        if graph.joins() || graph.filters() {
            complete_ids(&mut request);
        }
        let client_ids = if graph.filters() {
            document_ids(&request)
        } else {
            Vec::new()
        };
        enter(&mut request, now);
        let visits = graph.nodes().map(|(_, node)| Visit::expecting(node));
        let mut walk = Self {
            visits: visits.collect(),
            unanswered: (!graph.awaits()).then(|| request.clone()),
            exec_endpoint: request.header.exec_endpoint.clone().unwrap_or_default(),
            graph,
            known,
            parameters,
            target,
            client_ids,
            ready: Vec::new(),
            awaited: 0,
            lost: Vec::new(),
        };
        let graph = Arc::clone(&walk.graph);
        let part = Part {
            request,
            seen_by: None,
        };
        walk.spread(None, graph.start(), part, now)?;
        Ok(walk)
    }

    /// The calls that can be made now, each handed out once.
    pub fn take_ready(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.ready)
    }

    /// What has failed at nodes that nobody waits for, each told once.
    pub fn take_lost(&mut self) -> Vec<(NodeId, WalkError)> {
        std::mem::take(&mut self.lost)
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
        self.awaited -= usize::from(self.graph[id].awaited);
        let visit = &mut self.visits[id.0];
        visit.ended = Some(now);
        // Unreadable results are an Executor's own affair and must not cost the client the documents.
        visit.results = answer.parameters.results().ok().flatten();
        answer.parameters = self.parameters.client().clone();
        if is_error {
            visit.status = Some(answer.header.status.clone().unwrap_or_default());
            visit.outcome = Some(answer);
            return Ok(());
        }
        let graph = Arc::clone(&self.graph);
        let part = Part {
            request: answer,
            seen_by: Some(id),
        };
        let Some(part) = self.end(id, part) else {
            return Ok(());
        };
        self.spread(Some(id), &graph[id].followers, part, now)
            .map_err(WalkError::of_an_answer)
    }

    /// Keeps what goes back to the client; gives back what goes on to the nodes behind, if there are any.
    fn end(&mut self, id: NodeId, part: Part) -> Option<Part> {
        let node = &self.graph[id];
        if !node.ends {
            return Some(part);
        }
        if node.followers.is_empty() {
            self.visits[id.0].outcome = Some(part.request);
            return None;
        }
        self.visits[id.0].outcome = Some(part.request.clone());
        Some(part)
    }

    /// Brings a part to its nodes, and past those that are skipped. A list and no recursion, because a Flow may be
    /// a long chain of nodes that are all skipped.
    fn spread(
        &mut self,
        from: Option<NodeId>,
        to: &[NodeId],
        part: Part,
        now: Timestamp,
    ) -> Result<(), WalkError> {
        let graph = Arc::clone(&self.graph);
        let mut arrivals = VecDeque::with_capacity(to.len());
        send(&mut arrivals, from, to, part);
        while let Some(Arrival { from, to, part }) = arrivals.pop_front() {
            match self.arrive(from, to, part, now) {
                Ok(None) => {}
                Ok(Some(whole)) => {
                    if let Some(whole) = self.end(to, whole) {
                        send(&mut arrivals, Some(to), &graph[to].followers, whole);
                    }
                }
                Err(error) if !graph[to].awaited => self.lost.push((to, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a part in. With the last one the node becomes ready, or, where it is skipped, all goes on past it.
    fn arrive(
        &mut self,
        from: Option<NodeId>,
        to: NodeId,
        part: Part,
        now: Timestamp,
    ) -> Result<Option<Part>, WalkError> {
        let node = &self.graph[to];
        let place = node.needs.iter().position(|need| *need == from);
        let visit = &mut self.visits[to.0];
        let Some(parts) = visit.arrive(place.unwrap_or_default(), part) else {
            return Ok(None);
        };
        visit.started = Some(now);
        if self.is_skipped(to) {
            return self.pass_by(to, parts).map(Some);
        }
        let parts = parts.into_iter().map(|part| part.request).collect();
        let parts = self.prepare(to, parts)?;
        self.awaited += usize::from(self.graph[to].awaited);
        self.ready.push(Step { node: to, parts });
        Ok(None)
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
            if let Some(filter) = &node.filter {
                apply(filter, &node.name, part)?;
            }
        }
        if node.reduce && parts.len() > 1 {
            return Ok(vec![merge(&node.name, parts)?]);
        }
        Ok(parts)
    }

    /// What goes on past a skipped node: its part, or at a join what all its branches did.
    fn pass_by(&self, id: NodeId, parts: Vec<Part>) -> Result<Part, WalkError> {
        if parts.len() == 1 {
            return Ok(parts.into_iter().next().unwrap_or_default());
        }
        let (mut latest, earlier) = self.latest(parts);
        // What a condition has taken out of a branch is still in the part from before it.
        if self.graph.filters() {
            latest.extend(earlier);
        }
        let seen_by = match latest.as_slice() {
            [one] => one.seen_by,
            _ => Some(id),
        };
        let requests = latest.into_iter().map(|part| part.request).collect();
        let mut request = merge(&self.graph[id].name, requests)?;
        // As a Jina process does that decodes them.
        if request.documents.is_present() {
            request.documents.edit(|documents| normalise_all(documents));
        }
        Ok(Part { request, seen_by })
    }

    /// The parts of a join, apart from those where nobody has done anything since the parts went their ways: these
    /// have nothing to say to the others.
    fn latest(&self, parts: Vec<Part>) -> (Vec<Part>, Vec<Part>) {
        let seen_by: Vec<_> = parts.iter().map(|part| part.seen_by).collect();
        let is_latest = |place: usize| {
            let own = seen_by[place];
            let mut others = seen_by.iter().enumerate();
            !others.any(|(other, &theirs)| {
                self.graph.comes_after(theirs, own) || (theirs == own && other < place)
            })
        };
        let (mut latest, mut earlier) = (Vec::new(), Vec::new());
        for (place, part) in parts.into_iter().enumerate() {
            let side = if is_latest(place) {
                &mut latest
            } else {
                &mut earlier
            };
            side.push(part);
        }
        (latest, earlier)
    }

    fn is_skipped(&self, id: NodeId) -> bool {
        self.known.skips(id, &self.exec_endpoint) || !self.target.selects(&self.graph[id].name)
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
    let mut documents = std::mem::take(&mut part.documents)
        .into_vec()
        .map_err(|source| WalkError::Documents {
            node: node.to_owned(),
            source,
        })?;
    normalise_all(&mut documents);
    let kept = filter.keep(documents).map_err(|source| WalkError::Filter {
        node: node.to_owned(),
        source,
    })?;
    part.documents = kept.into();
    Ok(())
}

/// Notes the Gateway in the request's routes. Executors must not look at `target_executor` again, and clients find
/// it empty in the answer.
fn enter(request: &mut DataRequest, now: Timestamp) {
    request.header.target_executor = Some(String::new());
    request.routes.push(RouteProto {
        executor: GATEWAY_ROUTE.to_owned(),
        start_time: Some(now),
        ..Default::default()
    });
}

/// Gives an id to every document of the client that has none. Documents that cannot be read stay as they are.
fn complete_ids(request: &mut DataRequest) {
    if !request.documents.has_all_ids() {
        request
            .documents
            .edit(|documents| assign_missing_ids(documents));
    }
}

/// The ids in the client's order. Documents that cannot be read have none: their answer stays in the order in which it
/// comes.
fn document_ids(request: &DataRequest) -> Vec<String> {
    let documents = request.documents.decode().unwrap_or_default();
    documents
        .iter()
        .map(|document| document.id.clone())
        .collect()
}

/// A part on its way to a node.
struct Arrival {
    from: Option<NodeId>,
    to: NodeId,
    part: Part,
}

fn send(arrivals: &mut VecDeque<Arrival>, from: Option<NodeId>, to: &[NodeId], part: Part) {
    let Some((last, others)) = to.split_last() else {
        return;
    };
    for &to in others {
        let part = part.clone();
        arrivals.push_back(Arrival { from, to, part });
    }
    let to = *last;
    arrivals.push_back(Arrival { from, to, part });
}

#[cfg(test)]
mod tests;
