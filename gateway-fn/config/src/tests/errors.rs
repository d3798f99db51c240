//! One Flow for every mistake: the fault names the line, the key and what is expected.

use super::*;

/// The Flow has exactly this one fault.
#[track_caller]
fn faulty(yaml: &str, line: usize, key: &str, said: &str) {
    let faults = faults(yaml);
    let [fault] = faults.as_slice() else {
        panic!("{yaml}\n{}", ConfigErrors(faults))
    };
    let place = (fault.line, fault.key.as_str());
    assert_eq!(place, (Some(line), key), "{fault}");
    assert!(fault.to_string().contains(said), "{fault}");
    assert!(!fault.to_string().contains('\n'), "{fault}");
}

fn of_executor(keys: &str) -> String {
    format!(
        "jtype: Flow\nexecutors:\n  - name: a\n    {}\n",
        keys.replace('\n', "\n    ")
    )
}

#[test]
fn a_fault_is_one_line_with_file_line_key_and_expectation() {
    let fault = faults("jtype: Flow\ngateway:\n  port: 70000\n").remove(0);
    assert_eq!(
        fault.to_string(),
        "flow.yml:3: gateway.port: found 70000, expected a port from 0 to 65535 (0 takes a free one)"
    );
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let found = faults(
        "jtype: Flow\nversion: 2\nexecutors:\n  - name: a-b\n    uses: Foo\n  - name: b\n    needs: c\n    host: grp://h:1\ngateway:\n  protocol: htp\n",
    );
    let lines: Vec<_> = found
        .iter()
        .map(|fault| (fault.line.unwrap_or(0), fault.key.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (2, "version"),
            (4, "executors[0].name"),
            (5, "executors[0].uses"),
            (7, "executors[1].needs"),
            (8, "executors[1].host"),
            (10, "gateway.protocol")
        ]
    );
}

#[test]
fn text_that_is_no_flow() {
    faulty(
        "jtype: Flow\ngateway: {port: 1\n",
        3,
        "",
        "well-formed YAML",
    );
    faulty(
        "jtype: Flow\n  protocol: 'grpc'\n",
        2,
        "",
        "`gateway:` or `with:`",
    );
    faulty("gateway: {port: 1}\n", 1, "jtype", "`jtype: Flow`");
    faulty("!Executor\nwith: {}\n", 1, "jtype", "!Executor");
    faulty("with: {}\njtype: Executor\n", 2, "jtype", "expected Flow");
    faulty("hello\n", 1, "", "begins with `jtype: Flow`");
    faulty("jtype: Flow\n---\na: 1\n", 2, "", "one document");
    faulty("jtype: Flow\nversion: 2\n", 2, "version", "the version 1");
    faulty(
        "jtype: Flow\nversion: true\n",
        2,
        "version",
        "the version 1",
    );
    faulty("jtype: Flow\nwith: [a]\n", 2, "with", "a map");
    faulty("jtype: Flow\ngateway: text\n", 2, "gateway", "a map");
    assert!(load("").is_err());
}

#[test]
fn files_that_are_too_much() {
    let bomb = "jtype: Flow\na: &a [x, x, x, x, x, x, x, x, x]\n";
    let letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let more = letters.windows(2).map(|pair| {
        format!(
            "{1}: &{1} [*{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}]\n",
            pair[0], pair[1]
        )
    });
    assert!(
        faults(&format!("{bomb}{}", more.collect::<String>()))[0]
            .to_string()
            .contains("values")
    );
    let deep = "\n".to_owned()
        + &(0..100)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect::<String>();
    assert!(
        faults(&format!("jtype: Flow{deep}"))[0]
            .to_string()
            .contains("levels")
    );
    assert!(
        faults(&" ".repeat(2 << 20))[0]
            .to_string()
            .contains("bytes")
    );
    assert!(
        faults(&format!(
            "jtype: Flow\nexecutors:\n{}",
            "  - {}\n".repeat(1001)
        ))[0]
            .to_string()
            .contains("at most 1000")
    );
    faulty("jtype: Flow\na: &a [*a]\n", 2, "", "an alias");
    faulty("jtype: Flow\n[a]: b\n", 2, "", "a key that is text");
    faulty("jtype: Flow\n<<: text\n", 2, "", "to merge");
}

