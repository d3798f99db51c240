//! `jina gateway` with what Jina 3.13's exports put behind it.

use super::*;
use crate::{GatewayArgs, Listener, Protocol};

fn args(graph: &str, addresses: &str) -> GatewayArgs {
    GatewayArgs {
        graph_description: Some(graph.to_owned()),
        deployments_addresses: Some(addresses.to_owned()),
        ..GatewayArgs::default()
    }
}

fn read(args: &GatewayArgs) -> Result<Loaded, ConfigErrors> {
    Config::from_gateway_args(args, &no_variables)
}

fn exported(host: Option<&str>, addresses: &str) -> GatewayArgs {
    GatewayArgs {
        expose_endpoints: Some("{}".to_owned()),
        protocol: vec!["HTTP".to_owned()],
        host: host.map(str::to_owned),
        uses: Some("HTTPGateway".to_owned()),
        timeout_send: Some("2000".to_owned()),
        port: vec!["8081".to_owned()],
        ..args(
            r#"{"enc": ["idx"], "start-gateway": ["enc"], "idx": ["end-gateway"]}"#,
            addresses,
        )
    }
}

#[test]
fn jinas_exports_to_kubernetes_and_docker_compose_load() {
    let kubernetes = exported(
        Some("0"),
        r#"{"enc": ["grpc://enc.default.svc:8080"], "idx": ["grpc://idx-head.default.svc:8080"]}"#,
    );
    let compose = exported(
        None,
        r#"{"enc": ["enc-rep-0:8081", "enc-rep-1:8081"], "idx": ["idx-head:8081"]}"#,
    );
    for (args, expected) in [
        (
            kubernetes,
            [
                "grpc://enc.default.svc:8080",
                "grpc://idx-head.default.svc:8080",
            ],
        ),
        (
            compose,
            [
                "grpc://enc-rep-0:8081 grpc://enc-rep-1:8081",
                "grpc://idx-head:8081",
            ],
        ),
    ] {
        let Loaded { config, warnings } = read(&args).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(warnings, []);
        assert_eq!(addresses(&config), expected);
        assert_eq!(graph(&config), "start: enc, enc: idx, idx: end");
        assert_eq!(config.gateway.host, "0.0.0.0");
        assert_eq!(
            config.gateway.listeners,
            [Listener {
                protocol: Protocol::Http,
                port: 8081
            }]
        );
        assert_eq!(
            config.gateway.timeout_send,
            Some(std::time::Duration::from_secs(2))
        );
        assert!(config.gateway.http.exposed.is_empty());
    }
}

