//! The tree of a Flow, from a file or the builder, to its [`Config`]: which keys there are, and who inherits what.

use super::{
    Config, Loaded,
    diagnostic::{ConfigErrors, Diagnostic, Place, Report},
    gateway, graph, known,
    node::{Node, Typing, Value},
    section::{Layer, Section},
    topology::{Inspect, Topology},
    variables,
    yaml::{self, Document},
};

/// Reads the text of a Flow file.
pub(super) fn load(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::new(file);
    let config = yaml::read(text, &mut report).and_then(|document| {
        let mut root = flow(document, &mut report)?;
        variables::expand(&mut root, env);
        read(&root, Typing::Guessed, env, &mut report)
    });
    loaded(config, report)
}

/// Reads the tree of a Flow.
pub(super) fn read(
    root: &Node,
    typing: Typing,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Option<Config> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let top = Section::new([Layer::of_file(Place::new("", root.line), entries)]);
    check_version(&top, report);
    known::check_top(entries, report);
    let with = layer(&top, "with", report);
    let flow = Section::new([with.clone()]);
    let own = layer(&top, "gateway", report);
    let inherited = Layer {
        without: &["uses", "uses_with"],
        ..with.clone()
    };
    let own = Section::new([own, inherited]);
    let gateway = gateway::read(&own, env, report);
    let inspect = Inspect::read(flow.find(&["inspect"]).as_ref(), report);
    let mut topology = Topology::new(inspect, typing, env);
    let inherited = Layer {
        without: NOT_INHERITED,
        ..with
    };
    for own in executors(&top, report) {
        topology.add(&Section::new([own, inherited.clone()]), report);
    }
    let name = flow.text(&["name"], report);
    let (executors, graph) = topology.finish(report)?;
    gateway::warn_of_zstd(&own, &gateway, &executors, report);
    Some(Config {
        name,
        gateway,
        executors,
        graph: graph.into(),
    })
}

/// The outcome of reading: all faults, or the Flow with the warnings.
pub(super) fn loaded(config: Option<Config>, report: Report) -> Result<Loaded, ConfigErrors> {
    let warnings: Vec<Diagnostic> = report.finish()?;
    config
        .map(|config| Loaded { config, warnings })
        .ok_or_else(|| ConfigErrors(Vec::new()))
}

/// The root of a file that is a Flow, by its tag or its `jtype`.
fn flow(document: Document, report: &mut Report) -> Option<Node> {
    let Document { root, tag } = document;
    let tagged = tag.as_deref() == Some("Flow");
    let place = Place::new("jtype", root.line);
    match (&root.value, root.at("jtype")) {
        (Value::Null, _) if tagged => Some(Node::new(Value::Map(Vec::new()), root.line)),
        (Value::Map(_), None) if tagged => Some(root),
        (Value::Map(_), Some(jtype)) if jtype.text().as_deref() == Some("Flow") => Some(root),
        (Value::Map(_), Some(jtype)) => {
            report.error(
                &Place {
                    line: jtype.line.or(place.line),
                    ..place
                },
                jtype.found(),
                "Flow",
            );
            None
        }
        (Value::Map(_), None) => {
            report.error(
                &place,
                tag.map_or_else(|| "no `jtype`".to_owned(), |tag| format!("the tag !{tag}")),
                "`jtype: Flow` at the top",
            );
            None
        }
        _ => {
            report.error(
                &Place::new("", root.line),
                root.found(),
                "a Flow: a map that begins with `jtype: Flow`",
            );
            None
        }
    }
}

/// Jina goes by what stands before the first dot.
fn check_version(top: &Section<'_>, report: &mut Report) {
    let Some(entry) = top.find(&["version"]) else {
        return;
    };
    let text = entry.node.text().unwrap_or_default();
    if text.split('.').next() != Some("1") {
        entry.wrong::<()>("the version 1", report);
    }
}

/// A part that is a map, or nothing.
fn layer<'a>(top: &Section<'a>, name: &str, report: &mut Report) -> Layer<'a> {
    let absent = Layer::of_file(Place::new(name, None), &[]);
    let Some((place, entries)) = top.map(&[name], report) else {
        return absent;
    };
    known::check(&place, entries, report);
    Layer::of_file(place, entries)
}

/// The entries of `executors`, or of `deployments` if there is no such key.
fn executors<'a>(top: &Section<'a>, report: &mut Report) -> Vec<Layer<'a>> {
    let Some((key, node)) = top.raw("executors").or_else(|| top.raw("deployments")) else {
        return Vec::new();
    };
    let place = Place::new(&key.text, key.line);
    let Value::List(items) = &node.value else {
        report.error(&place, node.found(), "a list of executors (`[]` for none)");
        return Vec::new();
    };
    if items.len() > graph::MAX_EXECUTORS {
        report.error(
            &place,
            format!("{} executors", items.len()),
            format!("at most {}", graph::MAX_EXECUTORS),
        );
        return Vec::new();
    }
    let mut layers = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = place.item(index, item.line);
        match &item.value {
            Value::Map(entries) => {
                known::check(&place, entries, report);
                layers.push(Layer::of_file(place, entries));
            }
            _ => report.error(&place, item.found(), "a map with the keys of an executor"),
        }
    }
    layers
}

/// What a deployment has for itself: in Jina `port`, `port_monitoring`, `uses`, `uses_with`; the rest makes no sense
/// for several.
const NOT_INHERITED: &[&str] = &[
    "port",
    "port_in",
    "port_expose",
    "ports",
    "port_monitoring",
    "uses",
    "uses_with",
    "name",
    "needs",
    "method",
    "when",
    "auth",
    "function",
    "invoke",
    "limits",
];
