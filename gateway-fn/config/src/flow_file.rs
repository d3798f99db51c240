//! The tree of a Flow, from a file or the builder -> its [`Config`]: the sections of the file, and which section inherits
//! from which.

use flowgate_proto::Compression;

use super::{
    Config, Loaded,
    address::Address,
    diagnostic::{ConfigErrors, Place, Report},
    executor::ExecutorConfig,
    gateway::{self, GatewayConfig},
    graph, jina_keys,
    node::{Node, Value},
    scalar::Typing,
    section::{Layer, Section},
    topology::{Inspect, Topology},
    variables,
    yaml::{self, Document},
};

/// The configuration, and for each of its executors the place of the deployment that it comes from.
pub(super) type ConfigWithPlaces = (Config, Vec<Place>);

/// Reads the text of a Flow file.
pub(super) fn load(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigErrors> {
    let mut report = Report::new(file);
    let config = parse(text, &mut report).and_then(|mut root| {
        variables::expand(&mut root, env);
        let (config, _) = read(&root, Typing::Guessed, env, &mut report)?;
        Some(config)
    });
    loaded(config, report)
}

/// Parses the text of a file that has to be a Flow. Variables are still in it.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let document = yaml::read(text, report)?;
    flow(document, report)
}

/// Reads the tree of a Flow, in which variables are already replaced.
pub(super) fn read(
    root: &Node,
    typing: Typing,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Option<ConfigWithPlaces> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let top = Section::new([Layer::of_file(Place::new("", root.line), entries)]);
    top.mark_used(&["jtype"]);
    check_version(&top, report);
    let sections = Sections::of(&top, report);
    top.mark_used(&["jcloud"]);
    let gateway_section = sections.gateway();
    let gateway = gateway::read(&gateway_section, env, report);
    let flowgate_keys = gateway_section.used_keys();
    jina_keys::check_top(&top, entries, &flowgate_keys, report);
    for layer in sections.layers() {
        jina_keys::check(&layer.place, layer.entries, &flowgate_keys, report);
    }
    let flow = Section::new([sections.with.clone()]);
    let inspect = Inspect::read(flow.find(&["inspect"]).as_ref(), report);
    let mut topology = Topology::new(inspect, typing, env);
    for executor in sections.executors() {
        topology.add(&executor, report);
    }
    let name = flow.text(&["name"], report);
    let (executors, graph, places) = topology.finish(report)?;
    warn_of_zstd(&gateway_section, &gateway, &executors, report);
    let config = Config {
        name,
        gateway,
        executors,
        graph: graph.into(),
    };
    Some((config, places))
}

/// Returns all errors, or the Flow with its warnings.
pub(super) fn loaded(config: Option<Config>, report: Report) -> Result<Loaded, ConfigErrors> {
    let warnings = report.finish()?;
    config
        .map(|config| Loaded { config, warnings })
        .ok_or_else(|| ConfigErrors(Vec::new()))
}

/// The sections of a Flow file.
pub(super) struct Sections<'a> {
    pub(super) with: Layer<'a>,
    pub(super) gateway: Layer<'a>,
    pub(super) executors: Vec<Layer<'a>>,
}

impl<'a> Sections<'a> {
    pub(super) fn of(top: &Section<'a>, report: &mut Report) -> Self {
        Self {
            with: layer(top, "with", report),
            gateway: layer(top, "gateway", report),
            executors: executors(top, report),
        }
    }

    /// The `gateway` with what it inherits from `with`.
    pub(super) fn gateway(&self) -> Section<'a> {
        let inherited = Layer {
            without: &["uses", "uses_with"],
            ..self.with.clone()
        };
        Section::new([self.gateway.clone(), inherited])
    }

    /// Each deployment with what it inherits from `with`, in the order of the file.
    pub(super) fn executors(&self) -> impl Iterator<Item = Section<'a>> {
        let inherited = self.with_for_executors();
        let executors = self.executors.iter().cloned();
        executors.map(move |own| Section::new([own, inherited.clone()]))
    }

    /// The keys of `with` that deployments inherit.
    pub(super) fn with_for_executors(&self) -> Layer<'a> {
        Layer {
            without: NOT_INHERITED,
            ..self.with.clone()
        }
    }

    fn layers(&self) -> impl Iterator<Item = &Layer<'a>> {
        [&self.with, &self.gateway]
            .into_iter()
            .chain(&self.executors)
    }
}

/// Warns that Executors behind gRPC are not sent `zstd`.
fn warn_of_zstd(
    section: &Section<'_>,
    gateway: &GatewayConfig,
    executors: &[ExecutorConfig],
    report: &mut Report,
) {
    let mut addresses = executors.iter().flat_map(|executor| &executor.addresses);
    let is_grpc = addresses.any(|address| matches!(address, Address::Grpc { .. }));
    if let (Compression::Zstd, true, Some(entry)) =
        (gateway.compression, is_grpc, section.find(&["compression"]))
    {
        report.warn(
            &entry.place,
            "zstd in a Flow with Executors behind gRPC",
            "gzip: Jina's gRPC peers do not support zstd, so they are sent gzip anyway",
        );
    }
}

/// Returns the root of a file that is a Flow, by its tag or its `jtype`.
fn flow(document: Document, report: &mut Report) -> Option<Node> {
    let Document { root, tag } = document;
    let tagged = tag.as_deref() == Some("Flow");
    let place = Place::new("jtype", root.line);
    match (&root.value, root.get("jtype")) {
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
                "a Flow: a map with `jtype: Flow` at the top",
            );
            None
        }
    }
}

/// Accepts version 1 with any minor version: Jina reads only the part before the first dot.
fn check_version(top: &Section<'_>, report: &mut Report) {
    let Some(entry) = top.find(&["version"]) else {
        return;
    };
    let text = entry.node.text().unwrap_or_default();
    if text.split('.').next() != Some("1") {
        entry.invalid::<()>("version 1, the only one of Jina 3.x", report);
    }
}

/// Returns a section that is a map; an empty one if it is missing.
fn layer<'a>(top: &Section<'a>, name: &'static str, report: &mut Report) -> Layer<'a> {
    let (place, entries) = top
        .map(&[name], report)
        .unwrap_or_else(|| (Place::new(name, None), &[]));
    Layer::of_file(place, entries)
}

/// Returns the items of `executors`, or of `deployments` if there is no such key.
fn executors<'a>(top: &Section<'a>, report: &mut Report) -> Vec<Layer<'a>> {
    let (executors, deployments) = (
        top.find_even_null("executors"),
        top.find_even_null("deployments"),
    );
    let Some((key, node)) = executors.or(deployments) else {
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
            Value::Map(entries) => layers.push(Layer::of_file(place, entries)),
            _ => report.error(&place, item.found(), "a map with the keys of an executor"),
        }
    }
    layers
}

/// Keys that a deployment does not inherit from `with`: in Jina `port`, `port_monitoring`, `uses` and `uses_with`; the
/// others make no sense for several deployments.
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