#[test]
fn conditions_metadata_and_no_reduce_reach_their_nodes() {
    let config = read(&GatewayArgs {
        graph_conditions: Some(r#"{"b": {"tags__x": {"$eq": "1"}}}"#.to_owned()),
        deployments_metadata: Some(r#"{"b": {"key": "value"}}"#.to_owned()),
        deployments_no_reduce: Some(r#"["j"]"#.to_owned()),
        ..args(
            r#"{"start-gateway":["a"],"a":["b","c"],"b":["j"],"c":["j"],"j":["end-gateway"]}"#,
            r#"{"a":["h:1"],"b":["h:2"],"c":["h:3"],"j":["inproc://join"]}"#,
        )
    });
    let config = config.unwrap_or_else(|faults| panic!("{faults}")).config;
    assert_eq!(graph(&config), "start: a, a: b c, b: j, c: j, j: end");
    let nodes: Vec<_> = config
        .graph
        .nodes()
        .map(|(_, node)| (node.filter.is_some(), node.reduce))
        .collect();
    assert_eq!(
        nodes,
        [(false, true), (true, true), (false, true), (false, false)]
    );
    assert_eq!(
        config.executors[1].metadata,
        [("key".to_owned(), "value".to_owned())]
    );
}

#[test]
fn without_arguments_there_is_an_empty_graph() {
    let config = read(&GatewayArgs::default()).expect("holds").config;
    assert!(config.graph.is_empty());
}

#[test]
fn faults_name_the_argument() {
    for (args, key, said) in [
        (args("{", "{}"), "--graph-description", "JSON"),
        (args("[]", "{}"), "--graph-description", "a map"),
        (
            args(r#"{"start-gateway":["a"]}"#, "{}"),
            "--deployments-addresses",
            "no address of \"a\"",
        ),
        (
            args(r#"{"start-gateway":["a"]}"#, r#"{"a":[]}"#),
            "--deployments-addresses",
            "at least one",
        ),
        (
            args(r#"{"start-gateway":["a"]}"#, r#"{"a":["h"]}"#),
            "--deployments-addresses.a[0]",
            "a port",
        ),
        (
            args(
                r#"{"start-gateway":["a"],"a":["b"],"b":["a"]}"#,
                r#"{"a":["h:1"],"b":["h:1"]}"#,
            ),
            "--graph-description.needs",
            "a circle",
        ),
        (
            args(
                r#"{"start-gateway":["a"],"a":["start-gateway"]}"#,
                r#"{"a":["h:1"]}"#,
            ),
            "--graph-description.a[0]",
            "behind an executor",
        ),
        (
            args(r#"{"start-gateway":[1, {}]}"#, r#"{"1":["h:1"]}"#),
            "--graph-description.start-gateway[1]",
            "text",
        ),
        (
            GatewayArgs {
                timeout_send: Some("abc".to_owned()),
                ..GatewayArgs::default()
            },
            "--timeout-send",
            "milliseconds",
        ),
        (
            GatewayArgs {
                port: vec!["1".to_owned(), "2".to_owned()],
                ..GatewayArgs::default()
            },
            "--port",
            "as many",
        ),
        (
            GatewayArgs {
                protocol: vec!["ws".to_owned()],
                ..GatewayArgs::default()
            },
            "--protocol[0]",
            "websocket",
        ),
    ] {
        let ConfigErrors(faults) = read(&args).expect_err(key);
        let [fault] = faults.as_slice() else {
            panic!("{}", ConfigErrors(faults))
        };
        assert_eq!((fault.key.as_str(), fault.line), (key, None));
        assert!(fault.to_string().contains(said), "{fault}");
    }
}

#[test]
fn a_node_that_nothing_leads_to_is_a_fault() {
    for (graph, said) in [
        (r#"{"a":["end-gateway"]}"#, "no way to \"a\""),
        (
            r#"{"start-gateway":["a"],"a":["end-gateway"],"b":["c"],"c":["a"]}"#,
            "no way to \"b\"",
        ),
    ] {
        let addresses = r#"{"a":["h:1"],"b":["h:1"],"c":["h:1"]}"#;
        let faults = read(&args(graph, addresses)).expect_err(graph).to_string();
        assert!(
            faults.lines().count() == 1 && faults.contains(said),
            "{faults}"
        );
    }
}

#[test]
fn metadata_is_never_shown() {
    for metadata in [
        r#"{"a": {"token": "swordfish}"#,
        r#""swordfish""#,
        r#"{"a": "swordfish"}"#,
        r#"{"a": ["swordfish"]}"#,
        r#"{"a": {"token": ["swordfish"]}}"#,
    ] {
        let args = GatewayArgs {
            deployments_metadata: Some(metadata.to_owned()),
            ..args(r#"{"start-gateway":["a"]}"#, r#"{"a":["h:1"]}"#)
        };
        let faults = read(&args).expect_err(metadata).to_string();
        assert!(!faults.contains("swordfish"), "{faults}");
        assert!(faults.contains("--deployments-metadata"), "{faults}");
        assert!(!format!("{args:?}").contains("swordfish"));
    }
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let args = GatewayArgs {
        proxy: true,
        uvicorn_kwargs: vec!["loop:uvloop".to_owned()],
        ..GatewayArgs::default()
    };
    let keys = |args| -> Vec<String> {
        let warnings = read(args).expect("holds").warnings;
        warnings.into_iter().map(|warning| warning.key).collect()
    };
    assert_eq!(keys(&args), ["--proxy", "--uvicorn-kwargs"]);
    let empty = GatewayArgs {
        uvicorn_kwargs: vec!["{}".to_owned()],
        ..GatewayArgs::default()
    };
    assert_eq!(keys(&empty), [""; 0]);
}
