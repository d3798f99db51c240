//! One Flow for every mistake in its executors: the error names the line, the key and what is expected.

use super::*;

#[test]
fn executors_that_are_not_a_list_of_maps_are_errors() {
    assert_error(
        "jtype: Flow\nexecutors:\n",
        2,
        "executors",
        "a list of executors",
    );
    assert_error(
        "jtype: Flow\nexecutors: {a: b}\n",
        2,
        "executors",
        "a list of executors",
    );
    assert_error(
        "jtype: Flow\nexecutors: [null]\n",
        2,
        "executors[0]",
        "a map",
    );
    assert_error(
        "jtype: Flow\ndeployments: text\n",
        2,
        "deployments",
        "a list of executors",
    );
}

#[test]
fn invalid_names_and_needs_are_errors() {
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: a-b\n",
        3,
        "executors[0].name",
        "a Python identifier",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: 12\n",
        3,
        "executors[0].name",
        "a Python identifier",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: a\n  - name: b\n  - name: a\n",
        5,
        "executors[2].name",
        "no other executor has",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: encoder\n  - name: b\n    needs: [encodr]\n",
        5,
        "executors[1].needs[0]",
        "did you mean `encoder`?",
    );
    assert_error(
        &of_executor("needs: a"),
        4,
        "executors[0].needs",
        "cannot need itself",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - {name: a, needs: c}\n  - {name: b, needs: a}\n  - {name: c, needs: b}\n",
        3,
        "executors[0].needs",
        "a cycle: a -> b -> c -> a",
    );
    assert_error(
        &of_executor("needs: {b: c}"),
        4,
        "executors[0].needs",
        "expected a string",
    );
}

#[test]
fn invalid_methods_are_errors() {
    assert_error(
        &of_executor("method: foo"),
        4,
        "executors[0].method",
        "add, needs, needs_all",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: needs\n    needs: [a]\n",
        5,
        "executors[1].needs",
        "at least two names",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: needs\n",
        4,
        "executors[1]",
        "at least two names",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - method: needs_all\n",
        3,
        "executors[0]",
        "no other executor needs",
    );
    assert_error(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: inspect\n    needs: a\n",
        5,
        "executors[1].needs",
        "no `needs`",
    );
    assert_error(
        "jtype: Flow\nwith: {inspect: SOME}\n",
        2,
        "with.inspect",
        "HANG, REMOVE or COLLECT",
    );
}

#[test]
fn invalid_addresses_of_executors_are_errors() {
    assert_error(
        &of_executor("uses: MyExecutor\npy_modules: [a.py]"),
        4,
        "executors[0].uses",
        "Python classes are not supported",
    );
    assert_error(
        &of_executor("uses: MyExecutor\nport: 9001"),
        4,
        "executors[0].uses",
        "host: lambda://function",
    );
    assert_error(
        &of_executor("uses: docker://image"),
        4,
        "executors[0].uses",
        "uses: inproc://name",
    );
    assert_error(
        &of_executor("uses: {jtype: Foo}"),
        4,
        "executors[0].uses",
        "external: true",
    );
    assert_error(
        &of_executor("uses: inproc://"),
        4,
        "executors[0].uses",
        "compiled-in",
    );
    assert_error(
        &of_executor("uses: inproc://a\nhost: h:1"),
        4,
        "executors[0].uses",
        "one of them",
    );
    assert_error(
        &of_executor("external: true\nhost: h"),
        5,
        "executors[0].host",
        "a port",
    );
    assert_error(&of_executor("external: true"), 3, "executors[0]", "a port");
    assert_error(
        &of_executor("external: true\nhost: h\nport: 0"),
        6,
        "executors[0].port",
        "1 to 65535",
    );
    assert_error(
        &of_executor("external: true\nhost: h\nport: [1, 70000]"),
        6,
        "executors[0].port[1]",
        "1 to 65535",
    );
    assert_error(
        &of_executor("host: grp://h:1"),
        4,
        "executors[0].host",
        "did you mean `grpc`?",
    );
    assert_error(
        &of_executor("host: grpc://h:1/a"),
        4,
        "executors[0].host",
        "1 to 65535",
    );
    assert_error(
        &of_executor("host: lambda://a b"),
        4,
        "executors[0].host",
        "function's ARN",
    );
}

#[test]
fn hosts_ports_and_replicas_that_do_not_match_are_errors() {
    assert_error(
        &of_executor("external: true\nhost: [a, b]\nport: [1, 2, 3]"),
        6,
        "executors[0].port",
        "3 ports for 2 hosts",
    );
    assert_error(
        &of_executor("external: true\nhost: [a, b]\nport: 1\nreplicas: 3"),
        7,
        "executors[0].replicas",
        "3 replicas for 2 addresses",
    );
    assert_error(
        &of_executor("external: true\nhost: a\nport: 1\nreplicas: 2"),
        7,
        "executors[0].replicas",
        "2 replicas for 1 addresses",
    );
    assert_error(
        &of_executor("external: true\nhost: a\nport: 1\nreplicas: 0"),
        7,
        "executors[0].replicas",
        "from 1",
    );
}

#[test]
fn invalid_metadata_and_conditions_are_errors() {
    assert_error(
        &of_executor("host: h:1\nexternal: true\ngrpc_metadata: text"),
        6,
        "executors[0].grpc_metadata",
        "a map",
    );
    assert_error(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {Big: x}"),
        5,
        "executors[0].grpc_metadata.Big",
        "lower-case letters",
    );
    assert_error(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a: [x]}"),
        5,
        "executors[0].grpc_metadata.a",
        "printable ASCII",
    );
    assert_error(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a-bin: x}"),
        5,
        "executors[0].grpc_metadata.a-bin",
        "for binary values",
    );
    assert_error(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a: é}"),
        5,
        "executors[0].grpc_metadata.a",
        "printable ASCII",
    );
    assert_error(&of_executor("when: abc"), 4, "executors[0].when", "a map");
}

#[test]
fn errors_in_conditions_have_their_place() {
    assert_error(
        &of_executor("when:\n  tags__x:\n    $foo: 1"),
        6,
        "executors[0].when.tags__x.$foo",
        "",
    );
    assert_error(
        &of_executor("when:\n  $and:\n    - tags__x: {$eq: 1}\n    - tags__x:\n        $foo: 1"),
        8,
        "executors[0].when.$and[1].tags__x.$foo",
        "",
    );
}

#[test]
fn numbers_without_effect_on_an_executor_must_be_valid_too() {
    for (key, value, expected) in [
        ("timeout_send", "never", "milliseconds"),
        ("timeout_send", "10s", "milliseconds"),
        ("timeout-send", "1.5", "milliseconds"),
        ("timeout_ready", "soon", "milliseconds"),
        ("timeout_ctrl", "[1]", "milliseconds"),
        ("retries", "many", "a whole number"),
        ("prefetch", "-1", "a whole number, 0 for no limit"),
        ("shards", "0", "a whole number from 1"),
    ] {
        assert_error(
            &format!("jtype: Flow\nexecutors:\n  - name: a\n    {key}: {value}\n"),
            4,
            &format!("executors[0].{key}"),
            expected,
        );
    }
    // One of `with` is reported once.
    let found =
        errors("jtype: Flow\nwith: {timeout_send: never}\nexecutors: [{name: a}, {name: b}]\n");
    assert_eq!(found.len(), 1, "{found:?}");
}