#[test]
fn executors_that_are_no_list_of_maps() {
    faulty(
        "jtype: Flow\nexecutors:\n",
        2,
        "executors",
        "a list of executors",
    );
    faulty(
        "jtype: Flow\nexecutors: {a: b}\n",
        2,
        "executors",
        "a list of executors",
    );
    faulty(
        "jtype: Flow\nexecutors: [null]\n",
        2,
        "executors[0]",
        "a map",
    );
    faulty(
        "jtype: Flow\ndeployments: text\n",
        2,
        "deployments",
        "a list of executors",
    );
}

#[test]
fn names_and_needs() {
    faulty(
        "jtype: Flow\nexecutors:\n  - name: a-b\n",
        3,
        "executors[0].name",
        "as Python has them",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: 12\n",
        3,
        "executors[0].name",
        "as Python has them",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: a\n  - name: b\n  - name: a\n",
        5,
        "executors[2].name",
        "no other executor has",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: encoder\n  - name: b\n    needs: [encodr]\n",
        5,
        "executors[1].needs[0]",
        "did you mean `encoder`?",
    );
    faulty(
        &of_executor("needs: a"),
        4,
        "executors[0].needs",
        "none can wait for itself",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - {name: a, needs: c}\n  - {name: b, needs: a}\n  - {name: c, needs: b}\n",
        3,
        "executors[0].needs",
        "a circle: a -> b -> c -> a",
    );
    faulty(
        &of_executor("needs: {b: c}"),
        4,
        "executors[0].needs",
        "expected text",
    );
}

#[test]
fn methods() {
    faulty(
        &of_executor("method: foo"),
        4,
        "executors[0].method",
        "add, needs, needs_all",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: needs\n    needs: [a]\n",
        5,
        "executors[1].needs",
        "no need to wait for a single one",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: needs\n",
        4,
        "executors[1]",
        "no need to wait for a single one",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - method: needs_all\n",
        3,
        "executors[0]",
        "nobody needs yet",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: a\n  - method: inspect\n    needs: a\n",
        5,
        "executors[1].needs",
        "no `needs`",
    );
    faulty(
        "jtype: Flow\nwith: {inspect: SOME}\n",
        2,
        "with.inspect",
        "HANG, REMOVE or COLLECT",
    );
}

#[test]
fn ports_and_protocols() {
    faulty(
        "jtype: Flow\ngateway:\n  protocol: [grpc, http]\n  port: 80\n",
        4,
        "gateway.port",
        "as many ports as protocols",
    );
    faulty(
        "jtype: Flow\nwith:\n  port: [80, 81]\n",
        3,
        "with.port",
        "2 ports for 1 protocols",
    );
    faulty(
        "jtype: Flow\ngateway:\n  protocol: [http, http]\n  port: [80, 80]\n",
        4,
        "gateway.port",
        "http twice on one port",
    );
    faulty(
        "jtype: Flow\ngateway:\n  protocol: ws\n",
        3,
        "gateway.protocol",
        "grpc, http or websocket",
    );
    faulty(
        "jtype: Flow\ngateway:\n  protocol: [grpc, htpp]\n",
        3,
        "gateway.protocol[1]",
        "did you mean `http`?",
    );
    faulty(
        "jtype: Flow\ngateway:\n  port: abc\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    faulty(
        "jtype: Flow\ngateway:\n  port: 80.0\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    faulty(
        "jtype: Flow\ngateway:\n  port: -1\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    faulty(
        "jtype: Flow\ngateway:\n  host: 'a b'\n",
        3,
        "gateway.host",
        "to listen on",
    );
    faulty(
        "jtype: Flow\ngateway:\n  uses: MyGateway\n",
        3,
        "gateway.uses",
        "no Python runs here",
    );
}

