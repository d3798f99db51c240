//! One Flow for every mistake in the file, its graph and its Gateway: the error names the line, the key and what is
//! expected.

use super::*;

#[test]
fn an_error_is_one_line_with_file_line_key_and_expectation() {
    let error = errors("jtype: Flow\ngateway:\n  port: 70000\n").remove(0);
    assert_eq!(
        error.to_string(),
        "flow.yml:3: gateway.port: found 70000, expected a port from 0 to 65535 (0 chooses a free one)"
    );
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let found = errors(
        "jtype: Flow\nversion: 2\nexecutors:\n  - name: a-b\n    uses: Foo\n  - name: b\n    needs: c\n    host: grp://h:1\ngateway:\n  protocol: htp\n",
    );
    let lines: Vec<_> = found
        .iter()
        .map(|error| (error.line.unwrap_or(0), error.key.as_str()))
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
fn files_that_are_not_a_flow_are_errors() {
    assert_error(
        "jtype: Flow\ngateway: {port: 1\n",
        3,
        "",
        "well-formed YAML",
    );
    assert_error(
        "jtype: Flow\n  protocol: 'grpc'\n",
        2,
        "",
        "`gateway:` or `with:`",
    );
    assert_error("gateway: {port: 1}\n", 1, "jtype", "`jtype: Flow`");
    assert_error("!Executor\nwith: {}\n", 1, "jtype", "!Executor");
    assert_error("with: {}\njtype: Executor\n", 2, "jtype", "expected Flow");
    assert_error("hello\n", 1, "", "with `jtype: Flow` at the top");
    assert_error("jtype: Flow\n---\na: 1\n", 2, "", "one document");
    assert_error("jtype: Flow\nversion: 2\n", 2, "version", "version 1");
    assert_error("jtype: Flow\nversion: true\n", 2, "version", "version 1");
    assert_error("jtype: Flow\nwith: [a]\n", 2, "with", "a map");
    assert_error("jtype: Flow\ngateway: text\n", 2, "gateway", "a map");
    assert!(load("").is_err());
}

#[test]
fn files_that_are_too_large_are_errors() {
    let bomb = "jtype: Flow\na: &a [x, x, x, x, x, x, x, x, x]\n";
    let letters = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let more = letters.windows(2).map(|pair| {
        format!(
            "{1}: &{1} [*{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}, *{0}]\n",
            pair[0], pair[1]
        )
    });
    assert!(
        errors(&format!("{bomb}{}", more.collect::<String>()))[0]
            .to_string()
            .contains("values")
    );
    let deep = "\n".to_owned()
        + &(0..100)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect::<String>();
    assert!(
        errors(&format!("jtype: Flow{deep}"))[0]
            .to_string()
            .contains("levels")
    );
    assert!(
        errors(&" ".repeat(2 << 20))[0]
            .to_string()
            .contains("bytes")
    );
    assert!(
        errors(&format!(
            "jtype: Flow\nexecutors:\n{}",
            "  - {}\n".repeat(1001)
        ))[0]
            .to_string()
            .contains("at most 1000")
    );
    assert_error("jtype: Flow\na: &a [*a]\n", 2, "", "an alias");
    assert_error("jtype: Flow\n[a]: b\n", 2, "", "a key that is text");
    assert_error("jtype: Flow\n<<: text\n", 2, "", "after `<<`");
}

#[test]
fn invalid_ports_and_protocols_are_errors() {
    assert_error(
        "jtype: Flow\ngateway:\n  protocol: [grpc, http]\n  port: 80\n",
        4,
        "gateway.port",
        "one port for each protocol",
    );
    assert_error(
        "jtype: Flow\nwith:\n  port: [80, 81]\n",
        3,
        "with.port",
        "2 ports for 1 protocols",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  protocol: [http, http]\n  port: [80, 80]\n",
        4,
        "gateway.port",
        "http twice on one port",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  protocol: ws\n",
        3,
        "gateway.protocol",
        "grpc, http or websocket",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  protocol: [grpc, htpp]\n",
        3,
        "gateway.protocol[1]",
        "did you mean `http`?",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  port: abc\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  port: 80.0\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  port: -1\n",
        3,
        "gateway.port",
        "a port from 0 to 65535",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  host: 'a b'\n",
        3,
        "gateway.host",
        "to listen on",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  uses: MyGateway\n",
        3,
        "gateway.uses",
        "Python classes are not supported",
    );
}

#[test]
fn invalid_settings_are_errors() {
    assert_error(
        "jtype: Flow\ngateway:\n  timeout_send: abc\n",
        3,
        "gateway.timeout_send",
        "milliseconds",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  prefetch: -3\n",
        3,
        "gateway.prefetch",
        "0 for no limit",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  retry_policy: always\n",
        3,
        "gateway.retry_policy",
        "safe or jina",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  retries: 1.5\n",
        3,
        "gateway.retries",
        "a whole number",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  compression: zip\n",
        3,
        "gateway.compression",
        "none, gzip, deflate",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  cors: maybe\n",
        3,
        "gateway.cors",
        "true or false",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  title: {a: b}\n",
        3,
        "gateway.title",
        "expected a string",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  ssl_keyfile: a.pem\n",
        3,
        "gateway.ssl_keyfile",
        "without ssl_certfile",
    );
    assert_error(
        "jtype: Flow\nwith:\n  ssl_certfile: a.pem\n",
        3,
        "with.ssl_certfile",
        "without ssl_keyfile",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  limits: {max_connections: 0}\n",
        3,
        "gateway.limits.max_connections",
        "from 1",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  expose_endpoints: '{'\n",
        3,
        "gateway.expose_endpoints",
        "as JSON",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  expose_endpoints:\n    foo: {}\n",
        4,
        "gateway.expose_endpoints.foo",
        "a path like",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  expose_endpoints:\n    /foo: {methods: [FETCH]}\n",
        4,
        "gateway.expose_endpoints./foo.methods[0]",
        "GET, POST",
    );
}

#[test]
fn times_that_are_too_long_and_misspelled_limits_are_errors() {
    assert_error(
        "jtype: Flow\ngateway:\n  timeout_send: 86400001\n",
        3,
        "gateway.timeout_send",
        "at most a day",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  limits: {max_conections: 5}\n",
        3,
        "gateway.limits.max_conections",
        "did you mean `max_connections`?",
    );
}

#[test]
fn limits_have_upper_bounds() {
    for (name, most) in [
        ("max_message_bytes", 4_294_967_295_i64),
        ("max_documents", 4_294_967_295),
        ("max_decoded_bytes", 1 << 40),
        ("max_concurrent_requests", 1_000_000),
        ("connection_share", 100),
        ("max_unread_bytes", 4_294_967_295),
        ("max_connections", 1_000_000),
        ("connections_per_replica", 64),
    ] {
        let limits =
            |number: i64| format!("jtype: Flow\ngateway:\n  limits: {{{name}: {number}}}\n");
        config(&limits(most));
        for number in [0, most + 1, i64::MAX] {
            let message = format!("from 1 to {most}");
            assert_error(
                &limits(number),
                3,
                &format!("gateway.limits.{name}"),
                &message,
            );
        }
    }
}

#[test]
fn errors_beyond_the_maximum_are_counted() {
    let yaml = format!("jtype: Flow\nexecutors:\n{}", "  - text\n".repeat(250));
    let found = errors(&yaml);
    assert_eq!(found.len(), 201);
    let closing = found.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 50 more errors"));
    let keys: String = (0..201).map(|key| format!("k{key}: 1\n")).collect();
    let warnings = load(&format!("jtype: Flow\n{keys}"))
        .expect("a valid Flow")
        .warnings;
    let closing = warnings.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 1 more warnings"));
}

/// Checks that depend on earlier ones compare the count of errors, which goes on after the maximum.
#[test]
fn dependent_checks_are_skipped_after_many_errors() {
    let many = "  - text\n".repeat(200);
    let yaml = format!(
        "jtype: Flow\ngateway: {{port: [a, 1]}}\nexecutors:\n{many}  - {{name: a, external: true, port: [b, 1, 2], host: [h, i]}}\n"
    );
    let found = errors(&yaml);
    // The entries, the gateway's port and the executor's port; no error about the number of ports.
    let closing = found.last().map(ToString::to_string);
    assert_eq!(closing.as_deref(), Some("flow.yml: and 2 more errors"));
}
