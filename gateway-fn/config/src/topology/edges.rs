//! The names in `needs` to the edges of the graph.

use std::collections::{HashMap, HashSet};

use flowgate_flow::graph::{Edge, NodeId};

use super::deployment::{Deployment, Need};
use crate::diagnostic::{Report, nearest};

/// Edges in the order of the file, for each deployment in the order of its `needs`; the end comes after `last`.
pub(super) fn edges(
    deployments: &[Deployment],
    last: Option<&str>,
    report: &mut Report,
) -> Vec<Edge> {
    let names = deployments
        .iter()
        .enumerate()
        .map(|(index, one)| (one.part.executor.name.as_str(), NodeId(index)));
    let ids: HashMap<&str, NodeId> = names.collect();
    let mut edges = Vec::new();
    for (index, need) in deployments
        .iter()
        .enumerate()
        .flat_map(|(index, one)| one.needs.iter().map(move |need| (index, need)))
    {
        match need.name.as_deref().map(|name| ids.get(name)) {
            None => edges.push(Edge::Start(NodeId(index))),
            // A need of itself is reported where it was found.
            Some(Some(id)) if id.0 == index => {}
            Some(Some(id)) => edges.push(Edge::Between(*id, NodeId(index))),
            Some(None) => report_unknown(need, deployments, report),
        }
    }
    // Equal edges would have a node wait for the same part twice.
    let mut seen = HashSet::new();
    edges.retain(|edge| seen.insert(*edge));
    edges.extend(last.and_then(|last| ids.get(last)).map(|id| Edge::End(*id)));
    edges
}

fn report_unknown(need: &Need, deployments: &[Deployment], report: &mut Report) {
    let names = deployments
        .iter()
        .map(|one| one.part.executor.name.as_str());
    let hint = need
        .name
        .as_deref()
        .map(|name| nearest(name, names))
        .unwrap_or_default();
    report.error(
        &need.place,
        &need.found,
        format!("the name of an executor of this Flow, or gateway{hint}"),
    );
}
