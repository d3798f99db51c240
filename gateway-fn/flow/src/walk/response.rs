//! Builds the response to the client from the visits of all nodes: documents, routes and results.

use std::sync::Arc;

use flowgate_proto::{
    DataRequest, GATEWAY_ROUTE, Parameters, Struct, Timestamp, jina::RouteProto, normalize_all,
};

use super::{Walk, visit::Visit};
use crate::{
    filter::restore_order,
    graph::{FlowGraph, NodeId},
};

impl Walk {
    /// Builds the response to the client, once [`Walk::is_response_ready`]. Floating nodes may still be running; their
    /// routes and results so far are included.
    #[must_use]
    pub fn build_response(&mut self, now: Timestamp) -> DataRequest {
        let graph = Arc::clone(&self.graph);
        let order = graph.depth_first();
        // Depth first, so that of two failed branches the first one in the file is reported.
        let outcome = order
            .iter()
            .filter(|id| graph[**id].is_awaited)
            .find_map(|id| self.visits[id.0].outcome.take());
        let mut response = outcome
            .or_else(|| self.passthrough.take())
            .unwrap_or_default();
        response
            .routes
            .retain(|route| route.executor == GATEWAY_ROUTE);
        for route in &mut response.routes {
            route.end_time = Some(now);
        }
        let visits = order
            .iter()
            .map(|id| (&graph[*id].name, &self.visits[id.0]));
        response
            .routes
            .extend(visits.filter_map(|(name, visit)| route(name, visit)));
        response.parameters = self.response_parameters(order);
        self.restore_document_order(&mut response);
        response
    }

    /// Returns the client's parameters, with `__results__` if a node returned any.
    fn response_parameters(&mut self, order: &[NodeId]) -> Parameters {
        let mut results = Struct::default();
        for id in order {
            if let Some(node_results) = self.visits[id.0].results.take() {
                results.fields.extend(node_results.fields);
            }
        }
        let client = self.parameters.client();
        if results.fields.is_empty() {
            return present_parameters(client.clone(), &self.graph);
        }
        // Values are decoded only for the client's response. If that fails, the parameters are returned as the client
        // sent them.
        client
            .with_results(results)
            .unwrap_or_else(|_| client.clone())
    }

    fn restore_document_order(&self, response: &mut DataRequest) {
        if !self.graph.has_filters() {
            return;
        }
        // Pickled documents stay unchanged.
        response.documents.edit(|documents| {
            normalize_all(documents);
            restore_order(documents, &self.client_ids);
        });
    }
}

/// Returns empty parameters for missing ones, as Jina does, except in a Flow without Executors (recording
/// `grpc/42-no_executors`).
fn present_parameters(parameters: Parameters, graph: &FlowGraph) -> Parameters {
    if parameters.is_present() || graph.is_empty() {
        return parameters;
    }
    Parameters::EMPTY
}

/// Returns the route of a node that was reached. It has no end time if the node still runs or was skipped.
fn route(name: &str, visit: &Visit) -> Option<RouteProto> {
    visit.started.map(|started| RouteProto {
        executor: name.to_owned(),
        start_time: Some(started),
        end_time: visit.ended,
        status: visit.status.clone(),
    })
}