#[test]
fn settings() {
    faulty(
        "jtype: Flow\ngateway:\n  timeout_send: abc\n",
        3,
        "gateway.timeout_send",
        "milliseconds",
    );
    faulty(
        "jtype: Flow\ngateway:\n  prefetch: -3\n",
        3,
        "gateway.prefetch",
        "0 for no limit",
    );
    faulty(
        "jtype: Flow\ngateway:\n  retries: 1.5\n",
        3,
        "gateway.retries",
        "a whole number",
    );
    faulty(
        "jtype: Flow\ngateway:\n  compression: zip\n",
        3,
        "gateway.compression",
        "none, gzip, deflate",
    );
    faulty(
        "jtype: Flow\ngateway:\n  cors: maybe\n",
        3,
        "gateway.cors",
        "true or false",
    );
    faulty(
        "jtype: Flow\ngateway:\n  title: {a: b}\n",
        3,
        "gateway.title",
        "text",
    );
    faulty(
        "jtype: Flow\ngateway:\n  ssl_keyfile: a.pem\n",
        3,
        "gateway.ssl_keyfile",
        "without ssl_certfile",
    );
    faulty(
        "jtype: Flow\nwith:\n  ssl_certfile: a.pem\n",
        3,
        "with.ssl_certfile",
        "without ssl_keyfile",
    );
    faulty(
        "jtype: Flow\ngateway:\n  limits: {max_connections: 0}\n",
        3,
        "gateway.limits.max_connections",
        "from 1",
    );
    faulty(
        "jtype: Flow\ngateway:\n  expose_endpoints: '{'\n",
        3,
        "gateway.expose_endpoints",
        "as JSON",
    );
    faulty(
        "jtype: Flow\ngateway:\n  expose_endpoints:\n    foo: {}\n",
        4,
        "gateway.expose_endpoints.foo",
        "starts with `/`",
    );
    faulty(
        "jtype: Flow\ngateway:\n  expose_endpoints:\n    /foo: {methods: [FETCH]}\n",
        4,
        "gateway.expose_endpoints./foo.methods[0]",
        "GET, POST",
    );
}

#[test]
fn times_and_limits_that_are_beyond_reason_or_misspelt() {
    faulty(
        "jtype: Flow\ngateway:\n  timeout_send: 86400001\n",
        3,
        "gateway.timeout_send",
        "at most a day",
    );
    faulty(
        "jtype: Flow\ngateway:\n  limits: {max_conections: 5}\n",
        3,
        "gateway.limits.max_conections",
        "did you mean `max_connections`?",
    );
}

#[test]
fn limits_stay_within_what_the_program_can_hold() {
    for (name, most) in [
        ("max_message_bytes", 4_294_967_295_i64),
        ("max_concurrent_requests", 1_000_000),
        ("max_connections", 1_000_000),
        ("connections_per_replica", 64),
    ] {
        let limits =
            |number: i64| format!("jtype: Flow\ngateway:\n  limits: {{{name}: {number}}}\n");
        config(&limits(most));
        for number in [0, most + 1, i64::MAX] {
            let said = format!("from 1 to {most}");
            faulty(&limits(number), 3, &format!("gateway.limits.{name}"), &said);
        }
    }
}

