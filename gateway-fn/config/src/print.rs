//! A Flow file -> the same Flow as normalized YAML: every setting with its value or default, references into the file
//! and anchors replaced, one spelling of each key, and the graph as explicit `needs`.
//!
//! Values from environment variables are written as `${{ ENV.NAME }}`, so that secrets stay where they are. API keys and
//! `grpc_metadata` that are literal in the file are written as [`REDACTED`]. Apart from those, the printed Flow loads as
//! the same [`Config`](crate::Config), if the environment is the same.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use self::normalized::NormalizedFlow;
use super::{
    diagnostic::{ConfigErrors, Place, Report},
    flow_file::{self, Sections},
    gateway::uvicorn,
    node::{Key, Node, Value},
    scalar::Typing,
    section::{Layer, Section},
    variables,
};

mod normalized;

pub use self::normalized::REDACTED;

/// Returns a Flow file as normalized YAML. `file` is its name in errors; `env` returns the variables of the environment.
///
/// # Errors
/// Everything that is invalid in the Flow.
pub fn normalized_yaml(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ConfigErrors> {
    let mut report = Report::new(file);
    let flow = flow_file::parse(text, &mut report).and_then(|written| {
        let (mut values, mut references) = (written.clone(), written);
        variables::expand(&mut values, env);
        variables::expand_references(&mut references, env);
        let (config, places) = flow_file::read(&values, Typing::Guessed, env, &mut report)?;
        let mut flow = serde_json::to_value(NormalizedFlow::new(&config))
            .expect("strings, numbers, lists and maps with text keys");
        write_references(&mut flow, &values, &references, &places);
        Some(flow)
    });
    report.finish()?;
    let flow = flow.ok_or_else(|| ConfigErrors(Vec::new()))?;
    // Block scalars would be shorter, but quotes keep every space.
    let options = serde_yaml::ser_options! { prefer_block_scalars: false };
    Ok(serde_yaml::to_string_with_options(&flow, options).expect("JSON values fit into YAML"))
}

/// Replaces the values that come from the environment by references to it. `values` and `references` are the same tree,
/// one with the variables' values and one with references to them.
fn write_references(flow: &mut Json, values: &Node, references: &Node, places: &[Place]) {
    let mut report = Report::new("");
    let (Some(values), Some(references)) = (top(values), top(references)) else {
        return;
    };
    let values = Sections::of(&values, &mut report);
    let references = Sections::of(&references, &mut report);
    write_name(flow, &values.with, &references.with);
    if let Some(gateway) = flow["gateway"].as_object_mut() {
        let pairs = pairs([
            (&values.gateway, &references.gateway),
            (&values.with, &references.with),
        ]);
        write_gateway(gateway, &pairs);
    }
    let sources = sources(&values.executors, places);
    let Some(executors) = flow["executors"].as_array_mut() else {
        return;
    };
    let mut names = HashMap::new();
    for (executor, source) in executors.iter_mut().zip(sources) {
        let (Some(executor), Some(index)) = (executor.as_object_mut(), source) else {
            continue;
        };
        let inherited = (
            &values.with_for_executors(),
            &references.with_for_executors(),
        );
        let own = (&values.executors[index], &references.executors[index]);
        let name = executor["name"].clone();
        write_executor(executor, &pairs([own, inherited]));
        names.insert(name, executor["name"].clone());
    }
    for need in executors
        .iter_mut()
        .filter_map(|executor| executor["needs"].as_array_mut())
        .flatten()
    {
        if let Some(name) = names.get(need) {
            *need = name.clone();
        }
    }
}

fn top(root: &Node) -> Option<Section<'_>> {
    match &root.value {
        Value::Map(entries) => Some(Section::new([Layer::of_file(Place::default(), entries)])),
        _ => None,
    }
}

/// One key of the source, with its value and the same value with references.
struct Pair<'a> {
    name: String,
    value: &'a Node,
    reference: &'a Node,
    is_own: bool,
}

