//! Flows that Jina 3.13 accepts, Flows that do not hold, and text that is no Flow at all.

use super::{Config, ConfigErrors, Diagnostic, Loaded};

mod accepted;

mod arguments;

mod auth;

mod builder;

mod errors;

mod function;

mod invoke;

mod never_panics;

mod warnings;

mod websocket;

fn no_variables(_: &str) -> Option<String> {
    None
}

fn load(yaml: &str) -> Result<Loaded, ConfigErrors> {
    Config::from_yaml(yaml, "flow.yml", &no_variables)
}

/// A Flow that has to hold.
fn config(yaml: &str) -> Config {
    match load(yaml) {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{yaml}\n{faults}"),
    }
}

/// The faults of a Flow that has to have some.
fn faults(yaml: &str) -> Vec<Diagnostic> {
    match load(yaml) {
        Ok(loaded) => panic!("{yaml}\nholds: {loaded:?}"),
        Err(ConfigErrors(faults)) => faults,
    }
}

/// The graph in the form of Jina's `--graph-description`, the nodes in their order.
fn graph(config: &Config) -> String {
    let name = |id: &flowgate_flow::graph::NodeId| config.graph[*id].name.clone();
    let start: Vec<String> = config.graph.start().iter().map(name).collect();
    let mut lines = vec![format!("start: {}", start.join(" "))];
    for (_, node) in config.graph.nodes() {
        let mut followers: Vec<String> = node.followers.iter().map(name).collect();
        followers.extend(node.is_end.then(|| "end".to_owned()));
        lines.push(format!("{}: {}", node.name, followers.join(" ")));
    }
    lines.join(", ")
}

/// All addresses, executor by executor.
fn addresses(config: &Config) -> Vec<String> {
    let uris = |addresses: &[super::Address]| {
        addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    config
        .executors
        .iter()
        .map(|executor| uris(&executor.addresses))
        .collect()
}
