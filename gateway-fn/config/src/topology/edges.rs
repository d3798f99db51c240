//! The names in `needs` -> the edges of the graph.

use std::collections::{HashMap, HashSet};

use flowgate_flow::graph::{Edge, NodeId};

use super::deployment::{Deployment, Need};
use crate::diagnostic::{Report, suggestion};

/// Returns the edges in the order of the file, for each deployment in the order of its `needs`. The answer of `last`
/// goes back to the Gateway.
pub(super) fn edges(
    deployments: &[Deployment],
    last: Option<&str>,
    report: &mut Report,
) -> Vec<Edge> {
    let names = deployments
        .iter()
        .enumerate()
        .map(|(index, deployment)| (deployment.part.executor.name.as_str(), NodeId(index)));
    let ids: HashMap<&str, NodeId> = names.collect();
    let mut edges = Vec::new();
    for (index, need) in deployments
        .iter()
        .enumerate()
        .flat_map(|(index, deployment)| deployment.needs.iter().map(move |need| (index, need)))
    {
        match need.name.as_deref().map(|name| ids.get(name)) {
            None => edges.push(Edge::Start(NodeId(index))),
            // That an executor needs itself is reported when it is added.
            Some(Some(id)) if id.0 == index => {}
            Some(Some(id)) => edges.push(Edge::Between(*id, NodeId(index))),
            Some(None) => report_unknown(need, deployments, report),
        }
    }
    // A node with the same edge twice would wait for the same part twice.
    let mut seen = HashSet::new();
    edges.retain(|edge| seen.insert(*edge));
    edges.extend(last.and_then(|last| ids.get(last)).map(|id| Edge::End(*id)));
    edges
}

fn report_unknown(need: &Need, deployments: &[Deployment], report: &mut Report) {
    let names = deployments
        .iter()
        .map(|deployment| deployment.part.executor.name.as_str());
    let hint = need
        .name
        .as_deref()
        .map(|name| suggestion(name, names))
        .unwrap_or_default();
    report.error(
        &need.place,
        &need.found,
        format!("the name of an executor of this Flow, or `gateway`{hint}"),
    );
}
