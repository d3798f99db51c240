//! The keys of a deployment -> its [`ExecutorConfig`]: addresses, metadata and condition, in all the ways in which Jina
//! writes them.

use std::{fmt, mem};

use super::{
    address::{self, Address, AddressError, EXPECTED_PORT},
    diagnostic::Report,
    gateway::default_host,
    node::Value,
    scalar::Typing,
    section::{Commas, Entry, Item, Section},
};

/// One deployment of the Flow. Its index is its [`flowgate_flow::graph::NodeId`].
#[derive(Clone, PartialEq)]
pub struct ExecutorConfig {
    /// The deployment's name.
    pub name: String,
    /// The addresses of its replicas, at least one; they take turns.
    pub addresses: Vec<Address>,
    /// Sent with every data request (`grpc_metadata`).
    pub metadata: Vec<(String, String)>,
    /// The condition as it is written; the graph has it compiled.
    pub when: Option<serde_json::Value>,
}

impl fmt::Debug for ExecutorConfig {
    /// Leaves out the values of the metadata, which are usually tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.metadata.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("ExecutorConfig")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("metadata", &keys)
            .finish()
    }
}

/// Returns the addresses of a deployment.
pub(super) fn addresses(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Vec<Address> {
    let uses = section.find(&["uses"]);
    let named = uses.as_ref().and_then(|entry| entry.node.text());
    if let (Some(entry), Some(uri)) = (&uses, named.as_deref().filter(|uses| is_uri(uses))) {
        return address_in_uses(entry, uri, section, report);
    }
    let hosts = section.items(HOST, Commas::Split, report);
    let external = section.flag(&["external"], report);
    // Without `external`, Jina binds the Executor that it starts to `host`. A `host` that is not a wildcard is taken for
    // the address of a running Executor.
    let located = section.find(HOST).is_some_and(|entry| entry.is_own)
        && !hosts.iter().all(|host| is_wildcard(&host.text));
    if external || located {
        if located
            && !external
            && !hosts
                .iter()
                .all(|host| host.text.contains("://") || host.text.starts_with("arn:"))
        {
            report.warn(
                &hosts[0].entry.place,
                "a `host` without `external: true`",
                "`external: true`: Jina would start this Executor itself",
            );
        }
        return replicas(&hosts, section, env, report);
    }
    match uses {
        Some(entry) if named.as_deref() != Some("BaseExecutor") => {
            entry.invalid(EXPECTED_ADDRESS, report).unwrap_or_default()
        }
        _ => pass_through(section, report),
    }
}

/// Returns the `grpc_metadata` of a deployment.
pub(super) fn metadata(section: &Section<'_>, report: &mut Report) -> Vec<(String, String)> {
    section
        .find(METADATA)
        .map_or_else(Vec::new, |entry| pairs(&entry, report))
}

/// Reads a map of metadata keys and values.
pub(super) fn pairs(entry: &Entry<'_>, report: &mut Report) -> Vec<(String, String)> {
    let Value::Map(entries) = &entry.node.value else {
        // Does not quote the value, which may be a secret.
        report.error(&entry.place, entry.node.kind(), "a map");
        return Vec::new();
    };
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let entry = entry.child(entry.place.key(&key.text, key.line), node);
        if key.text.is_empty()
            || !key.text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
            })
        {
            report.error(
                &entry.place,
                "a key that is invalid in gRPC",
                "lower-case letters, digits, `-`, `_` and `.`",
            );
        } else if key.text.ends_with("-bin") {
            report.error(
                &entry.place,
                "a key that ends in `-bin`",
                "another key: gRPC reserves this suffix for binary values, and metadata here is text",
            );
        }
        match node
            .text()
            .filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
        {
            Some(text) => {
                entry.check_variables(report);
                if !matches!(node.value, Value::Text(_)) {
                    report.warn(
                        &entry.place,
                        "a value that is not text",
                        "quotes around it; it is sent as text (with Jina, requests hang)",
                    );
                }
                pairs.push((key.text.clone(), text));
            }
            None => report.error(
                &entry.place,
                "a value that is invalid in gRPC",
                "text of printable ASCII characters",
            ),
        }
    }
    pairs
}

/// Returns the condition of a deployment as JSON, with the types that Jina gives its values.
pub(super) fn condition(
    entry: &Entry<'_>,
    typing: Typing,
    report: &mut Report,
) -> Option<serde_json::Value> {
    match entry.node.value {
        Value::Map(_) => Some(entry.node.to_json(typing)),
        _ => entry.invalid("a map, like {tags__lang: {$eq: en}}", report),
    }
}

/// Checks the numbers of a deployment that Jina has and that have no effect here: a value that is invalid there is invalid
/// here too.
pub(super) fn check_unused(section: &Section<'_>, report: &mut Report) {
    for (name, minimum, expected) in UNUSED_NUMBERS {
        // The Gateway reports those of `with`.
        let Some(entry) = section.find(&[name]).filter(|entry| entry.is_own) else {
            continue;
        };
        if section
            .integer(&[name], *minimum..=i64::MAX, expected, report)
            .is_some()
            && *name == "timeout_send"
        {
            report.warn(
                &entry.place,
                "a `timeout_send` of one executor",
                "`timeout_send` of the gateway, for calls to all executors; it has no effect here",
            );
        }
    }
}

