//! What Jina 3.13.2 loads, with the graph, addresses and settings that it made of it (seen on the live thing), and the
//! Flows of this repository.

use std::{num::NonZeroUsize, time::Duration};

use flowgate_proto::Compression;

use super::*;
use crate::{ExposedEndpoint, Listener, Protocol, Retries};

fn listeners(config: &Config) -> Vec<(Protocol, u16)> {
    config
        .gateway
        .listeners
        .iter()
        .map(|Listener { protocol, port }| (*protocol, *port))
        .collect()
}

fn of_executors(executors: &str) -> Config {
    config(&format!("jtype: Flow\nexecutors:\n{executors}"))
}

#[test]
fn the_documents_yaml_sets_protocols() {
    let one = |name: &str| {
        listeners(&config(&format!(
            "jtype: Flow\ngateway:\n  protocol: '{name}'\n"
        )))
    };
    assert_eq!(one("grpc"), [(Protocol::Grpc, 0)]);
    assert_eq!(one("http"), [(Protocol::Http, 0)]);
    assert_eq!(one("websocket"), [(Protocol::WebSocket, 0)]);
    let all = config(
        "jtype: Flow\ngateway:\n  protocol:\n    - 'grpc'\n    - 'http'\n    - 'websocket'\n",
    );
    assert_eq!(
        listeners(&all),
        [
            (Protocol::Grpc, 0),
            (Protocol::Http, 0),
            (Protocol::WebSocket, 0)
        ]
    );
    let with = config("jtype: Flow\nwith:\n  protocol: 'HTTP'\n  port: 12345\n");
    assert_eq!(listeners(&with), [(Protocol::Http, 12345)]);
}

#[test]
fn a_flow_may_be_next_to_nothing() {
    for yaml in [
        "jtype: Flow",
        "!Flow",
        "!Flow\nwith:\ngateway:\n",
        "jtype: Flow\nversion: ''\nexecutors: []",
        "!Flow\njtype: Flow\nversion: 1.5\n",
    ] {
        let config = config(yaml);
        assert!(
            config.executors.is_empty() && config.graph.is_empty(),
            "{yaml}"
        );
        assert_eq!(listeners(&config), [(Protocol::Grpc, 0)], "{yaml}");
    }
}

#[test]
fn shop_with_replicas_tls_and_variables() {
    let yaml = "\
jtype: Flow
version: '1'
with: {name: shop, timeout_send: 5000}
gateway:
  protocol: [grpc, http, websocket]
  port: [12345, 12346, 12347]
  cors: true
executors:
  - name: enc
    external: true
    host: ${{ ENV.ENC_HOST }}
    port: [9001, 9002]          # two replicas
    grpc_metadata: {authorization: token}
  - name: idx
    external: true
    host: grpcs://index.example.com:443
";
    let loaded = Config::from_yaml(yaml, "flow.yml", &|name| {
        (name == "ENC_HOST").then(|| "enc.local".to_owned())
    });
    let Loaded { config, warnings } = loaded.expect("holds");
    assert_eq!(warnings, []);
    assert_eq!(config.name.as_deref(), Some("shop"));
    assert_eq!(config.gateway.timeout_send, Some(Duration::from_secs(5)));
    assert!(config.gateway.http.cors);
    assert_eq!(
        listeners(&config),
        [
            (Protocol::Grpc, 12345),
            (Protocol::Http, 12346),
            (Protocol::WebSocket, 12347)
        ]
    );
    assert_eq!(
        addresses(&config),
        [
            "grpc://enc.local:9001 grpc://enc.local:9002",
            "grpcs://index.example.com:443"
        ]
    );
    assert_eq!(
        config.executors[0].metadata,
        [("authorization".to_owned(), "token".to_owned())]
    );
    assert!(
        !format!("{config:?}").contains("token"),
        "metadata is secret"
    );
    assert_eq!(graph(&config), "start: enc, enc: idx, idx: end");
}

