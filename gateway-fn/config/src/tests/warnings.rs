//! Valid Flows with a key that has no effect, or probably another effect than intended. A warning names the key.

use super::*;

#[track_caller]
fn assert_warning(yaml: &str, line: usize, key: &str, message: &str) {
    let warnings = load(yaml)
        .unwrap_or_else(|errors| panic!("{yaml}\n{errors}"))
        .warnings;
    let fits = |warning: &&Diagnostic| {
        warning.line == Some(line) && warning.key == key && warning.to_string().contains(message)
    };
    assert!(
        warnings.iter().any(|warning| fits(&warning)),
        "no warning for {key:?} at line {line} contains {message:?}: {warnings:?}"
    );
}

#[test]
fn unknown_and_misplaced_keys_are_reported_with_a_hint() {
    assert_warning(
        "jtype: Flow\nwith:\n  protocl: http\n",
        3,
        "with.protocl",
        "did you mean `protocol`?",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    flaoting: true\n",
        4,
        "executors[0].flaoting",
        "did you mean `floating`?",
    );
    assert_warning(
        "jtype: Flow\ngatway: {port: 1}\n",
        2,
        "gatway",
        "did you mean `gateway`?",
    );
    assert_warning(
        "jtype: Flow\nprotocol: http\n",
        2,
        "protocol",
        "below `gateway:`",
    );
    assert_warning("jtype: Flow\npods: []\n", 2, "pods", "no effect");
}

#[test]
fn likely_mistakes_are_named() {
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    timeout_send: 5000\n",
        4,
        "executors[0].timeout_send",
        "it has no effect here",
    );
    assert_warning(
        "jtype: Flow\nwith: {port: 1}\ngateway:\n  port: 2\n  port: 3\n",
        5,
        "",
        "\"port\" a second time",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    uses: Foo\n    host: localhost\n    port: 9001\n",
        5,
        "executors[0].host",
        "external: true",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    port: 9001\n",
        4,
        "executors[0].port",
        "external: true",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: gateway\n",
        3,
        "executors[0]",
        "another name",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    host: grpc://h:1\n    tls: true\n",
        4,
        "executors[0].host",
        "grpcs://",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - name: a\n    host: grpc://h:1\n    grpc_metadata:\n      tries: 3\n",
        6,
        "executors[0].grpc_metadata.tries",
        "text",
    );
    assert_warning(
        "jtype: Flow\nexecutors:\n  - {name: abc, host: 'h:1'}\n  - {method: needs, needs: abc}\n",
        4,
        "executors[1].needs",
        "two names",
    );
    assert_warning(
        "jtype: Flow\ngateway:\n  title: ${{ ENV.TITLE }}\n",
        3,
        "gateway.title",
        "environment variable \"TITLE\"",
    );
    assert_warning(
        "jtype: Flow\ngateway:\n  uses: HTTPGateway\n  protocol: grpc\n",
        3,
        "gateway.uses",
        "`uses` wins",
    );
}

#[test]
fn unsupported_features_are_named() {
    assert_warning(
        "jtype: Flow\ngateway: {monitoring: true}\n",
        2,
        "gateway.monitoring",
        "does not support it yet",
    );
    assert_warning(
        "jtype: Flow\ngateway: {expose_graphql_endpoint: true}\n",
        2,
        "gateway.expose_graphql_endpoint",
        "does not support it yet",
    );
    assert_warning(
        "jtype: Flow\ngateway: {proxy: true}\n",
        2,
        "gateway.proxy",
        "without a proxy",
    );
    assert_warning(
        "jtype: Flow\ngateway: {uvicorn_kwargs: {loop: uvloop}}\n",
        2,
        "gateway.uvicorn_kwargs",
        "no effect",
    );
    assert_warning(
        "jtype: Flow\ngateway:\n  grpc_server_options: {grpc.max_send_message_length: -1}\n",
        3,
        "gateway.grpc_server_options.grpc.max_send_message_length",
        "without effect",
    );
}

#[test]
fn keys_of_python_processes_are_accepted_silently() {
    let yaml = "\
jtype: Flow
version: '1'
jcloud: {version: 3}
with: {workspace: ./w, log_config: default, quiet: true, env: {A: b}, asyncio: false}
gateway: {uvicorn_kwargs: {}, proxy: false, runtime_cls: GatewayRuntime, replicas: 1}
executors:
  - name: a
    jcloud: {}
    uses: {jtype: Foo, with: {a: 1}, py_modules: [a.py]}
    host: grpc://h:1
    uses_with: {model: $MODEL}
    uses_requests: {/foo: bar}
    timeout_ready: 1
    gpus: all
    volumes: [a]
    output_array_type: numpy
    uses_dynamic_batching: {/foo: {timeout: 1}}
";
    assert_eq!(load(yaml).expect("a valid Flow").warnings, []);
}