impl Pair<'_> {
    fn is_from_environment(&self) -> bool {
        differs(self.value, self.reference)
    }

    fn reference(&self) -> Json {
        self.reference.to_json(Typing::AsWritten)
    }
}

/// Returns the keys of a section under their usual names, each once. If several layers have
/// a key, the first layer wins; within a layer, the last entry wins.
fn pairs<'a, const N: usize>(layers: [(&Layer<'a>, &Layer<'a>); N]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for (index, (values, references)) in layers.into_iter().enumerate() {
        let entries = values.entries.iter().zip(references.entries).rev();
        for ((key, value), (_, reference)) in entries {
            let name = usual_name(key);
            let is_hidden = values.without.contains(&key.normalized().as_str());
            if is_hidden || pairs.iter().any(|pair| pair.name == name) {
                continue;
            }
            pairs.push(Pair {
                name,
                value,
                reference,
                is_own: index == 0,
            });
        }
    }
    pairs
}

/// Returns the name of a key that is not an alias.
fn usual_name(key: &Key) -> String {
    let name = key.normalized();
    match name.as_str() {
        "host_in" => "host".to_owned(),
        "protocols" => "protocol".to_owned(),
        "port_expose" | "port_in" | "ports" => "port".to_owned(),
        "https" => "tls".to_owned(),
        "disable_reduce" => "no_reduce".to_owned(),
        _ => name,
    }
}

fn write_name(flow: &mut Json, values: &Layer<'_>, references: &Layer<'_>) {
    let pairs = pairs([(values, references)]);
    let name = pairs.iter().find(|pair| pair.name == "name");
    if let (Some(name), Some(printed)) = (name, flow.pointer_mut("/with/name")) {
        write_reference(printed, name.value, name.reference);
    }
}

