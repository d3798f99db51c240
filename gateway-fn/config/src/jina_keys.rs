//! The keys that Jina 3.13 accepts in a Flow and on the command line of `jina gateway`, and warnings of keys that neither
//! Jina nor Flowgate has. Such a key has no effect, as in Jina.

use super::{
    diagnostic::{Place, Report, suggestion},
    node::{Key, Node},
    section::Section,
};

/// Warns of unknown keys at the top of the file, once its sections are read.
pub(super) fn check_top(
    top: &Section<'_>,
    entries: &[(Key, Node)],
    flowgate_keys: &[&str],
    report: &mut Report,
) {
    let known = top.used_keys();
    for (key, _) in entries {
        // Files keep values that they only refer to under `x-`.
        if known.contains(&key.text.as_str()) || key.text.starts_with("x-") {
            continue;
        }
        let expected = if is_known(key, flowgate_keys) {
            "it below `gateway:`, `with:` or an executor; it has no effect here".to_owned()
        } else {
            let hint = suggestion(&key.text, known.iter().copied());
            format!("one of {}{hint}; it has no effect", known.join(", "))
        };
        let place = Place::default().key(&key.text, key.line);
        report.warn(&place, "an unknown key", expected);
    }
}

/// Warns of unknown keys in `with`, `gateway` or an executor. Like Jina, it accepts the keys of each in all of them.
/// `flowgate_keys` are the keys that only Flowgate has.
pub(super) fn check(
    place: &Place,
    entries: &[(Key, Node)],
    flowgate_keys: &[&str],
    report: &mut Report,
) {
    for (key, _) in entries
        .iter()
        .filter(|(key, _)| !is_known(key, flowgate_keys))
    {
        let all: Vec<String> = jina_keys().collect();
        let all = all
            .iter()
            .map(String::as_str)
            .chain(flowgate_keys.iter().copied());
        let hint = suggestion(&key.normalized(), all);
        report.warn(
            &place.key(&key.text, key.line),
            "an unknown key",
            format!("a key of Jina or Flowgate{hint}; it has no effect"),
        );
    }
}

fn is_known(key: &Key, flowgate_keys: &[&str]) -> bool {
    let name = key.normalized();
    flowgate_keys.contains(&name.as_str()) || jina_keys().any(|known| known == name)
}

/// Every key that Jina has, in the spelling of a Flow file.
fn jina_keys() -> impl Iterator<Item = String> {
    let gateway = GATEWAY_ARGUMENTS.iter().flat_map(|(names, _)| *names);
    let gateway = gateway.map(|name| name.replace('-', "_"));
    gateway.chain(OTHER_KEYS.split_whitespace().map(str::to_owned))
}

/// How many values an argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    /// One text.
    Text,
    /// One text, which is a JSON document.
    Json,
    /// At least one text.
    List,
    /// Any number of texts.
    OptionalList,
    /// No value.
    Flag,
    /// Any number of values. The argument has no effect here, because it is about Jina's Python processes.
    Ignored,
}

/// All arguments of `jina gateway` in Jina 3.13: their names, the first of which is also the key of a Flow file.
pub(super) const GATEWAY_ARGUMENTS: &[(&[&str], ArgumentKind)] = &[
    (&["compression"], ArgumentKind::Text),
    (&["cors"], ArgumentKind::Flag),
    (&["deployments-addresses"], ArgumentKind::Json),
    (&["deployments-metadata"], ArgumentKind::Json),
    (
        &["deployments-no-reduce", "deployments-disable-reduce"],
        ArgumentKind::Json,
    ),
    (&["description"], ArgumentKind::Text),
    (&["docker-kwargs"], ArgumentKind::Ignored),
    (&["entrypoint"], ArgumentKind::Ignored),
    (&["env"], ArgumentKind::Ignored),
    // A Flow file may have this one as a map or as JSON, so it is read there.
    (&["expose-endpoints"], ArgumentKind::Text),
    (&["expose-graphql-endpoint"], ArgumentKind::Flag),
    (&["floating"], ArgumentKind::Ignored),
    (&["graph-conditions"], ArgumentKind::Json),
    (&["graph-description"], ArgumentKind::Json),
    (&["grpc-server-options"], ArgumentKind::Json),
    (&["host", "host-in"], ArgumentKind::Text),
    (&["k8s-namespace"], ArgumentKind::Ignored),
    (&["log-config"], ArgumentKind::Ignored),
    (&["metrics"], ArgumentKind::Flag),
    (&["metrics-exporter-host"], ArgumentKind::Ignored),
    (&["metrics-exporter-port"], ArgumentKind::Ignored),
    (&["monitoring"], ArgumentKind::Flag),
    (&["name"], ArgumentKind::Text),
    (&["native"], ArgumentKind::Ignored),
    (&["no-crud-endpoints"], ArgumentKind::Flag),
    (&["no-debug-endpoints"], ArgumentKind::Flag),
    (
        &["port", "port-expose", "port-in", "ports"],
        ArgumentKind::List,
    ),
    (&["port-monitoring"], ArgumentKind::Ignored),
    (&["prefetch"], ArgumentKind::Text),
    (&["protocol", "protocols"], ArgumentKind::List),
    (&["proxy"], ArgumentKind::Flag),
    (&["py-modules"], ArgumentKind::Ignored),
    (&["quiet"], ArgumentKind::Ignored),
    (&["quiet-error"], ArgumentKind::Ignored),
    (&["reload"], ArgumentKind::Ignored),
    (&["retries"], ArgumentKind::Text),
    (&["runtime-cls"], ArgumentKind::Ignored),
    (&["ssl-certfile"], ArgumentKind::Text),
    (&["ssl-keyfile"], ArgumentKind::Text),
    (&["timeout-ctrl"], ArgumentKind::Ignored),
    (&["timeout-ready"], ArgumentKind::Ignored),
    (&["timeout-send"], ArgumentKind::Text),
    (&["title"], ArgumentKind::Text),
    (&["traces-exporter-host"], ArgumentKind::Ignored),
    (&["traces-exporter-port"], ArgumentKind::Ignored),
    (&["tracing"], ArgumentKind::Flag),
    (&["uses"], ArgumentKind::Text),
    (&["uses-with"], ArgumentKind::Ignored),
    (&["uvicorn-kwargs"], ArgumentKind::OptionalList),
    (&["workspace"], ArgumentKind::Ignored),
];

/// The arguments of Jina 3.13's Flow, client and deployments that its Gateway does not have, whether they have an effect in
/// Flowgate or not. Those of the Gateway are in the table of its command line.
const OTHER_KEYS: &str = "
asyncio connection_list deployment_role disable_auto_volume disable_reduce exit_on_exceptions external
extra_search_paths force force_update gpus grpc_metadata https inspect install_requirements jcloud method needs
no_reduce noblock_on_start output_array_type pod_role polling replicas shard_id shards tls uses_after
uses_after_address uses_before uses_before_address uses_dynamic_batching uses_metas uses_requests volumes when
workspace_id
";
