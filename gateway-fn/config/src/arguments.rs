//! The arguments of `jina gateway` -> the same [`Config`] as from a Flow file. They describe the graph in JSON instead of
//! a list of executors.

use std::collections::{HashMap, HashSet};

use flowgate_flow::graph::{Edge, FlowGraph, NodeId};

use self::command_line::Argument;
use super::{
    Config, Loaded,
    address::AddressError,
    diagnostic::{ConfigErrors, Place, Report, quoted, suggestion},
    executor::{self, ExecutorConfig},
    flow_file, gateway,
    graph::{self, Part},
    jina_keys::ArgumentKind,
    node::{Key, Node, Value},
    scalar::Typing,
    section::{Commas, Entry, Item, KeyStyle, Layer, Section},
};

mod command_line;

pub use command_line::{ArgumentError, GatewayArgs};

/// Reads the arguments.
pub(super) fn load(
    args: &GatewayArgs,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::new("the command line");
    let entries: Vec<(Key, Node)> = args
        .arguments
        .iter()
        .map(|argument| entry(argument, &mut report))
        .collect();
    let section = Section::new([Layer {
        place: Place::default(),
        entries: &entries,
        without: &[],
        key_style: KeyStyle::CommandLine,
    }]);
    let gateway = gateway::read(&section, env, &mut report);
    let compiled = GraphArgs::read(&section, &mut report).compile(&mut report);
    let config = compiled.map(|(executors, graph)| Config {
        name: args.value("name").map(str::to_owned),
        gateway,
        executors,
        graph: graph.into(),
    });
    flow_file::loaded(config, report)
}

/// Returns an argument as a key of a Flow file with its value.
fn entry(argument: &Argument, report: &mut Report) -> (Key, Node) {
    let text = |text: &String| Value::Text(text.clone());
    let value = match (argument.kind, argument.values.first()) {
        (ArgumentKind::Flag, _) => Value::Bool(true),
        (ArgumentKind::Text, Some(value)) => text(value),
        (ArgumentKind::Json, Some(value)) => json(argument.name, value, report),
        (ArgumentKind::List | ArgumentKind::OptionalList, Some(_)) => Value::List(
            argument
                .values
                .iter()
                .map(|value| Node::new(text(value), None))
                .collect(),
        ),
        (_, None) | (ArgumentKind::Ignored, _) => Value::Null,
    };
    let key = Key::new(&argument.name.replace('-', "_"), None);
    (key, Node::new(value, None))
}

/// Parses an argument in JSON; null if it is invalid.
fn json(name: &str, text: &str, report: &mut Report) -> Value {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    match parsed {
        Ok(json) => Node::from(json).value,
        Err(error) => {
            // Metadata is usually tokens.
            let found = match name {
                "deployments-metadata" => "invalid JSON".to_owned(),
                _ => quoted(text),
            };
            report.error(
                &place(&format!("--{name}")),
                found,
                format!("JSON ({error})"),
            );
            Value::Null
        }
    }
}

/// The arguments that describe the graph.
struct GraphArgs<'a> {
    followers: Vec<(&'a str, Vec<Item<'a>>)>,
    addresses: Vec<(&'a str, Entry<'a>)>,
    conditions: Vec<(&'a str, Entry<'a>)>,
    metadata: Vec<(&'a str, Entry<'a>)>,
    no_reduce: HashSet<String>,
}

impl<'a> GraphArgs<'a> {
    fn read(section: &Section<'a>, report: &mut Report) -> Self {
        let graph = section.children("graph_description", report);
        let no_reduce = section.items(&["deployments_no_reduce"], Commas::Keep, report);
        Self {
            followers: graph
                .into_iter()
                .map(|(name, entry)| (name, entry.items(Commas::Keep, report)))
                .collect(),
            addresses: section.children("deployments_addresses", report),
            conditions: section.children("graph_conditions", report),
            metadata: section.children("deployments_metadata", report),
            no_reduce: no_reduce.into_iter().map(|item| item.text).collect(),
        }
    }

    fn compile(&self, report: &mut Report) -> Option<(Vec<ExecutorConfig>, FlowGraph)> {
        let names = self.names();
        if names.len() > graph::MAX_EXECUTORS {
            report.error(
                &place(GRAPH),
                format!("{} executors", names.len()),
                format!("at most {}", graph::MAX_EXECUTORS),
            );
            return None;
        }
        self.warn_of_unknown_names(&names, report);
        let before = report.error_count();
        let edges = self.edges(&names, report);
        if report.error_count() == before {
            report_unreachable(&names, &edges, report);
        }
        let parts = names.iter().map(|name| self.part(name, report)).collect();
        graph::compile(parts, &edges, &vec![place(GRAPH); names.len()], report)
    }

