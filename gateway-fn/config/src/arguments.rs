//! The arguments of `jina gateway` to the same [`Config`] as a Flow file: a graph in JSON instead of executors.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use flowgate_flow::graph::{Edge, FlowGraph, NodeId};

use super::{
    Config, Loaded,
    address::AddressError,
    diagnostic::{ConfigErrors, Place, Report, nearest, quoted},
    executor::{self, ExecutorConfig},
    flow_file, gateway,
    graph::{self, Part},
    node::{Key, Node, Typing, Value},
    section::{Commas, Entry, Layer, Section, Spelling, Word},
};

/// What `jina gateway` is given, each as it stands on the command line; what is absent has Jina's default. Arguments
/// that mean nothing to this Gateway (`--k8s-namespace`, `--workspace`, ...) are not here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GatewayArgs {
    /// `--name`
    pub name: Option<String>,
    /// `--host`
    pub host: Option<String>,
    /// `--protocol`, `--protocols`
    pub protocol: Vec<String>,
    /// `--port`, `--ports`, `--port-expose`, `--port-in`
    pub port: Vec<String>,
    /// `--prefetch`
    pub prefetch: Option<String>,
    /// `--timeout-send`, in milliseconds
    pub timeout_send: Option<String>,
    /// `--retries`
    pub retries: Option<String>,
    /// `--compression`
    pub compression: Option<String>,
    /// `--title`
    pub title: Option<String>,
    /// `--description`
    pub description: Option<String>,
    /// `--cors`
    pub cors: bool,
    /// `--no-debug-endpoints`
    pub no_debug_endpoints: bool,
    /// `--no-crud-endpoints`
    pub no_crud_endpoints: bool,
    /// `--expose-endpoints`, JSON
    pub expose_endpoints: Option<String>,
    /// `--expose-graphql-endpoint`
    pub expose_graphql_endpoint: bool,
    /// `--ssl-certfile`
    pub ssl_certfile: Option<String>,
    /// `--ssl-keyfile`
    pub ssl_keyfile: Option<String>,
    /// `--uses`: the class of the Gateway, one of Jina's own
    pub uses: Option<String>,
    /// `--monitoring`
    pub monitoring: bool,
    /// `--tracing`
    pub tracing: bool,
    /// `--metrics`
    pub metrics: bool,
    /// `--grpc-server-options`, JSON
    pub grpc_server_options: Option<String>,
    /// `--proxy`
    pub proxy: bool,
    /// `--uvicorn-kwargs`
    pub uvicorn_kwargs: Vec<String>,
    /// `--graph-description`, JSON: names to the names that follow
    pub graph_description: Option<String>,
    /// `--graph-conditions`, JSON: names to conditions
    pub graph_conditions: Option<String>,
    /// `--deployments-addresses`, JSON: names to lists of addresses
    pub deployments_addresses: Option<String>,
    /// `--deployments-metadata`, JSON: names to maps
    pub deployments_metadata: Option<String>,
    /// `--deployments-no-reduce`, JSON: a list of names
    pub deployments_no_reduce: Option<String>,
}

impl fmt::Debug for GatewayArgs {
    /// Shows what is served and to whom it leads; metadata is tokens, as a rule, and conditions may name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayArgs")
            .field("protocol", &self.protocol)
            .field("port", &self.port)
            .field("graph_description", &self.graph_description)
            .field("deployments_addresses", &self.deployments_addresses)
            .finish_non_exhaustive()
    }
}

/// Reads the arguments.
pub(super) fn load(
    args: &GatewayArgs,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::new("the command line");
    let entries = args.entries(&mut report);
    let place = Place::default();
    let section = Section::new([Layer {
        place,
        entries: &entries,
        without: &[],
        spelling: Spelling::CommandLine,
    }]);
    let gateway = gateway::read(&section, env, &mut report);
    let compiled = Described::read(&section, &mut report).compile(&mut report);
    let config = compiled.map(|(executors, graph)| Config {
        name: args.name.clone(),
        gateway,
        executors,
        graph: graph.into(),
    });
    flow_file::loaded(config, report)
}

impl GatewayArgs {
    fn entries(&self, report: &mut Report) -> Vec<(Key, Node)> {
        let texts = [
            ("host", &self.host),
            ("prefetch", &self.prefetch),
            ("timeout_send", &self.timeout_send),
            ("retries", &self.retries),
            ("compression", &self.compression),
            ("title", &self.title),
            ("description", &self.description),
            ("expose_endpoints", &self.expose_endpoints),
            ("ssl_certfile", &self.ssl_certfile),
            ("ssl_keyfile", &self.ssl_keyfile),
            ("uses", &self.uses),
        ];
        let flags = [
            ("cors", self.cors),
            ("no_debug_endpoints", self.no_debug_endpoints),
            ("no_crud_endpoints", self.no_crud_endpoints),
            ("expose_graphql_endpoint", self.expose_graphql_endpoint),
            ("monitoring", self.monitoring),
            ("tracing", self.tracing),
            ("metrics", self.metrics),
            ("proxy", self.proxy),
        ];
        let documents = [
            ("grpc_server_options", &self.grpc_server_options),
            ("graph_description", &self.graph_description),
            ("graph_conditions", &self.graph_conditions),
            ("deployments_addresses", &self.deployments_addresses),
            ("deployments_metadata", &self.deployments_metadata),
            ("deployments_no_reduce", &self.deployments_no_reduce),
        ];
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut put =
            |name: &str, value: Value| entries.push((Key::new(name, None), Node::new(value, None)));
        texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?)))
            .for_each(|(name, text)| put(name, Value::Text(text)));
        flags
            .into_iter()
            .filter(|(_, flag)| *flag)
            .for_each(|(name, _)| put(name, Value::Bool(true)));
        for (name, words) in [
            ("protocol", &self.protocol),
            ("port", &self.port),
            ("uvicorn_kwargs", &self.uvicorn_kwargs),
        ] {
            if !words.is_empty() {
                put(
                    name,
                    Value::List(
                        words
                            .iter()
                            .map(|word| Node::new(Value::Text(word.clone()), None))
                            .collect(),
                    ),
                );
            }
        }
        for (name, text) in documents
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_deref()?)))
        {
            put(name, json(name, text, report));
        }
        entries
    }
}