#[test]
fn branches_with_conditions_and_a_floating_log() {
    let config = config(
        "\
!Flow
with: {protocol: http, port: 8080, prefetch: 10, compression: Gzip}
executors:
  - {name: a, external: true, host: h, port: 1}
  - {name: b, external: true, host: h, port: 2, needs: a, when: {tags__lang: {$eq: en}}}
  - {name: c, external: true, host: h, port: 3, needs: a, when: {$not: {tags__lang: {$eq: en}}}}
  - {name: log, external: true, host: h, port: 4, needs: a, floating: true}
  - {name: j, external: true, host: h, port: 5, needs: [b, c]}
",
    );
    assert_eq!(
        graph(&config),
        "start: a, a: b c log, b: j, c: j, log: , j: end"
    );
    assert_eq!(config.gateway.prefetch, NonZeroUsize::new(10));
    assert_eq!(config.gateway.compression, Compression::Gzip);
    assert!(config.graph.has_filters() && config.graph.has_floating_nodes());
}

#[test]
fn the_recorded_flows_hold_with_addresses() {
    let gateway = "jtype: Flow\nversion: '1'\ngateway:\n  protocol: [grpc, http, websocket]\n  port: [20401, 20402, 20403]\n";
    let executor = |name: &str, more: &str| {
        format!(
            "  - name: {name}\n    uses: Order\n    py_modules: [execs.py]\n    host: grpc://localhost:20411\n{more}"
        )
    };
    let a = executor("a", "");
    let b = executor("b", "    needs: a\n");
    let c = executor("c", "    needs: a\n");
    for (executors, expected) in [
        (executor("exec0", ""), "start: exec0, exec0: end"),
        (
            format!(
                "{a}{}{}",
                executor("f", "    floating: true\n"),
                executor("b", "")
            ),
            "start: a, a: f b, f: , b: end",
        ),
        (
            format!("{a}{b}{c}{}", executor("j", "    needs: [b, c]\n")),
            "start: a, a: b c, b: j, c: j, j: end",
        ),
        (
            format!(
                "{a}{b}{c}{}",
                executor("j", "    needs: [b, c]\n    no_reduce: true\n")
            ),
            "start: a, a: b c, b: j, c: j, j: end",
        ),
        (
            executor("a", "    shards: 2\n    polling: ALL\n"),
            "start: a, a: end",
        ),
    ] {
        assert_eq!(
            graph(&config(&format!("{gateway}executors:\n{executors}"))),
            expected
        );
    }
    assert_eq!(graph(&config(gateway)), "start: ");
    let down = config(&format!(
        "{gateway}  retries: 0\n  timeout_send: 300\nexecutors:\n  - {{name: ex, external: true, host: localhost, port: 20499}}\n"
    ));
    assert_eq!(down.gateway.retries, Retries::Exactly(0));
    assert_eq!(down.gateway.timeout_send, Some(Duration::from_millis(300)));
}

#[test]
fn this_repositorys_flows_hold() {
    let env = |name: &str| Some(format!("value-of-{}", name.replace('_', "-")));
    for (file, text) in [
        (
            "default.yml",
            include_str!("../../../../infra/flows/default.yml"),
        ),
        (
            "external.yml",
            include_str!("../../../../infra/flows/external.yml"),
        ),
        (
            "branches.yml",
            include_str!("../../../../infra/flows/branches.yml"),
        ),
        (
            "serverless.yml",
            include_str!("../../../../infra/flows/serverless.yml"),
        ),
    ] {
        let loaded =
            Config::from_yaml(text, file, &env).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.warnings, [], "{file}");
    }
}

