//! Flows that are built in Rust.

use serde_json::json;

use super::*;
use crate::{
    Protocol::{Grpc, Http},
    builder::{Deployment, Flow},
};

fn built(flow: Flow) -> Config {
    flow.build()
        .unwrap_or_else(|errors| panic!("{errors}"))
        .config
}

#[test]
fn a_flow_in_rust_is_the_one_in_yaml() {
    let rust = built(
        Flow::new()
            .set("name", json!("shop"))
            .set("timeout_send", json!(5000))
            .protocol([Grpc, Http])
            .port([1, 2])
            .add(
                Deployment::new("a")
                    .external("h", 1)
                    .external("::1", 2)
                    .set("tls", json!(true))
                    .set("replicas", json!(2)),
            )
            .add(
                Deployment::new("b")
                    .at("grpc://h:3")
                    .needs(["gateway"])
                    .set("no_reduce", json!(true)),
            )
            .needs(["a", "b"], "both")
            .add(Deployment::new("c").needs(["both"]))
            .add(Deployment::new("d").needs(["both"]))
            .needs_all("joined"),
    );
    let yaml = config(
        "\
jtype: Flow
with: {name: shop, timeout_send: 5000, protocol: [grpc, http], port: [1, 2]}
executors:
  - {name: a, external: true, host: [h, '::1'], port: [1, 2], tls: true, replicas: 2}
  - {name: b, host: 'grpc://h:3', needs: gateway, no_reduce: true}
  - {name: both, method: needs, needs: [a, b]}
  - {name: c, needs: both}
  - {name: d, needs: both}
  - {name: joined, method: needs_all}
",
    );
    assert_eq!(rust.name, yaml.name);
    assert_eq!(rust.gateway, yaml.gateway);
    assert_eq!(rust.executors, yaml.executors);
    assert_eq!(graph(&rust), graph(&yaml));
}

#[test]
fn warnings_and_the_environment_reach_a_flow_in_rust() {
    let flow = Flow::new().set("monitoring", json!(true)).add(
        Deployment::new("a")
            .set("external", json!(true))
            .set("port", json!(1)),
    );
    let env = |name: &str| (name == "JINA_DEFAULT_HOST").then(|| "example.com".to_owned());
    let Loaded { config, warnings } = flow.build_in(&env).expect("a valid Flow");
    assert_eq!(addresses(&config), ["grpc://example.com:1"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_flow_under_construction_shows_no_secrets() {
    let deployment =
        Deployment::new("a").set("grpc_metadata", json!({"authorization": "swordfish"}));
    let flow = Flow::new()
        .set("env", json!("swordfish"))
        .set("title", json!("swordfish"))
        .add(deployment.clone());
    for shown in [format!("{deployment:?}"), format!("{flow:?}")] {
        assert!(!shown.contains("swordfish"), "{shown}");
    }
    assert!(format!("{deployment:?}").contains("grpc_metadata"));
}
