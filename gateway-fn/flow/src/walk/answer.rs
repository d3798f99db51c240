//! The client's answer out of what the nodes have done: whose documents, which routes, which results.

use std::sync::Arc;

use flowgate_proto::{
    DataRequest, GATEWAY_ROUTE, Parameters, Struct, Timestamp, jina::RouteProto, normalise_all,
};

use super::{Walk, visit::Visit};
use crate::{
    filter::restore_order,
    graph::{FlowGraph, NodeId},
};

impl Walk {
    /// The client's answer, once [`Walk::is_settled`]. Floating nodes may still be running; what they have said so
    /// far is in it.
    #[must_use]
    pub fn answer(&mut self, now: Timestamp) -> DataRequest {
        let graph = Arc::clone(&self.graph);
        let order = graph.depth_first();
        // Depth first, so that of two failed branches the first of the file is the one reported.
        let said = order
            .iter()
            .filter(|id| graph[**id].awaited)
            .find_map(|id| self.visits[id.0].outcome.take());
        let mut answer = said.or_else(|| self.unanswered.take()).unwrap_or_default();
        answer
            .routes
            .retain(|route| route.executor == GATEWAY_ROUTE);
        for route in &mut answer.routes {
            route.end_time = Some(now);
        }
        let visited = order
            .iter()
            .map(|id| (&graph[*id].name, &self.visits[id.0]));
        answer
            .routes
            .extend(visited.filter_map(|(name, visit)| route(name, visit)));
        answer.parameters = self.answer_parameters(order);
        self.put_in_order(&mut answer);
        answer
    }

    /// The client's own parameters, with `__results__` where a node returned any.
    fn answer_parameters(&mut self, order: &[NodeId]) -> Parameters {
        let mut results = Struct::default();
        for id in order {
            if let Some(returned) = self.visits[id.0].results.take() {
                results.fields.extend(returned.fields);
            }
        }
        let client = self.parameters.client();
        if results.fields.is_empty() {
            return present(client.clone(), &self.graph);
        }
        // Only the keys were read so far. A value that cannot be read goes back as it came.
        client
            .with_results(results)
            .unwrap_or_else(|_| client.clone())
    }

    fn put_in_order(&self, answer: &mut DataRequest) {
        if !self.graph.filters() {
            return;
        }
        // A pickle passes through as it is.
        answer.documents.edit(|documents| {
            normalise_all(documents);
            restore_order(documents, &self.client_ids);
        });
    }
}

/// Jina's answers always have parameters, but for a Flow without Executors (recording `grpc/42-no_executors`).
fn present(parameters: Parameters, graph: &FlowGraph) -> Parameters {
    if parameters.is_present() || graph.is_empty() {
        return parameters;
    }
    Parameters::EMPTY
}

/// The route of a node that was reached; one that still runs or was skipped has no end.
fn route(name: &str, visit: &Visit) -> Option<RouteProto> {
    visit.started.map(|started| RouteProto {
        executor: name.to_owned(),
        start_time: Some(started),
        end_time: visit.ended,
        status: visit.status.clone(),
    })
}