#[test]
fn hosts_and_ports_are_spread_as_jina_does() {
    for (keys, expected) in [
        ("external: true, port: 9001", "grpc://0.0.0.0:9001"),
        (
            "external: true, host: h, port: '5,6'",
            "grpc://h:5 grpc://h:6",
        ),
        (
            "external: true, host: 'h1,h2', port: 5",
            "grpc://h1:5 grpc://h2:5",
        ),
        (
            "external: true, host: ['h1:1', 'h2:2', 'h3:3']",
            "grpc://h1:1 grpc://h2:2 grpc://h3:3",
        ),
        (
            "external: true, host: ['h1:1', 'h2:2'], replicas: 2",
            "grpc://h1:1 grpc://h2:2",
        ),
        (
            "external: true, host: [h1, h2], port: [1, 2]",
            "grpc://h1:1 grpc://h2:2",
        ),
        (
            "external: true, host: 'grpc://h:1', tls: true",
            "grpc://h:1",
        ),
        ("external: true, host: h, port: 1, tls: true", "grpcs://h:1"),
        (
            "external: true, host: h, port_in: 1, https: true",
            "grpcs://h:1",
        ),
        (
            "external: true, host_in: h, port: 1, shards: 2",
            "grpc://h:1",
        ),
        ("host: 'lambda://clip:live'", "lambda://clip:live"),
        ("host: 'lambda://clip:$LATEST'", "lambda://clip:$LATEST"),
        ("uses: 'inproc://greet'", "inproc://greet"),
        ("host: 'inproc://greet'", "inproc://greet"),
        (
            "host: 'arn:aws:lambda:eu-west-1:123456789012:function:f'",
            "lambda://arn:aws:lambda:eu-west-1:123456789012:function:f",
        ),
        ("uses: BaseExecutor", "inproc://pass_through"),
        ("host: 0.0.0.0", "inproc://pass_through"),
        // Jina makes both addresses `grpcs`, and none of them for `h:1` with `tls: true`.
        (
            "external: true, host: ['h1:1', 'grpcs://h2:2'], port: 5",
            "grpc://h1:1 grpcs://h2:2",
        ),
        ("external: true, host: 'h:1', tls: true", "grpcs://h:1"),
    ] {
        assert_eq!(
            addresses(&of_executors(&format!("  - {{name: a, {keys}}}\n"))),
            [expected],
            "{keys}"
        );
    }
}

#[test]
fn with_is_inherited_unless_said_otherwise() {
    let yaml = "jtype: Flow\nwith: {external: true, host: hh, tls: true, port: 80, uses: Foo}\nexecutors:\n  - {name: a, port: 5}\n  - {name: b, host: b, port: 6, tls: null}\n";
    let config = config(yaml);
    assert_eq!(addresses(&config), ["grpcs://hh:5", "grpc://b:6"]);
    assert_eq!(config.gateway.host, "hh");
    assert_eq!(listeners(&config), [(Protocol::Grpc, 80)]);
}

#[test]
fn the_default_host_is_jinas_variable() {
    let env = |name: &str| (name == "JINA_DEFAULT_HOST").then(|| "10.0.0.1".to_owned());
    let loaded = Config::from_yaml(
        "jtype: Flow\nexecutors: [{name: a, external: true, port: 5}]",
        "flow.yml",
        &env,
    )
    .expect("holds");
    assert_eq!(addresses(&loaded.config), ["grpc://10.0.0.1:5"]);
    assert_eq!(loaded.config.gateway.host, "10.0.0.1");
}

