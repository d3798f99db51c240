//! Flows that are built in Rust.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::builder::{Deployment, Flow, GatewayOptions};

fn built(flow: Flow) -> Config {
    flow.build()
        .unwrap_or_else(|faults| panic!("{faults}"))
        .config
}

fn timeout_send(timeout: Duration) -> Result<Option<Duration>, ConfigErrors> {
    let options = GatewayOptions::new().timeout_send(timeout);
    let built = Flow::new().config_gateway(options).build()?;
    Ok(built.config.gateway.timeout_send)
}

#[test]
fn the_longest_time_is_no_limit_and_the_shortest_stays_one() {
    assert_eq!(timeout_send(Duration::MAX), Ok(None));
    let shortest = Ok(Some(Duration::from_millis(1)));
    assert_eq!(timeout_send(Duration::from_nanos(1)), shortest);
    assert!(timeout_send(Duration::from_secs(86_401)).is_err());
}

#[test]
fn a_flow_in_rust_is_the_one_in_yaml() {
    let rust = built(
        Flow::new()
            .name("shop")
            .with("timeout_send", json!(5000))
            .add(
                Deployment::new("a")
                    .external("h", 1)
                    .external("::1", 2)
                    .tls()
                    .replicas(2),
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
with: {name: shop, timeout_send: 5000}
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
    let flow = Flow::new()
        .config_gateway(GatewayOptions::new().set("monitoring", json!(true)))
        .add(
            Deployment::new("a")
                .set("external", json!(true))
                .set("port", json!(1)),
        );
    let env = |name: &str| (name == "JINA_DEFAULT_HOST").then(|| "example.com".to_owned());
    let Loaded { config, warnings } = flow.build_in(&env).expect("holds");
    assert_eq!(addresses(&config), ["grpc://example.com:1"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn what_is_in_the_making_shows_no_secrets() {
    let deployment = Deployment::new("a").grpc_metadata("authorization", "swordfish");
    let flow = Flow::new()
        .with("env", json!("swordfish"))
        .config_gateway(GatewayOptions::new().title("swordfish", ""))
        .add(deployment.clone());
    for shown in [format!("{deployment:?}"), format!("{flow:?}")] {
        assert!(!shown.contains("swordfish"), "{shown}");
    }
    assert!(format!("{deployment:?}").contains("authorization"));
}
