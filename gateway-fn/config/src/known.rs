//! The keys that a Flow may have. One that nobody knows has no effect, here as in Jina, so it is a warning, with the key
//! that was probably meant.

use super::{
    diagnostic::{Place, Report, nearest},
    node::{Key, Node},
    section::plain_name,
};

/// Warns of unknown keys at the top of the file.
pub(super) fn check_top(entries: &[(Key, Node)], report: &mut Report) {
    for (key, _) in entries {
        // `x-` is where a file keeps what it only refers to.
        if TOP.contains(&key.text.as_str()) || key.text.starts_with("x-") {
            continue;
        }
        let expected = if is_known(&key.text) {
            "it below `gateway:`, `with:` or an executor; it has no effect here".to_owned()
        } else {
            format!(
                "one of {}{}; it has no effect",
                TOP.join(", "),
                nearest(&key.text, TOP)
            )
        };
        report.warn(
            &Place::default().key(&key.text, key.line),
            "an unknown key",
            expected,
        );
    }
}

/// Warns of unknown keys in `with`, `gateway` or an executor. As Jina does, this tells none from the others.
pub(super) fn check(place: &Place, entries: &[(Key, Node)], report: &mut Report) {
    for (key, _) in entries.iter().filter(|(key, _)| !is_known(&key.text)) {
        let all = FLOW.into_iter().chain(GATEWAY).chain(EXECUTOR).chain(OURS);
        let hint = nearest(&plain_name(&key.text), all);
        report.warn(
            &place.key(&key.text, key.line),
            "an unknown key",
            format!("a key that Jina has{hint}; it has no effect"),
        );
    }
}

/// Refuses unknown keys in a part that is this Gateway's own: one that is misspelt would leave a bound, or a lock,
/// unset.
pub(super) fn check_own(
    place: &Place,
    entries: &[(Key, Node)],
    known: &'static [&'static str],
    report: &mut Report,
) {
    for (key, _) in entries {
        let name = plain_name(&key.text);
        if !known.contains(&name.as_str()) {
            report.error(
                &place.key(&key.text, key.line),
                "an unknown key",
                format!(
                    "one of {}{}",
                    known.join(", "),
                    nearest(&name, known.iter().copied())
                ),
            );
        }
    }
}

fn is_known(key: &str) -> bool {
    let key = plain_name(key);
    [&FLOW[..], &GATEWAY, &EXECUTOR, &OURS]
        .iter()
        .any(|known| known.contains(&key.as_str()))
}

const TOP: [&str; 7] = [
    "jtype",
    "version",
    "with",
    "gateway",
    "executors",
    "deployments",
    "jcloud",
];

/// What Jina 3.13 knows of a Flow itself, and what it takes from its client's arguments.
const FLOW: [&str; 12] = [
    "name",
    "workspace",
    "workspace_id",
    "log_config",
    "quiet",
    "quiet_error",
    "uses",
    "reload",
    "env",
    "inspect",
    "asyncio",
    "jcloud",
];

/// What Jina 3.13 knows of a Gateway.
const GATEWAY: [&str; 58] = [
    "compression",
    "cors",
    "deployments_addresses",
    "deployments_disable_reduce",
    "deployments_metadata",
    "deployments_no_reduce",
    "description",
    "docker_kwargs",
    "entrypoint",
    "env",
    "expose_endpoints",
    "expose_graphql_endpoint",
    "extra_search_paths",
    "floating",
    "graph_conditions",
    "graph_description",
    "grpc_server_options",
    "host",
    "host_in",
    "k8s_namespace",
    "log_config",
    "metrics",
    "metrics_exporter_host",
    "metrics_exporter_port",
    "monitoring",
    "name",
    "no_crud_endpoints",
    "no_debug_endpoints",
    "noblock_on_start",
    "pod_role",
    "port",
    "port_expose",
    "port_in",
    "port_monitoring",
    "ports",
    "prefetch",
    "protocol",
    "protocols",
    "proxy",
    "py_modules",
    "quiet",
    "quiet_error",
    "reload",
    "retries",
    "runtime_cls",
    "shard_id",
    "ssl_certfile",
    "ssl_keyfile",
    "timeout_ctrl",
    "timeout_ready",
    "timeout_send",
    "title",
    "traces_exporter_host",
    "traces_exporter_port",
    "tracing",
    "uses",
    "uses_with",
    "uvicorn_kwargs",
];

/// What Jina 3.13 knows of a deployment and not of a Gateway.
const EXECUTOR: [&str; 32] = [
    "connection_list",
    "deployment_role",
    "disable_auto_volume",
    "disable_reduce",
    "exit_on_exceptions",
    "external",
    "force",
    "force_update",
    "gpus",
    "grpc_metadata",
    "https",
    "install_requirements",
    "method",
    "native",
    "needs",
    "no_reduce",
    "output_array_type",
    "polling",
    "replicas",
    "shards",
    "tls",
    "uses_after",
    "uses_after_address",
    "uses_before",
    "uses_before_address",
    "uses_dynamic_batching",
    "uses_metas",
    "uses_requests",
    "volumes",
    "when",
    "workspace",
    "workspace_id",
];

/// What only this Gateway knows.
const OURS: [&str; 6] = [
    "auth",
    "function",
    "internal_addresses_in_errors",
    "invoke",
    "limits",
    "shutdown_timeout",
];