    /// Returns the names of the nodes in the order in which the graph has them.
    fn names(&self) -> Vec<&str> {
        let followers = self
            .followers
            .iter()
            .flat_map(|(_, items)| items.iter().map(|item| item.text.as_str()));
        let all = self
            .followers
            .iter()
            .map(|(name, _)| *name)
            .chain(followers);
        let mut seen = HashSet::from([START, END]);
        all.filter(|name| seen.insert(name)).collect()
    }

    fn edges(&self, names: &[&str], report: &mut Report) -> Vec<Edge> {
        let ids: HashMap<&str, NodeId> = names
            .iter()
            .enumerate()
            .map(|(index, name)| (*name, NodeId(index)))
            .collect();
        let mut edges = Vec::new();
        let mut seen = HashSet::new();
        for (from, item) in self
            .followers
            .iter()
            .flat_map(|(from, items)| items.iter().map(move |item| (*from, item)))
        {
            let edge = match (
                from,
                ids.get(from),
                item.text.as_str(),
                ids.get(item.text.as_str()),
            ) {
                (START, _, END, _) => continue,
                (START, _, _, Some(to)) => Edge::Start(*to),
                (_, Some(from), END, _) => Edge::End(*from),
                (_, Some(from), _, Some(to)) => Edge::Between(*from, *to),
                _ => {
                    item.entry.invalid::<()>(
                        "an executor or end-gateway, after an executor or start-gateway",
                        report,
                    );
                    continue;
                }
            };
            if seen.insert(edge) {
                edges.push(edge);
            }
        }
        edges
    }

    fn part(&self, name: &str, report: &mut Report) -> Part {
        let items = find(&self.addresses, name)
            .map_or_else(Vec::new, |entry| entry.items(Commas::Split, report));
        if items.is_empty() {
            report.error(
                &place("--deployments-addresses"),
                format!("no address of {}", quoted(name)),
                "a list of at least one",
            );
        }
        let address = |item: &Item<'_>| match item.text.parse() {
            Ok(address) => Some(address),
            Err(AddressError { expected }) => item.entry.invalid(expected, report),
        };
        let addresses = items.iter().filter_map(address).collect();
        let metadata = find(&self.metadata, name)
            .map_or_else(Vec::new, |entry| executor::pairs(entry, report));
        let entry = find(&self.conditions, name);
        let when = entry.and_then(|entry| executor::condition(entry, Typing::AsWritten, report));
        let filter = entry
            .zip(when.as_ref())
            .and_then(|(entry, condition)| graph::filter(entry, condition, report));
        Part {
            executor: ExecutorConfig {
                name: name.to_owned(),
                addresses,
                metadata,
                when,
            },
            filter,
            reduce: !self.no_reduce.contains(name),
        }
    }

    /// Warns of names that the graph does not have. They are ignored, as in Jina.
    fn warn_of_unknown_names(&self, names: &[&str], report: &mut Report) {
        for (name, entry) in self
            .addresses
            .iter()
            .chain(&self.conditions)
            .chain(&self.metadata)
        {
            if !names.contains(name) {
                let hint = suggestion(name, names.iter().copied());
                report.warn(
                    &entry.place,
                    "a name that is not in --graph-description",
                    format!("an executor of the graph{hint}"),
                );
            }
        }
    }
}

/// Rejects nodes without a predecessor: they, and the nodes after them, would never run.
fn report_unreachable(names: &[&str], edges: &[Edge], report: &mut Report) {
    let reached: HashSet<NodeId> = edges
        .iter()
        .filter_map(|edge| match edge {
            Edge::Start(to) | Edge::Between(_, to) => Some(*to),
            Edge::End(_) => None,
        })
        .collect();
    for (index, name) in names.iter().enumerate() {
        if !reached.contains(&NodeId(index)) {
            report.error(
                &place(GRAPH),
                format!("no predecessor of {}", quoted(name)),
                format!("it after {START} or another executor"),
            );
        }
    }
}

fn find<'s, 'a>(entries: &'s [(&'a str, Entry<'a>)], name: &str) -> Option<&'s Entry<'a>> {
    entries
        .iter()
        .find(|(found, _)| *found == name)
        .map(|(_, entry)| entry)
}

fn place(argument: &str) -> Place {
    Place::new(argument, None)
}

/// The start of Jina's graphs.
const START: &str = "start-gateway";

/// The end of Jina's graphs.
const END: &str = "end-gateway";

const GRAPH: &str = "--graph-description";
