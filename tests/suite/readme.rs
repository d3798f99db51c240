//! Checks that the Flow in README.md is valid.

use std::path::Path;

use flowgate_config::{Config, Protocol};

/// Returns the first fenced YAML block that is a Flow.
fn flow_of_the_readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(path).expect("README.md is in the root");
    text.split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("jtype: Flow"))
        .expect("README.md shows a Flow")
        .to_owned()
}

#[test]
fn the_flow_of_the_readme_is_valid() {
    let loaded = Config::from_yaml(&flow_of_the_readme(), "README.md", &|_| None);
    let loaded = loaded.expect("no errors");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    let protocols: Vec<_> = config
        .gateway
        .listeners
        .iter()
        .map(|listener| listener.protocol)
        .collect();
    assert_eq!(
        protocols,
        [Protocol::Grpc, Protocol::Http, Protocol::WebSocket]
    );
    let names: Vec<_> = config
        .graph
        .nodes()
        .map(|(_, node)| node.name.as_str())
        .collect();
    assert_eq!(names, ["encoder", "indexer", "greeter", "joined"]);
    assert!(
        config.graph.nodes().all(|(_, node)| node.is_awaited),
        "no Executor floats"
    );
}