#[test]
fn addresses_of_executors() {
    faulty(
        &of_executor("uses: MyExecutor\npy_modules: [a.py]"),
        4,
        "executors[0].uses",
        "no Python is started here",
    );
    faulty(
        &of_executor("uses: MyExecutor\nport: 9001"),
        4,
        "executors[0].uses",
        "host: lambda://function",
    );
    faulty(
        &of_executor("uses: docker://image"),
        4,
        "executors[0].uses",
        "uses: inproc://name",
    );
    faulty(
        &of_executor("uses: {jtype: Foo}"),
        4,
        "executors[0].uses",
        "external: true",
    );
    faulty(
        &of_executor("uses: inproc://"),
        4,
        "executors[0].uses",
        "compiled-in",
    );
    faulty(
        &of_executor("uses: inproc://a\nhost: h:1"),
        4,
        "executors[0].uses",
        "one of them",
    );
    faulty(
        &of_executor("external: true\nhost: h"),
        5,
        "executors[0].host",
        "a port",
    );
    faulty(&of_executor("external: true"), 3, "executors[0]", "a port");
    faulty(
        &of_executor("external: true\nhost: h\nport: 0"),
        6,
        "executors[0].port",
        "1 to 65535",
    );
    faulty(
        &of_executor("external: true\nhost: h\nport: [1, 70000]"),
        6,
        "executors[0].port[1]",
        "1 to 65535",
    );
    faulty(
        &of_executor("host: grp://h:1"),
        4,
        "executors[0].host",
        "did you mean `grpc`?",
    );
    faulty(
        &of_executor("host: grpc://h:1/a"),
        4,
        "executors[0].host",
        "1 to 65535",
    );
    faulty(
        &of_executor("host: lambda://a b"),
        4,
        "executors[0].host",
        "function's ARN",
    );
}

#[test]
fn hosts_ports_and_replicas_that_do_not_match() {
    faulty(
        &of_executor("external: true\nhost: [a, b]\nport: [1, 2, 3]"),
        6,
        "executors[0].port",
        "3 ports for 2 hosts",
    );
    faulty(
        &of_executor("external: true\nhost: [a, b]\nport: 1\nreplicas: 3"),
        7,
        "executors[0].replicas",
        "3 replicas for 2 addresses",
    );
    faulty(
        &of_executor("external: true\nhost: a\nport: 1\nreplicas: 2"),
        7,
        "executors[0].replicas",
        "2 replicas for 1 addresses",
    );
    faulty(
        &of_executor("external: true\nhost: a\nport: 1\nreplicas: 0"),
        7,
        "executors[0].replicas",
        "from 1",
    );
}

#[test]
fn what_executors_are_told() {
    faulty(
        &of_executor("host: h:1\nexternal: true\ngrpc_metadata: text"),
        6,
        "executors[0].grpc_metadata",
        "a map",
    );
    faulty(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {Big: x}"),
        5,
        "executors[0].grpc_metadata.Big",
        "small letters",
    );
    faulty(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a: [x]}"),
        5,
        "executors[0].grpc_metadata.a",
        "printable ASCII",
    );
    faulty(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a-bin: x}"),
        5,
        "executors[0].grpc_metadata.a-bin",
        "for bytes",
    );
    faulty(
        &of_executor("host: grpc://h:1\ngrpc_metadata: {a: é}"),
        5,
        "executors[0].grpc_metadata.a",
        "printable ASCII",
    );
    faulty(&of_executor("when: abc"), 4, "executors[0].when", "a map");
}

#[test]
fn conditions_are_compiled_here() {
    faulty(
        &of_executor("when:\n  tags__x:\n    $foo: 1"),
        6,
        "executors[0].when.tags__x.$foo",
        "",
    );
    faulty(
        &of_executor("when:\n  $and:\n    - tags__x: {$eq: 1}\n    - tags__x:\n        $foo: 1"),
        8,
        "executors[0].when.$and[1].tags__x.$foo",
        "",
    );
}

#[test]
fn variables_without_a_value_are_named() {
    faulty(
        "jtype: Flow\ngateway:\n  port: ${{ ENV.PORT }}\n",
        3,
        "gateway.port",
        "environment variable \"PORT\" to be set",
    );
    faulty(
        "jtype: Flow\ngateway:\n  port: $PORT\n",
        3,
        "gateway.port",
        "environment variable \"PORT\" to be set",
    );
    faulty(
        &of_executor("host: grpc://${{ ENV.HOST }}:1"),
        4,
        "executors[0].host",
        "environment variable \"HOST\" to be set",
    );
    faulty(
        &of_executor("external: true\nport: 1\nhost: ${{ CONTEXT.HOST }}"),
        6,
        "executors[0].host",
        "no context",
    );
    faulty(
        &of_executor("host: grpc://${{this.nmae}}:1"),
        4,
        "executors[0].host",
        "this.nmae",
    );
    faulty(
        "jtype: Flow\ngateway:\n  title: ${{root.with.name}}\n",
        3,
        "gateway.title",
        "root.with.name",
    );
    faulty(
        "jtype: Flow\nexecutors:\n  - name: ${{ ENV.NAME }}\n",
        3,
        "executors[0].name",
        "environment variable \"NAME\" to be set",
    );
}