fn write_gateway(gateway: &mut Map<String, Json>, pairs: &[Pair<'_>]) {
    for pair in pairs.iter().filter(|pair| pair.is_from_environment()) {
        match (pair.name.as_str(), gateway.get_mut(&pair.name)) {
            ("uvicorn_kwargs", _) => write_uvicorn(gateway, pair),
            (_, Some(printed)) => write_reference(printed, pair.value, pair.reference),
            // It decides the protocol, and another value of it may decide for another one.
            ("uses", None) if pair.is_own => {
                gateway.insert(pair.name.clone(), pair.reference());
            }
            ("grpc_server_options", None) => {
                gateway.insert(pair.name.clone(), pair.reference());
                let name = "max_message_bytes";
                let mut pairs = pairs.iter();
                let has_own =
                    pairs.any(|pair| pair.name == "limits" && pair.value.get(name).is_some());
                if let Some(limits) = gateway["limits"].as_object_mut()
                    && !has_own
                {
                    limits.remove(name);
                }
            }
            _ => {}
        }
    }
}

/// Replaces the options of TLS, which are printed as keys of the Gateway where it has them.
fn write_uvicorn(gateway: &mut Map<String, Json>, pair: &Pair<'_>) {
    let (values, references) = (
        uvicorn::options(pair.value),
        uvicorn::options(pair.reference),
    );
    let entries = values.into_iter().flatten();
    let is_combined = gateway.get("ssl_certfile") == gateway.get("ssl_keyfile");
    for ((key, value), (_, reference)) in entries.zip(references.into_iter().flatten()) {
        let name = key.normalized();
        if let Some(printed) = gateway.get_mut(&name) {
            write_reference(printed, &value, &reference);
        } else if let Some(printed) = gateway
            .get_mut("uvicorn_kwargs")
            .and_then(|options| options.get_mut(&name))
        {
            write_reference(printed, &value, &reference);
        }
        if is_combined && name == "ssl_certfile" {
            let certfile = gateway.get(&name).cloned().unwrap_or_default();
            gateway.insert("ssl_keyfile".to_owned(), certfile);
        }
    }
}

/// Replaces an executor's address as a whole, because several keys make it up.
fn write_executor(executor: &mut Map<String, Json>, pairs: &[Pair<'_>]) {
    let is_true = |name: &str| {
        let mut pairs = pairs.iter();
        pairs.any(|pair| pair.name == name && pair.value.guessed() == Value::Bool(true))
    };
    let is_address = |pair: &&Pair<'_>| {
        ADDRESS_KEYS.contains(&pair.name.as_str())
            && (pair.is_own || is_true("external") || pair.name != "host")
    };
    if pairs
        .iter()
        .filter(is_address)
        .any(Pair::is_from_environment)
    {
        executor.remove("host");
        executor.remove("uses");
        for pair in pairs.iter().filter(is_address) {
            executor.insert(pair.name.clone(), pair.reference());
        }
    }
    for pair in pairs.iter().filter(|pair| pair.is_from_environment()) {
        let is_part_of_graph = ["needs", "floating"].contains(&pair.name.as_str());
        if is_part_of_graph || ADDRESS_KEYS.contains(&pair.name.as_str()) {
            continue;
        }
        if let Some(printed) = executor.get_mut(&pair.name) {
            write_reference(printed, pair.value, pair.reference);
        }
    }
}

/// Replaces what differs between `value` and `reference`, as deep down as the structures are the same.
fn write_reference(printed: &mut Json, value: &Node, reference: &Node) {
    if !differs(value, reference) {
        return;
    }
    match (printed, &value.value, &reference.value) {
        (Json::Object(printed), Value::Map(values), Value::Map(references)) => {
            for ((key, value), (_, reference)) in values.iter().zip(references) {
                let name = match printed.contains_key(&key.text) {
                    true => key.text.clone(),
                    false => key.normalized(),
                };
                if let Some(printed) = printed.get_mut(&name) {
                    write_reference(printed, value, reference);
                } else if differs(value, reference) {
                    // A digest is printed as a redacted `key`, which the reference replaces.
                    if name == "sha256" {
                        printed.remove("key");
                    }
                    printed.insert(name, reference.to_json(Typing::AsWritten));
                }
            }
        }
        (Json::Array(printed), Value::List(values), Value::List(references))
            if printed.len() == values.len() =>
        {
            for ((printed, value), reference) in printed.iter_mut().zip(values).zip(references) {
                write_reference(printed, value, reference);
            }
        }
        (printed, ..) => {
            let reference = reference.to_json(Typing::AsWritten);
            let is_secret = *printed == REDACTED;
            if !is_secret || reference.as_str().is_some_and(has_no_literal_secret) {
                *printed = reference;
            }
        }
    }
}

/// Whether a text consists of references to variables alone, or of an authentication scheme and references.
fn has_no_literal_secret(text: &str) -> bool {
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let Some((_, after)) = after.split_once("}}") else {
            return false;
        };
        literal.push_str(before);
        rest = after;
    }
    literal.push_str(rest);
    let literal = literal.trim();
    let is_scheme = |scheme: &str| literal.eq_ignore_ascii_case(scheme);
    literal.is_empty() || ["Basic", "Bearer", "Token"].into_iter().any(is_scheme)
}

fn differs(value: &Node, reference: &Node) -> bool {
    value.to_json(Typing::AsWritten) != reference.to_json(Typing::AsWritten)
}

/// Returns for each place of a node the item of `executors` that it comes from. The second node at a place is the
/// pass-through that an inspection adds.
fn sources(executors: &[Layer<'_>], places: &[Place]) -> Vec<Option<usize>> {
    let mut sources = Vec::with_capacity(places.len());
    for place in places {
        let index = executors.iter().position(|layer| layer.place == *place);
        sources.push(index.filter(|_| !sources.contains(&index)));
    }
    sources
}

const ADDRESS_KEYS: [&str; 6] = ["uses", "host", "port", "external", "tls", "replicas"];