#[test]
fn graphs_are_those_that_jina_makes() {
    let a = "  - {name: a, external: true, port: 5}\n";
    let b = "  - {name: b, external: true, port: 6, needs: gateway}\n";
    for (executors, expected) in [
        (format!("{a}  - {{name: b, external: true, port: 6, needs: []}}\n"), "start: a, a: b, b: end"),
        (format!("{a}  - {{name: b, external: true, port: 6, needs: null}}\n"), "start: a, a: b, b: end"),
        (format!("{a}{b}  - {{name: c, external: true, port: 6, needs: '[a, b]'}}\n"), "start: a b, a: c, b: c, c: end"),
        (format!("{a}  - {{name: b, external: true, port: 6, needs: [a, a]}}\n"), "start: a, a: b, b: end"),
        (format!("  - {{name: a, external: true, port: 5, needs: b}}\n{b}"), "start: b, a: , b: a end"),
        ("  - {name: a, external: true, port: 5, floating: true}\n  - {name: b, external: true, port: 6, floating: true}\n".to_owned(), "start: a b, a: , b: "),
        (
            format!("{a}  - {{name: f, external: true, port: 7, floating: true}}\n{b}  - {{method: needs_all}}\n"),
            "start: a b, a: f, f: , b: joiner, joiner: end",
        ),
        (format!("{a}  - {{method: needs_all, name: q}}\n"), "start: a, a: q, q: end"),
        (
            format!("{a}{b}  - {{method: needs, needs: [a, b]}}\n  - {{name: c, external: true, port: 6, needs: gateway}}\n  - {{method: needs, needs: [a, c]}}\n"),
            "start: a b c, a: joiner joiner4, b: joiner, joiner: , c: joiner4, joiner4: end",
        ),
        (format!("  - {{name: gateway, external: true, port: 5}}\n{a}"), "start: a, a: end"),
        ("  - {external: true, port: 5}\n  - {external: true, port: 6}\n".to_owned(), "start: executor0, executor0: executor1, executor1: end"),
    ] {
        assert_eq!(graph(&of_executors(&executors)), expected, "{executors}");
    }
}

#[test]
fn inspections_are_gathered_left_to_hang_or_removed() {
    let a = "  - {name: a, external: true, port: 5}\n";
    let b = "  - {name: b, external: true, port: 6}\n";
    let i = "  - {method: inspect, name: i}\n";
    let of = |with: &str, executors: &str| {
        graph(&config(&format!(
            "jtype: Flow\nwith: {{{with}}}\nexecutors:\n{executors}"
        )))
    };
    assert_eq!(
        of("", &format!("{a}{i}{b}")),
        "start: a, a: i _aux_i, i: gather_inspect, _aux_i: b, b: gather_inspect, gather_inspect: end"
    );
    assert_eq!(
        of(
            "inspect: HANG",
            &format!("{a}{i}  - {{name: b, needs: [a, _aux_i]}}\n")
        ),
        "start: a, a: i _aux_i, i: , _aux_i: b, b: end",
        "once, under whichever name"
    );
    assert_eq!(
        of("inspect: HANG", &format!("{a}{i}{b}")),
        "start: a, a: i _aux_i, i: , _aux_i: b, b: end"
    );
    assert_eq!(
        of("inspect: REMOVE", &format!("{a}{i}{b}")),
        "start: a, a: b, b: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect}}\n{b}  - {{method: gather_inspect}}\n")
        ),
        "start: a, a: inspect _aux_inspect, inspect: gather_inspect gather_inspect5, _aux_inspect: b, b: gather_inspect, gather_inspect: gather_inspect5, gather_inspect5: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect}}\n  - {{method: inspect}}\n{b}")
        ),
        "start: a, a: inspect _aux_inspect, inspect: gather_inspect, _aux_inspect: inspect3 _aux_inspect4, inspect3: gather_inspect, _aux_inspect4: b, b: gather_inspect, gather_inspect: end"
    );
    assert_eq!(
        of(
            "",
            &format!("{a}  - {{method: inspect, name: i, floating: true}}\n{b}")
        ),
        "start: a, a: i _aux_i b, i: gather_inspect, _aux_i: , b: gather_inspect, gather_inspect: end"
    );
}

