//! Flows that Jina 3.13.2 loads, with the addresses and settings that Jina itself made of them, and the Flows of this
//! repository.

use std::{num::NonZeroUsize, time::Duration};

use flowgate_proto::Compression;

use super::*;
use crate::{ExposedEndpoint, Listener, Protocol, Retries, TlsRoots};

fn listeners(config: &Config) -> Vec<(Protocol, u16)> {
    config
        .gateway
        .listeners
        .iter()
        .map(|Listener { protocol, port }| (*protocol, *port))
        .collect()
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
fn a_flow_may_be_almost_empty() {
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
    let Loaded { config, warnings } = loaded.expect("a valid Flow");
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
fn the_recorded_flows_load_with_addresses() {
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
fn the_flows_of_this_repository_load() {
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
            Config::from_yaml(text, file, &env).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.warnings, [], "{file}");
    }
}

#[test]
fn hosts_and_ports_are_combined_as_in_jina() {
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
        // Jina uses TLS for both of these addresses, and not for `h:1` with `tls: true`.
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
fn with_is_inherited_unless_overridden() {
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
    .expect("a valid Flow");
    assert_eq!(addresses(&loaded.config), ["grpc://10.0.0.1:5"]);
    assert_eq!(loaded.config.gateway.host, "10.0.0.1");
}

#[test]
fn aliases_and_deprecated_names_are_accepted() {
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
fn special_numbers_mean_no_limit() {
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
    assert_eq!(
        gateway("shutdown_delay: 500").shutdown_delay,
        Duration::from_millis(500)
    );
    assert_eq!(
        gateway("keep_alive_timeout: 5000").keep_alive_timeout,
        Duration::from_secs(5)
    );
    assert_eq!(
        gateway("slow_client_timeout: 5000").slow_client_timeout,
        Duration::from_secs(5)
    );
    assert_eq!(gateway("tls_roots: bundled").tls_roots, TlsRoots::Bundled);
    let limits = gateway("limits: {min_bytes_per_second: 0}").limits;
    assert_eq!(limits.min_bytes_per_second, 0);
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

#[test]
fn a_pod_of_kubernetes_accepts_connections_for_a_while_after_its_end_began() {
    let env = |name: &str| (name == "KUBERNETES_SERVICE_HOST").then(|| "10.0.0.1".to_owned());
    let delay = |keys: &str| {
        let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
        let loaded = Config::from_yaml(&yaml, "flow.yml", &env).expect("a valid Flow");
        loaded.config.gateway.shutdown_delay
    };
    assert_eq!(delay(""), Duration::from_secs(5));
    assert_eq!(delay("shutdown_delay: 0"), Duration::ZERO);
    let elsewhere = config("jtype: Flow\n").gateway.shutdown_delay;
    assert_eq!(elsewhere, Duration::ZERO);
}
