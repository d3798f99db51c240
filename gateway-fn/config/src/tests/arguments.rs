//! The arguments of `jina gateway`, as Jina 3.13's exports write them.

use super::*;
use crate::{GatewayArgs, Listener, Protocol};

/// Parses a command line; each item is a name with its values.
fn args(arguments: &[&[&str]]) -> GatewayArgs {
    let words = arguments.iter().flat_map(|argument| argument.iter());
    let command_line: Vec<String> = words.map(|word| (*word).to_owned()).collect();
    GatewayArgs::parse(&command_line).expect("valid arguments")
}

fn with_graph(graph: &str, addresses: &str, more: &[&[&str]]) -> GatewayArgs {
    let graph: [&[&str]; 2] = [
        &["--graph-description", graph],
        &["--deployments-addresses", addresses],
    ];
    args(&[&graph, more].concat())
}

fn read(args: &GatewayArgs) -> Result<Loaded, ConfigErrors> {
    Config::from_gateway_args(args, &no_variables)
}

fn exported(addresses: &str, more: &[&[&str]]) -> GatewayArgs {
    let graph = r#"{"enc": ["idx"], "start-gateway": ["enc"], "idx": ["end-gateway"]}"#;
    let settings: [&[&str]; 5] = [
        &["--expose-endpoints", "{}"],
        &["--protocol", "HTTP"],
        &["--uses", "HTTPGateway"],
        &["--timeout-send", "2000"],
        &["--port", "8081"],
    ];
    with_graph(graph, addresses, &[&settings, more].concat())
}

#[test]
fn jinas_exports_to_kubernetes_and_docker_compose_load() {
    let kubernetes = exported(
        r#"{"enc": ["grpc://enc.default.svc:8080"], "idx": ["grpc://idx-head.default.svc:8080"]}"#,
        &[&["--host", "0"]],
    );
    let compose = exported(
        r#"{"enc": ["enc-rep-0:8081", "enc-rep-1:8081"], "idx": ["idx-head:8081"]}"#,
        &[],
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
        let Loaded { config, warnings } = read(&args).unwrap_or_else(|errors| panic!("{errors}"));
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
    let config = read(&with_graph(
        r#"{"start-gateway":["a"],"a":["b","c"],"b":["j"],"c":["j"],"j":["end-gateway"]}"#,
        r#"{"a":["h:1"],"b":["h:2"],"c":["h:3"],"j":["inproc://join"]}"#,
        &[
            &["--graph-conditions", r#"{"b": {"tags__x": {"$eq": "1"}}}"#],
            &["--deployments-metadata", r#"{"b": {"key": "value"}}"#],
            &["--deployments-no-reduce", r#"["j"]"#],
        ],
    ));
    let config = config.unwrap_or_else(|errors| panic!("{errors}")).config;
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
    let config = read(&GatewayArgs::default()).expect("a valid Flow").config;
    assert!(config.graph.is_empty());
}

#[test]
fn errors_name_the_argument() {
    for (args, key, message) in [
        (with_graph("{", "{}", &[]), "--graph-description", "JSON"),
        (with_graph("[]", "{}", &[]), "--graph-description", "a map"),
        (
            with_graph(r#"{"start-gateway":["a"]}"#, "{}", &[]),
            "--deployments-addresses",
            "no address of \"a\"",
        ),
        (
            with_graph(r#"{"start-gateway":["a"]}"#, r#"{"a":[]}"#, &[]),
            "--deployments-addresses",
            "at least one",
        ),
        (
            with_graph(r#"{"start-gateway":["a"]}"#, r#"{"a":["h"]}"#, &[]),
            "--deployments-addresses.a[0]",
            "a port",
        ),
        (
            with_graph(
                r#"{"start-gateway":["a"],"a":["b"],"b":["a"]}"#,
                r#"{"a":["h:1"],"b":["h:1"]}"#,
                &[],
            ),
            "--graph-description.needs",
            "a cycle",
        ),
        (
            with_graph(
                r#"{"start-gateway":["a"],"a":["start-gateway"]}"#,
                r#"{"a":["h:1"]}"#,
                &[],
            ),
            "--graph-description.a[0]",
            "after an executor",
        ),
        (
            with_graph(r#"{"start-gateway":[1, {}]}"#, r#"{"1":["h:1"]}"#, &[]),
            "--graph-description.start-gateway[1]",
            "a string",
        ),
        (
            args(&[&["--timeout-send", "abc"]]),
            "--timeout-send",
            "milliseconds",
        ),
        (
            args(&[&["--port", "1", "2"]]),
            "--port",
            "one port for each protocol",
        ),
        (args(&[&["--protocol", "ws"]]), "--protocol[0]", "websocket"),
    ] {
        let ConfigErrors(errors) = read(&args).expect_err(key);
        let [error] = errors.as_slice() else {
            panic!("{}", ConfigErrors(errors))
        };
        assert_eq!((error.key.as_str(), error.line), (key, None));
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_node_without_predecessor_is_an_error() {
    for (graph, message) in [
        (r#"{"a":["end-gateway"]}"#, "no predecessor of \"a\""),
        (
            r#"{"start-gateway":["a"],"a":["end-gateway"],"b":["c"],"c":["a"]}"#,
            "no predecessor of \"b\"",
        ),
    ] {
        let addresses = r#"{"a":["h:1"],"b":["h:1"],"c":["h:1"]}"#;
        let errors = read(&with_graph(graph, addresses, &[]))
            .expect_err(graph)
            .to_string();
        assert!(
            errors.lines().count() == 1 && errors.contains(message),
            "{errors}"
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
        let args = with_graph(
            r#"{"start-gateway":["a"]}"#,
            r#"{"a":["h:1"]}"#,
            &[&["--deployments-metadata", metadata]],
        );
        let errors = read(&args).expect_err(metadata).to_string();
        assert!(!errors.contains("swordfish"), "{errors}");
        assert!(errors.contains("--deployments-metadata"), "{errors}");
        assert!(!format!("{args:?}").contains("swordfish"));
    }
}

#[test]
fn arguments_without_effect_are_warned_about() {
    let keys = |arguments: &[&[&str]]| -> Vec<String> {
        let warnings = read(&args(arguments)).expect("a valid Flow").warnings;
        warnings.into_iter().map(|warning| warning.key).collect()
    };
    assert_eq!(
        keys(&[&["--proxy"], &["--uvicorn-kwargs", "loop:uvloop"]]),
        ["--proxy", "--uvicorn-kwargs"]
    );
    assert_eq!(keys(&[&["--uvicorn-kwargs", "{}"]]), [""; 0]);
}