#[test]
fn values_of_variables_are_never_shown() {
    let secret = |name: &str| match name {
        "SECRET" => Some("swordfish $wordfish".to_owned()),
        "JSON" => Some(r#"{"swordfish": 1}"#.to_owned()),
        "NUMBER" => Some("4711".to_owned()),
        "LIST" => Some("[swordfish, b]".to_owned()),
        "PATTERN" => Some("(?P=swordfish)".to_owned()),
        _ => None,
    };
    let keys = [
        "gateway: {port: $SECRET}",
        "gateway: {host: $SECRET, protocol: $SECRET, timeout_send: $SECRET, cors: $SECRET, compression: $SECRET, uses: $SECRET, limits: $SECRET}",
        "gateway: {expose_endpoints: $SECRET, ssl_certfile: $SECRET, prefetch: $SECRET, port: [$SECRET, 1]}",
        "gateway: {expose_endpoints: $JSON}",
        "gateway: {port: [$NUMBER, $NUMBER]}",
        "executors: [{name: a, external: true, port: 1, replicas: $NUMBER}]",
        "version: $SECRET",
        "with: $SECRET",
        "executors: $SECRET",
        "executors: [{name: $SECRET, host: $SECRET, needs: $SECRET, method: $SECRET, when: $SECRET}, $SECRET]",
        "executors: [{name: a, uses: $SECRET}, {name: b, external: true, host: 'grpc://$SECRET', port: $SECRET, replicas: $SECRET}]",
        "executors: [{name: a, host: 'grpc://h:1', grpc_metadata: {a: '${{ ENV.SECRET }}é'}, when: {a: {$foo: $SECRET}}}]",
        "executors: [{name: a, host: 'lambda://$SECRET'}, {name: b, host: 'inproc://$SECRET'}, {name: c, host: '$SECRET://a'}]",
        "executors: [{name: a, host: '${{root.x}}'}]\nx: $SECRET",
        "executors: [{name: a, when: {$or: $LIST}}]",
        "executors: [{name: a, when: {text: {$regex: $PATTERN}}}]",
        "executors: [{name: a, host: 'grpc://h:1', grpc_metadata: swordfish}]",
    ];
    for keys in keys {
        let faults = match Config::from_yaml(&format!("jtype: Flow\n{keys}\n"), "flow.yml", &secret)
        {
            Ok(loaded) => panic!("{keys} holds: {loaded:?}"),
            Err(faults) => faults.to_string(),
        };
        assert!(
            !faults.contains("wordfish") && !faults.contains("4711"),
            "{faults}"
        );
    }
}

#[test]
fn faults_beyond_those_shown_are_counted() {
    let yaml = format!("jtype: Flow\nexecutors:\n{}", "  - text\n".repeat(250));
    let found = faults(&yaml);
    assert_eq!(found.len(), 201);
    let closing = found.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 50 more faults"));
    let keys: String = (0..201).map(|key| format!("k{key}: 1\n")).collect();
    let warnings = load(&format!("jtype: Flow\n{keys}"))
        .expect("holds")
        .warnings;
    let closing = warnings.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 1 more warnings"));
}

/// Checks that rest on others go by the count of faults, however many there are already.
#[test]
fn what_rests_on_a_fault_is_not_judged_after_many() {
    let many = "  - text\n".repeat(200);
    let yaml = format!(
        "jtype: Flow\ngateway: {{port: [a, 1]}}\nexecutors:\n{many}  - {{name: a, external: true, port: [b, 1, 2], host: [h, i]}}\n"
    );
    let found = faults(&yaml);
    // The entries, the gateway's port and the executor's port: no word about how many ports there are.
    let closing = found.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 2 more faults"));
}