/// An argument in JSON; nothing if it is none.
fn json(name: &str, text: &str, report: &mut Report) -> Value {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    match parsed {
        Ok(json) => Node::from(json).value,
        Err(error) => {
            // Metadata is tokens, as a rule.
            let found = match name {
                "deployments_metadata" => "text that is no JSON".to_owned(),
                _ => quoted(text),
            };
            report.error(
                &Place::new(&format!("--{}", name.replace('_', "-")), None),
                found,
                format!("JSON ({error})"),
            );
            Value::Null
        }
    }
}

/// The arguments that describe the graph.
struct Described<'a> {
    followers: Vec<(&'a str, Vec<Word<'a>>)>,
    addresses: Vec<(&'a str, Entry<'a>)>,
    conditions: Vec<(&'a str, Entry<'a>)>,
    metadata: Vec<(&'a str, Entry<'a>)>,
    no_reduce: HashSet<String>,
}

impl<'a> Described<'a> {
    fn read(section: &Section<'a>, report: &mut Report) -> Self {
        let graph = section.children("graph_description", report);
        let no_reduce = section.words(&["deployments_no_reduce"], Commas::Keep, report);
        Self {
            followers: graph
                .into_iter()
                .map(|(name, entry)| (name, entry.words(Commas::Keep, report)))
                .collect(),
            addresses: section.children("deployments_addresses", report),
            conditions: section.children("graph_conditions", report),
            metadata: section.children("deployments_metadata", report),
            no_reduce: no_reduce.into_iter().map(|word| word.text).collect(),
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
        self.warn_of_strangers(&names, report);
        let before = report.count();
        let edges = self.edges(&names, report);
        if report.count() == before {
            report_unreachable(&names, &edges, report);
        }
        let parts = names.iter().map(|name| self.part(name, report)).collect();
        graph::compile(parts, &edges, &vec![place(GRAPH); names.len()], report)
    }

    /// The nodes in the order in which the graph names them.
    fn names(&self) -> Vec<&str> {
        let followers = self
            .followers
            .iter()
            .flat_map(|(_, words)| words.iter().map(|word| word.text.as_str()));
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
        for (from, word) in self
            .followers
            .iter()
            .flat_map(|(from, words)| words.iter().map(move |word| (*from, word)))
        {
            let edge = match (
                from,
                ids.get(from),
                word.text.as_str(),
                ids.get(word.text.as_str()),
            ) {
                (START, _, END, _) => continue,
                (START, _, _, Some(to)) => Edge::Start(*to),
                (_, Some(from), END, _) => Edge::End(*from),
                (_, Some(from), _, Some(to)) => Edge::Between(*from, *to),
                _ => {
                    word.entry.wrong::<()>(
                        "an executor or end-gateway, behind an executor or start-gateway",
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
        let words = find(&self.addresses, name)
            .map_or_else(Vec::new, |entry| entry.words(Commas::Split, report));
        if words.is_empty() {
            report.error(
                &place("--deployments-addresses"),
                format!("no address of {}", quoted(name)),
                "a list of at least one",
            );
        }
        let address = |word: &Word<'_>| match word.text.parse() {
            Ok(address) => Some(address),
            Err(AddressError { expected }) => word.entry.wrong(expected, report),
        };
        let addresses = words.iter().filter_map(address).collect();
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

    /// Names that the graph does not have are left out, as in Jina, but not silently.
    fn warn_of_strangers(&self, names: &[&str], report: &mut Report) {
        for (name, entry) in self
            .addresses
            .iter()
            .chain(&self.conditions)
            .chain(&self.metadata)
        {
            if !names.contains(name) {
                let hint = nearest(name, names.iter().copied());
                report.warn(
                    &entry.place,
                    "a name that is not in --graph-description",
                    format!("an executor of the graph{hint}"),
                );
            }
        }
    }
}

/// Nodes that no edge leads to would never run, nor would those that wait for them.
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
                format!("no way to {}", quoted(name)),
                format!("it behind {START} or another executor"),
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

/// Where Jina's graphs begin.
const START: &str = "start-gateway";

/// Where the answer leaves them.
const END: &str = "end-gateway";

const GRAPH: &str = "--graph-description";