/// The name, the least value, and what is expected.
const UNUSED_NUMBERS: &[(&str, i64, &str)] = &[
    ("timeout_send", i64::MIN, "milliseconds, or -1 for no limit"),
    (
        "timeout_ready",
        i64::MIN,
        "milliseconds, or -1 for no limit",
    ),
    ("timeout_ctrl", i64::MIN, "milliseconds"),
    ("retries", i64::MIN, "a whole number, -1 for the default"),
    ("prefetch", 0, "a whole number, 0 for no limit"),
    ("shards", 1, "a whole number from 1"),
];

/// Reads an `inproc://` or `lambda://` address in `uses`.
fn address_in_uses(
    entry: &Entry<'_>,
    uri: &str,
    section: &Section<'_>,
    report: &mut Report,
) -> Vec<Address> {
    if section.find(HOST).is_some_and(|host| host.is_own) {
        report.error(
            &entry.place,
            "an address in `uses` and one in `host`",
            "one of them",
        );
    }
    match uri.parse() {
        Ok(address) => vec![address],
        Err(AddressError { expected }) => entry.invalid(expected, report).unwrap_or_default(),
    }
}

/// Combines hosts and ports; a single one of either applies to all.
fn replicas(
    hosts: &[Item<'_>],
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Vec<Address> {
    let before = report.error_count();
    let tls = section.flag(&["tls", "https"], report);
    let ports = ports(section, report);
    if report.error_count() > before {
        return Vec::new();
    }
    let count = hosts.len().max(ports.len()).max(1);
    if (hosts.len() > 1 && hosts.len() < count) || (ports.len() > 1 && ports.len() < count) {
        let place = section
            .find(PORT)
            .map_or_else(|| section.place(), |entry| entry.place);
        report.error(
            &place,
            format!("{} ports for {} hosts", ports.len(), hosts.len()),
            "as many ports as hosts, or a single one for all",
        );
        return Vec::new();
    }
    check_replicas(section, count, report);
    let default = default_host(env);
    let parse = |index: usize| {
        let host = hosts.get(index).or_else(|| hosts.first());
        let port = ports.get(index).or_else(|| ports.first()).copied();
        (
            host,
            Address::parse(host.map_or(&default, |host| &host.text), port, tls),
        )
    };
    let mut addresses = Vec::with_capacity(count);
    for (host, parsed) in (0..count).map(parse) {
        match (parsed, host) {
            (Ok(address), _) => {
                if let (Address::Grpc { tls: false, .. }, true, Some(host)) = (&address, tls, host)
                {
                    report.warn(
                        &host.entry.place,
                        "a scheme without TLS and `tls: true`",
                        "grpcs://; as in Jina the scheme wins",
                    );
                }
                addresses.push(address);
            }
            (Err(error), Some(host)) => {
                host.entry.invalid::<()>(error.expected, report);
            }
            (Err(error), None) => report.error(&section.place(), "no address", error.expected),
        }
    }
    check_transport(&addresses, section, report);
    addresses
}

/// Rejects replicas with different transports, because they take turns.
fn check_transport(addresses: &[Address], section: &Section<'_>, report: &mut Report) {
    let is_same = |pair: &[Address]| mem::discriminant(&pair[0]) == mem::discriminant(&pair[1]);
    if !addresses.windows(2).all(is_same) {
        let place = section
            .find(HOST)
            .map_or_else(|| section.place(), |entry| entry.place);
        report.error(
            &place,
            "replicas with different transports",
            "addresses of one transport: all lambda://, or all gRPC",
        );
    }
}

fn ports(section: &Section<'_>, report: &mut Report) -> Vec<u16> {
    let items = section.items(PORT, Commas::Split, report);
    let port = |item: &Item<'_>| {
        address::port(&item.text)
            .filter(|port| *port > 0)
            .or_else(|| item.entry.invalid(EXPECTED_PORT, report))
    };
    items.iter().filter_map(port).collect()
}

fn check_replicas(section: &Section<'_>, count: usize, report: &mut Report) {
    let Some(replicas) =
        section.integer(&["replicas"], 1..=i64::MAX, "a whole number from 1", report)
    else {
        return;
    };
    if replicas == 1 || usize::try_from(replicas) == Ok(count) {
        return;
    }
    if let Some(entry) = section.find(&["replicas"]) {
        report.error(
            &entry.place,
            format!("{} replicas for {count} addresses", entry.node.found()),
            "as many as there are addresses, or 1",
        );
    }
}

/// Jina starts a process that returns its requests unchanged for such a deployment; in Flowgate the Gateway does that
/// itself.
fn pass_through(section: &Section<'_>, report: &mut Report) -> Vec<Address> {
    if let Some(port) = section.find(PORT) {
        report.warn(
            &port.place,
            "a `port` without `external: true`",
            "`external: true` if an Executor listens there; without `uses` documents pass unchanged",
        );
    }
    vec![Address::pass_through()]
}

fn is_uri(uses: &str) -> bool {
    uses.starts_with("inproc://") || uses.starts_with("lambda://")
}

fn is_wildcard(host: &str) -> bool {
    ["0.0.0.0", "::", "[::]", "0"].contains(&host)
}

const HOST: &[&str] = &["host", "host_in"];

const PORT: &[&str] = &["port", "port_in"];

const METADATA: &[&str] = &["grpc_metadata"];

const EXPECTED_ADDRESS: &str = "the address of an Executor, because Python classes are not supported: `external: true` with the \
    `host` and `port` of a running Executor (or `host: grpc://host:port`), `host: lambda://function`, or `uses: \
    inproc://name` for one that is compiled in";
