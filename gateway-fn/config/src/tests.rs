//! Flows that Jina 3.13 accepts, invalid Flows, and text that is not a Flow.

use super::{Config, ConfigErrors, Diagnostic, Loaded};

mod accepted;

mod arguments;

mod auth;

mod builder;

mod errors;

mod executor_errors;

mod function;

mod graphs;

mod invoke;

mod limits;

mod never_panics;

mod print;

mod tls;

mod variable_errors;

mod warnings;

mod websocket;

fn no_variables(_: &str) -> Option<String> {
    None
}

fn load(yaml: &str) -> Result<Loaded, ConfigErrors> {
    Config::from_yaml(yaml, "flow.yml", &no_variables)
}

/// Loads a Flow that has to be valid.
fn config(yaml: &str) -> Config {
    match load(yaml) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("{yaml}\n{errors}"),
    }
}

/// Returns the errors of a Flow that has to be invalid.
fn errors(yaml: &str) -> Vec<Diagnostic> {
    match load(yaml) {
        Ok(loaded) => panic!("{yaml}\nis valid: {loaded:?}"),
        Err(ConfigErrors(errors)) => errors,
    }
}

/// Asserts that a Flow has exactly one error, with this line, key and part of the message.
#[track_caller]
fn assert_error(yaml: &str, line: usize, key: &str, message: &str) {
    let errors = errors(yaml);
    let [error] = errors.as_slice() else {
        panic!("{yaml}\n{}", ConfigErrors(errors))
    };
    let place = (error.line, error.key.as_str());
    assert_eq!(place, (Some(line), key), "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

fn of_executor(keys: &str) -> String {
    format!(
        "jtype: Flow\nexecutors:\n  - name: a\n    {}\n",
        keys.replace('\n', "\n    ")
    )
}

fn of_executors(executors: &str) -> Config {
    config(&format!("jtype: Flow\nexecutors:\n{executors}"))
}

/// Returns the graph in the form of Jina's `--graph-description`, the nodes in their order.
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

/// Returns all addresses, executor by executor.
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
