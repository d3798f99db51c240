//! What has no effect, or probably another effect than meant: the Flow holds, and a warning says so.

use super::*;

#[track_caller]
fn warned(yaml: &str, line: usize, key: &str, said: &str) {
    let warnings = load(yaml)
        .unwrap_or_else(|faults| panic!("{yaml}\n{faults}"))
        .warnings;
    let fits = |warning: &&Diagnostic| {
        warning.line == Some(line) && warning.key == key && warning.to_string().contains(said)
    };
    assert!(
        warnings.iter().any(|warning| fits(&warning)),
        "{line} {key} {said}: {warnings:?}"
    );
}

#[test]
fn keys_that_nobody_knows_are_named_with_the_nearest() {
    warned(
        "jtype: Flow\nwith:\n  protocl: http\n",
        3,
        "with.protocl",
        "did you mean `protocol`?",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: a\n    flaoting: true\n",
        4,
        "executors[0].flaoting",
        "did you mean `floating`?",
    );
    warned(
        "jtype: Flow\ngatway: {port: 1}\n",
        2,
        "gatway",
        "did you mean `gateway`?",
    );
    warned(
        "jtype: Flow\nprotocol: http\n",
        2,
        "protocol",
        "below `gateway:`",
    );
    warned("jtype: Flow\npods: []\n", 2, "pods", "no effect");
}

#[test]
fn what_jina_takes_differently_is_said() {
    warned(
        "jtype: Flow\nwith: {port: 1}\ngateway:\n  port: 2\n  port: 3\n",
        5,
        "",
        "\"port\" a second time",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: a\n    uses: Foo\n    host: localhost\n    port: 9001\n",
        5,
        "executors[0].host",
        "external: true",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: a\n    port: 9001\n",
        4,
        "executors[0].port",
        "external: true",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: gateway\n",
        3,
        "executors[0]",
        "another name",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: a\n    host: grpc://h:1\n    tls: true\n",
        4,
        "executors[0].host",
        "grpcs://",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - name: a\n    host: grpc://h:1\n    grpc_metadata:\n      tries: 3\n",
        6,
        "executors[0].grpc_metadata.tries",
        "text",
    );
    warned(
        "jtype: Flow\nexecutors:\n  - {name: abc, host: 'h:1'}\n  - {method: needs, needs: abc}\n",
        4,
        "executors[1].needs",
        "two names",
    );
    warned(
        "jtype: Flow\ngateway:\n  title: ${{ ENV.TITLE }}\n",
        3,
        "gateway.title",
        "environment variable \"TITLE\"",
    );
    warned(
        "jtype: Flow\ngateway:\n  uses: HTTPGateway\n  protocol: grpc\n",
        3,
        "gateway.uses",
        "`uses` wins",
    );
}

#[test]
fn what_this_gateway_does_not_have_is_said() {
    warned(
        "jtype: Flow\ngateway: {monitoring: true}\n",
        2,
        "gateway.monitoring",
        "does not have it yet",
    );
    warned(
        "jtype: Flow\ngateway: {expose_graphql_endpoint: true}\n",
        2,
        "gateway.expose_graphql_endpoint",
        "does not have it yet",
    );
    warned(
        "jtype: Flow\ngateway: {proxy: true}\n",
        2,
        "gateway.proxy",
        "without a proxy",
    );
    warned(
        "jtype: Flow\ngateway: {uvicorn_kwargs: {loop: uvloop}}\n",
        2,
        "gateway.uvicorn_kwargs",
        "no effect",
    );
    warned(
        "jtype: Flow\ngateway:\n  grpc_server_options: {grpc.max_send_message_length: -1}\n",
        3,
        "gateway.grpc_server_options.grpc.max_send_message_length",
        "without effect",
    );
}

#[test]
fn keys_of_python_processes_are_taken_silently() {
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
    assert_eq!(load(yaml).expect("holds").warnings, []);
}