#[test]
fn aliases_and_deprecated_spellings_serve() {
    let listening = |keys: &str| listeners(&config(&format!("jtype: Flow\ngateway: {{{keys}}}\n")));
    for keys in [
        "protocol: http, port: 80",
        "protocols: [HTTP], ports: [80]",
        "protocol: [http], port_expose: '80'",
        "protocol: Http, port-in: 80",
        "uses: HTTPGateway, port: 0x50",
    ] {
        assert_eq!(listening(keys), [(Protocol::Http, 80)], "{keys}");
    }
    assert_eq!(
        listening("protocol: [grpc, http], port: '1,2'"),
        [(Protocol::Grpc, 1), (Protocol::Http, 2)]
    );
    assert_eq!(
        listening("protocol: [grpc, http], port: [5, 5]"),
        [(Protocol::Grpc, 5), (Protocol::Http, 5)]
    );
    let deployments = config("jtype: Flow\ndeployments:\n  - {name: a, external: true, port: 5}\n");
    assert_eq!(graph(&deployments), "start: a, a: end");
    let hyphens = config("jtype: Flow\nwith: {timeout-send: 7}\n");
    assert_eq!(hyphens.gateway.timeout_send, Some(Duration::from_millis(7)));
    let reduced = of_executors(
        "  - {name: a, host: 'h:1'}\n  - {name: b, host: 'h:1', needs: gateway}\n  - {name: j, host: 'h:1', needs: [a, b], disable_reduce: true}\n",
    );
    assert!(!reduced.graph.nodes().last().expect("j").1.reduce);
}

#[test]
fn merge_keys_and_anchors_work() {
    let config = config(
        "jtype: Flow\nx-all: &x {external: true, host: hh, port: 1}\nexecutors:\n  - {<<: *x, name: a, port: 5}\n  - <<: [{port: 6}, *x]\n    name: b\n",
    );
    assert_eq!(addresses(&config), ["grpc://hh:5", "grpc://hh:6"]);
}

#[test]
fn numbers_say_no_limit_and_no_timeout() {
    let gateway = |keys: &str| config(&format!("jtype: Flow\ngateway: {{{keys}}}\n")).gateway;
    assert_eq!(gateway("prefetch: 0").prefetch, None);
    assert_eq!(gateway("").prefetch, NonZeroUsize::new(1000));
    assert_eq!(gateway("timeout_send: -1").timeout_send, None);
    assert_eq!(gateway("timeout_send: 0").timeout_send, None);
    assert_eq!(gateway("retries: -1").retries, Retries::Default);
    assert_eq!(gateway("retries: 2").retries, Retries::Exactly(2));
    assert_eq!(
        gateway("compression: NoCompression").compression,
        Compression::None
    );
    assert_eq!(
        gateway("compression: deflate").compression,
        Compression::Deflate
    );
    for unbounded in [-1, i64::MAX] {
        let options =
            format!("grpc_server_options: {{grpc.max_receive_message_length: {unbounded}}}");
        assert_eq!(gateway(&options).limits.max_message_bytes, 4_294_967_295);
    }
    assert_eq!(
        gateway("timeout_send: 86400000").timeout_send,
        Some(Duration::from_secs(86_400))
    );
    assert_eq!(
        gateway("limits: {max_message_bytes: 5}")
            .limits
            .max_message_bytes,
        5
    );
    assert_eq!(
        gateway("shutdown_timeout: 500").shutdown_timeout,
        Duration::from_millis(500)
    );
    assert!(!gateway("internal_addresses_in_errors: false").internal_addresses_in_errors);
}

#[test]
fn exposed_endpoints_may_be_a_map_or_json() {
    let foo = ExposedEndpoint {
        exec_endpoint: "/foo".to_owned(),
        http_path: "/bar".to_owned(),
        methods: vec!["GET".to_owned()],
        summary: Some("s".to_owned()),
        tags: vec!["Customized".to_owned()],
    };
    for text in [
        "{/foo: {http_path: /bar, methods: [get], summary: s}}",
        r#"'{"/foo": {"http_path": "/bar", "methods": ["GET"], "summary": "s"}}'"#,
    ] {
        let config = config(&format!(
            "jtype: Flow\ngateway:\n  expose_endpoints: {text}\n"
        ));
        assert_eq!(
            config.gateway.http.exposed,
            std::slice::from_ref(&foo),
            "{text}"
        );
    }
    let plain = config("jtype: Flow\ngateway:\n  expose_endpoints: '{\"/foo\": {}}'\n")
        .gateway
        .http
        .exposed;
    assert_eq!(
        (plain[0].http_path.as_str(), plain[0].methods[0].as_str()),
        ("/foo", "POST")
    );
}
