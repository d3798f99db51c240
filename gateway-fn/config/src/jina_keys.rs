//! The keys that Jina 3.13 accepts in a Flow, and warnings of keys that neither Jina nor Flowgate has. Such a key has no
//! effect, as in Jina.

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
        let all = JINA_KEYS
            .split_whitespace()
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
    flowgate_keys.contains(&name.as_str())
        || JINA_KEYS.split_whitespace().any(|known| known == name)
}

/// All arguments of Jina 3.13's Flow, client, Gateway and deployments, whether they have an effect in Flowgate or not.
const JINA_KEYS: &str = "
asyncio compression connection_list cors deployment_role deployments_addresses deployments_disable_reduce
deployments_metadata deployments_no_reduce description disable_auto_volume disable_reduce docker_kwargs entrypoint
env exit_on_exceptions expose_endpoints expose_graphql_endpoint external extra_search_paths floating force
force_update gpus graph_conditions graph_description grpc_metadata grpc_server_options host host_in https inspect
install_requirements jcloud k8s_namespace log_config method metrics metrics_exporter_host metrics_exporter_port
monitoring name native needs no_crud_endpoints no_debug_endpoints no_reduce noblock_on_start output_array_type
pod_role polling port port_expose port_in port_monitoring ports prefetch protocol protocols proxy py_modules quiet
quiet_error reload replicas retries runtime_cls shard_id shards ssl_certfile ssl_keyfile timeout_ctrl timeout_ready
timeout_send title tls traces_exporter_host traces_exporter_port tracing uses uses_after uses_after_address
uses_before uses_before_address uses_dynamic_batching uses_metas uses_requests uses_with uvicorn_kwargs volumes when
workspace workspace_id
";
