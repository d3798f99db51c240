//! The running Flow in the form in which Jina's Gateway reports it in `/status`, under `JINA_STREAMER_ARGS`.

use flowgate_config::{Config, Retries};
use flowgate_flow::graph::{FlowGraph, Node};
use flowgate_proto::Compression;
use serde_json::{Map, Value, json};

/// Returns the JSON text. Of `grpc_metadata`, whose values are often tokens, only the keys are shown; addresses are
/// shown only if `internal_addresses_in_errors` is set.
pub(super) fn streamer_args(config: &Config) -> String {
    let gateway = &config.gateway;
    json!({
        "graph_representation": graph_representation(&config.graph),
        "executor_addresses": addresses(config),
        "graph_conditions": conditions(config),
        "deployments_metadata": metadata(config),
        "deployments_no_reduce": no_reduce(&config.graph),
        "timeout_send": gateway.timeout_send.map(|timeout| timeout.as_secs_f64()),
        "retries": match gateway.retries {
            Retries::Default => -1,
            Retries::Exactly(retries) => i64::from(retries),
        },
        "compression": match gateway.compression {
            Compression::None => Value::Null,
            Compression::Gzip => "Gzip".into(),
            Compression::Deflate => "Deflate".into(),
            Compression::Zstd => "Zstd".into(),
        },
        "runtime_name": "gateway/rep-0",
        "prefetch": gateway.prefetch.map_or(0, std::num::NonZeroUsize::get),
    })
    .to_string()
}

fn graph_representation(graph: &FlowGraph) -> Value {
    let mut edges = Map::new();
    if !graph.is_empty() {
        let start: Vec<_> = graph
            .start()
            .iter()
            .map(|id| graph[*id].name.as_str())
            .collect();
        edges.insert("start-gateway".to_owned(), json!(start));
    }
    edges.extend(
        graph
            .nodes()
            .map(|(_, node)| (node.name.clone(), followers(graph, node))),
    );
    Value::Object(edges)
}

fn followers(graph: &FlowGraph, node: &Node) -> Value {
    let names = node.followers.iter().map(|id| graph[*id].name.as_str());
    names.chain(node.is_end.then_some("end-gateway")).collect()
}

fn addresses(config: &Config) -> Value {
    let shown = config.gateway.internal_addresses_in_errors;
    let entries = config.executors.iter().map(|executor| {
        let addresses: Vec<_> = executor
            .addresses
            .iter()
            .map(ToString::to_string)
            .filter(|_| shown)
            .collect();
        (executor.name.clone(), json!(addresses))
    });
    Value::Object(entries.collect())
}

fn conditions(config: &Config) -> Value {
    let entries = config
        .executors
        .iter()
        .filter_map(|executor| Some((executor.name.clone(), executor.when.clone()?)));
    Value::Object(entries.collect())
}

fn metadata(config: &Config) -> Value {
    let entries = config
        .executors
        .iter()
        .filter(|executor| !executor.metadata.is_empty())
        .map(|executor| {
            let keys = executor
                .metadata
                .iter()
                .map(|(key, _)| (key.clone(), Value::from("(set)")));
            (executor.name.clone(), Value::Object(keys.collect()))
        });
    Value::Object(entries.collect())
}

fn no_reduce(graph: &FlowGraph) -> Vec<&str> {
    graph
        .nodes()
        .filter(|(_, node)| !node.reduce)
        .map(|(_, node)| node.name.as_str())
        .collect()
}
