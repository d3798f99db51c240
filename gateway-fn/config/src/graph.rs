//! The last step for every source of a Flow: compiles conditions and the graph, and finds cycles.

use flowgate_flow::{
    filter::{Filter, FilterSyntaxError},
    graph::{Edge, FlowGraph, NodeSpec},
};

use super::{
    diagnostic::{Place, Report},
    executor::ExecutorConfig,
    node::{Node, Value},
    section::Entry,
};

/// One node of the graph.
pub(super) struct Part {
    pub(super) executor: ExecutorConfig,
    pub(super) filter: Option<Filter>,
    pub(super) reduce: bool,
}

/// Compiles the graph. `places` are the places of the parts.
pub(super) fn compile(
    parts: Vec<Part>,
    edges: &[Edge],
    places: &[Place],
    report: &mut Report,
) -> Option<(Vec<ExecutorConfig>, FlowGraph)> {
    if parts.len() > MAX_EXECUTORS {
        report.error(
            &Place::default(),
            format!("{} executors", parts.len()),
            format!("at most {MAX_EXECUTORS}"),
        );
        return None;
    }
    let spec = |part: Part| {
        (
            NodeSpec {
                name: part.executor.name.clone(),
                filter: part.filter,
                reduce: part.reduce,
            },
            part.executor,
        )
    };
    let (nodes, executors): (Vec<_>, Vec<_>) = parts.into_iter().map(spec).unzip();
    match FlowGraph::new(nodes, edges) {
        Ok(graph) => Some((executors, graph)),
        Err(cycle) => {
            let first = executors
                .iter()
                .position(|executor| Some(&executor.name) == cycle.0.first());
            let place = first
                .and_then(|index| places.get(index))
                .cloned()
                .unwrap_or_default();
            report.error(
                &place.key("needs", None),
                format!("a cycle: {}", cycle.0.join(" -> ")),
                "executors that do not need each other",
            );
            None
        }
    }
}

/// Compiles a condition. Its errors get the places of the values in the file.
pub(super) fn filter(
    entry: &Entry<'_>,
    condition: &serde_json::Value,
    report: &mut Report,
) -> Option<Filter> {
    match Filter::compile(condition) {
        Ok(filter) => Some(filter),
        Err(errors) => {
            for FilterSyntaxError {
                path,
                found,
                expected,
                detail,
            } in errors
            {
                let (place, variable) = locate(entry, &path);
                // A detail may quote parts of a variable's value.
                let detail = detail.filter(|_| variable.is_none());
                let found = variable.map_or(found, Node::found);
                let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
                report.error(&place, found, format!("{expected}{detail}"));
            }
            None
        }
    }
}

/// Returns the place at the end of a path below an entry. A path ends early at a text in which variables were replaced;
/// then that node is returned too.
fn locate<'a>(entry: &Entry<'a>, path: &[String]) -> (Place, Option<&'a Node>) {
    let mut place = entry.place.clone();
    let mut node = Some(entry.node);
    for step in path {
        if node.is_some_and(|node| node.variables.is_some()) {
            break;
        }
        (place, node) = below(&place, node, step);
    }
    (place, node.filter(|node| node.variables.is_some()))
}

/// Follows one step of a path.
fn below<'a>(place: &Place, node: Option<&'a Node>, step: &str) -> (Place, Option<&'a Node>) {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => {
            let index = step.parse().unwrap_or(usize::MAX);
            let item = items.get(index);
            (place.item(index, item.and_then(|item| item.line)), item)
        }
        Some(Value::Map(entries)) => {
            let (line, node) = entries
                .iter()
                .rev()
                .find(|(key, _)| key.text == step)
                .map(|(key, node)| (key.line, node))
                .unzip();
            (place.key(step, line.flatten()), node)
        }
        _ => (place.key(step, None), None),
    }
}

/// Jina's own Flows have a handful; checks that compare all pairs stay fast up to this number.
pub(super) const MAX_EXECUTORS: usize = 1000;
