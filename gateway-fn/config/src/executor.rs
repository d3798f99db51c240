//! What a deployment says about its Executor: where it is and what it is told. The one way to an address for every
//! spelling that Jina has.

use std::{fmt, mem};

use super::{
    address::{self, A_PORT, Address, AddressError},
    diagnostic::Report,
    gateway::default_host,
    node::{Typing, Value},
    section::{Commas, Entry, Section, Word},
};

/// One deployment of the Flow. Its index is its [`flowgate_flow::graph::NodeId`].
#[derive(Clone, PartialEq)]
pub struct ExecutorConfig {
    /// The deployment's name.
    pub name: String,
    /// Where its replicas are, at least one; they take turns.
    pub addresses: Vec<Address>,
    /// Sent along with every data request (`grpc_metadata`).
    pub metadata: Vec<(String, String)>,
    /// The condition as it was written; the graph has it compiled.
    pub when: Option<serde_json::Value>,
}

impl fmt::Debug for ExecutorConfig {
    /// Leaves the metadata's values out: they are tokens, as a rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.metadata.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("ExecutorConfig")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("metadata", &keys)
            .finish()
    }
}

/// The addresses of a deployment.
pub(super) fn addresses(
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Vec<Address> {
    let uses = section.find(&["uses"]);
    let named = uses.as_ref().and_then(|entry| entry.node.text());
    if let (Some(entry), Some(uri)) = (&uses, named.as_deref().filter(|uses| is_our_uri(uses))) {
        return compiled_in(entry, uri, section, report);
    }
    let hosts = section.words(HOST, Commas::Split, report);
    let external = section.flag(&["external"], report);
    // Jina binds a deployment of its own to `host`; only one that says more than "anywhere" leads to an Executor.
    let located = section.find(HOST).is_some_and(|entry| entry.own)
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
            entry.wrong(WAYS_OUT, report).unwrap_or_default()
        }
        _ => pass_through(section, report),
    }
}

/// The `grpc_metadata` of a deployment.
pub(super) fn metadata(section: &Section<'_>, report: &mut Report) -> Vec<(String, String)> {
    section
        .find(METADATA)
        .map_or_else(Vec::new, |entry| pairs(&entry, report))
}

/// A map of keys and values to metadata.
pub(super) fn pairs(entry: &Entry<'_>, report: &mut Report) -> Vec<(String, String)> {
    let Value::Map(entries) = &entry.node.value else {
        // Not what stands there, which may be a secret.
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
                "a key that gRPC cannot send",
                "small letters, digits, `-`, `_` and `.`",
            );
        } else if key.text.ends_with("-bin") {
            report.error(
                &entry.place,
                "a key that ends in `-bin`",
                "another key: gRPC keeps this ending for bytes, and metadata here is text",
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
                        "quotes around it; it is sent as text (Jina hangs)",
                    );
                }
                pairs.push((key.text.clone(), text));
            }
            // The value itself may be a secret.
            None => report.error(
                &entry.place,
                "a value that gRPC cannot send",
                "text of printable ASCII characters",
            ),
        }
    }
    pairs
}

/// The condition of a deployment as JSON, typed as Jina types it.
pub(super) fn condition(
    entry: &Entry<'_>,
    typing: Typing,
    report: &mut Report,
) -> Option<serde_json::Value> {
    match entry.node.value {
        Value::Map(_) => Some(entry.node.to_json(typing)),
        _ => entry.wrong("a map, like {tags__lang: {$eq: en}}", report),
    }
}

fn compiled_in(
    entry: &Entry<'_>,
    uri: &str,
    section: &Section<'_>,
    report: &mut Report,
) -> Vec<Address> {
    if section.find(HOST).is_some_and(|host| host.own) {
        report.error(
            &entry.place,
            "an address in `uses` and one in `host`",
            "one of them",
        );
    }
    match uri.parse() {
        Ok(address) => vec![address],
        Err(AddressError { expected }) => entry.wrong(expected, report).unwrap_or_default(),
    }
}

/// Every host with its port: one of them may stand for all.
fn replicas(
    hosts: &[Word<'_>],
    section: &Section<'_>,
    env: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> Vec<Address> {
    let before = report.count();
    let tls = section.flag(&["tls", "https"], report);
    let ports = ports(section, report);
    if report.count() > before {
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
            "as many of the one as of the other, or one for all",
        );
        return Vec::new();
    }
    check_replicas(section, count, report);
    let default = default_host(env);
    let one = |index: usize| {
        let host = hosts.get(index).or_else(|| hosts.first());
        let port = ports.get(index).or_else(|| ports.first()).copied();
        (
            host,
            Address::parse(host.map_or(&default, |host| &host.text), port, tls),
        )
    };
    let mut addresses = Vec::with_capacity(count);
    for (host, parsed) in (0..count).map(one) {
        match (parsed, host) {
            (Ok(address), _) => {
                if let (Address::Grpc { tls: false, .. }, true, Some(host)) = (&address, tls, host)
                {
                    report.warn(
                        &host.entry.place,
                        "a scheme without TLS beside `tls: true`",
                        "grpcs://; as in Jina the scheme wins",
                    );
                }
                addresses.push(address);
            }
            (Err(bad), Some(host)) => drop(host.entry.wrong::<()>(bad.expected, report)),
            (Err(bad), None) => report.error(&section.place(), "no address", bad.expected),
        }
    }
    check_transport(&addresses, section, report);
    addresses
}

/// Replicas take turns at one way of being called.
fn check_transport(addresses: &[Address], section: &Section<'_>, report: &mut Report) {
    let same = |pair: &[Address]| mem::discriminant(&pair[0]) == mem::discriminant(&pair[1]);
    if !addresses.windows(2).all(same) {
        let place = section
            .find(HOST)
            .map_or_else(|| section.place(), |entry| entry.place);
        report.error(
            &place,
            "replicas that are called in different ways",
            "addresses of one kind: all lambda://, or all behind gRPC",
        );
    }
}

fn ports(section: &Section<'_>, report: &mut Report) -> Vec<u16> {
    let words = section.words(PORT, Commas::Split, report);
    let port = |word: &Word<'_>| {
        address::port(&word.text)
            .filter(|port| *port > 0)
            .or_else(|| word.entry.wrong(A_PORT, report))
    };
    words.iter().filter_map(port).collect()
}

fn check_replicas(section: &Section<'_>, count: usize, report: &mut Report) {
    let Some(replicas) =
        section.whole(&["replicas"], 1..=i64::MAX, "a whole number from 1", report)
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

/// Jina starts a process that does nothing for such a deployment; here the Gateway does nothing itself.
fn pass_through(section: &Section<'_>, report: &mut Report) -> Vec<Address> {
    if let Some(port) = section.find(PORT) {
        report.warn(
            &port.place,
            "a `port` without `external: true`",
            "`external: true`, if an Executor is there; without `uses` documents just pass",
        );
    }
    vec![Address::pass_through()]
}

fn is_our_uri(uses: &str) -> bool {
    uses.starts_with("inproc://") || uses.starts_with("lambda://")
}

fn is_wildcard(host: &str) -> bool {
    ["0.0.0.0", "::", "[::]", "0"].contains(&host)
}

const HOST: &[&str] = &["host", "host_in"];

const PORT: &[&str] = &["port", "port_in"];

const METADATA: &[&str] = &["grpc_metadata"];

const WAYS_OUT: &str = "the address of an Executor, as no Python is started here: `external: true` with the `host` and `port` \
    where it runs (or `host: grpc://host:port`), `host: lambda://function`, or `uses: inproc://name` for one compiled in";
