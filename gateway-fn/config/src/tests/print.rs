//! Printed Flows load as the Flow that they were printed from, and show no secrets.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::print::normalized_yaml;

/// A value for every variable except three, which would change settings that the Flow does not mention.
fn any_value(name: &str) -> Option<String> {
    let value = match name {
        "WEBSOCKET_PUSH" => "true",
        "PORT" => "9001",
        "KEY" => "key-of-more-than-16-bytes",
        "API_KEY_SHA256" => "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
        "PREFETCH" => "7",
        "CLASS" => "HTTPGateway",
        "HOSTS" => "h1:1,h2:2",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" | "AWS_LAMBDA_FUNCTION_NAME" | "JINA_DEFAULT_HOST" => {
            return None;
        }
        _ => return Some(format!("value-of-{}", name.replace('_', "-"))),
    };
    Some(value.to_owned())
}

fn printed(yaml: &str) -> String {
    normalized_yaml(yaml, "flow.yml", &any_value)
        .unwrap_or_else(|errors| panic!("{yaml}\n{errors}"))
}

fn loaded(yaml: &str) -> Config {
    Config::from_yaml(yaml, "flow.yml", &any_value)
        .unwrap_or_else(|errors| panic!("{yaml}\n{errors}"))
        .config
}

/// Prints a Flow, asserts that the printed Flow is the same one, and returns it.
#[track_caller]
fn assert_loads_as_the_same(yaml: &str) -> String {
    let printed = printed(yaml);
    let (before, after) = (loaded(yaml), loaded(&printed));
    assert_eq!(before.name, after.name, "{printed}");
    assert_eq!(before.gateway, after.gateway, "{printed}");
    assert_eq!(before.executors, after.executors, "{printed}");
    assert_eq!(graph(&before), graph(&after), "{printed}");
    let nodes = |config: &Config| -> Vec<_> {
        let nodes = config.graph.nodes();
        nodes
            .map(|(_, node)| (node.needs.clone(), node.reduce, node.is_awaited))
            .collect()
    };
    assert_eq!(nodes(&before), nodes(&after), "{printed}");
    printed
}

#[test]
fn the_flows_of_this_repository_load_as_the_same_when_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for directory in ["infra/flows", "tests/golden/flows"] {
        for entry in fs::read_dir(root.join(directory)).expect("a directory") {
            let text = fs::read_to_string(entry.expect("an entry").path()).expect("a Flow");
            // The recorded Flows start Python classes, which are external Executors in this test.
            let text = text.replace(
                "    py_modules: [execs.py]\n",
                "    external: true\n    host: localhost\n",
            );
            let printed = assert_loads_as_the_same(&text);
            assert!(!printed.contains("value-of-"), "{printed}");
            count += 1;
        }
    }
    assert!(count >= 14, "{count} Flows");
}

#[test]
fn every_setting_is_printed() {
    let printed = assert_loads_as_the_same(
        "\
jtype: Flow
with: {name: '123', timeout_send: 5000, compression: gzip, retries: 2}
x-common: &common {external: true, host: h}
gateway:
  protocol: [grpc, http]
  port: '1,2'
  host: 0
  title: ${{root.with.name}}
  description: 'no: \"yes\" # 017'
  no_crud_endpoints: true
  ssl_certfile: cert.pem
  ssl_keyfile: key.pem
  expose_endpoints: {/z: {methods: [GET, PUT], summary: s}, /a: {}}
  grpc_server_options: {grpc.max_receive_message_length: 5}
  limits: {max_connections: 3}
  invoke: {endpoint_url: 'http://h:1', region: eu-west-1, sign: false, warm_up: dry_run}
  function: {metrics: false, base_path: /v1, compress_answers_from: 0, wait_for_floating: 0, front_door_timeout: 7}
  auth:
    api_keys: [{name: a, file: /run/keys}]
    jwt: {issuer: 'https://i', audience: any, jwks: 'http://i/k', allow_http: true, scopes: [x]}
    open: {http: [/docs/*]}
executors:
  - {<<: *common, name: a, port: [5, 6]}
  - {name: b, uses: 'inproc://greet', needs: gateway, when: {tags__x: {$in: ['1', true, 1.5, b]}}}
  - {name: c, host: 'lambda://f:live', needs: [b, a], no_reduce: true}
",
    );
    for expected in [
        "name: '123'",
        "title: '123'",
        "max_message_bytes: 5",
        "max_connections: 3",
    ] {
        let in_double_quotes = expected.replace('\'', "\"");
        let is_printed = printed.contains(expected) || printed.contains(&in_double_quotes);
        assert!(is_printed, "{expected} in {printed}");
    }
    assert!(!printed.contains("root."), "{printed}");
}

#[test]
fn graphs_are_printed_as_needs() {
    let a = "  - {name: a, external: true, port: 5}\n";
    let b = "  - {name: b, external: true, port: 6, needs: gateway}\n";
    for executors in [
        format!("{a}  - {{method: inspect, name: i}}\n{b}"),
        format!(
            "{a}  - {{method: inspect}}\n  - {{method: inspect}}\n{b}  - {{method: gather_inspect}}\n"
        ),
        format!("{a}{b}  - {{method: needs, needs: [a, b]}}\n"),
        format!(
            "{a}  - {{name: f, uses: 'inproc://f', floating: true}}\n{b}  - {{method: needs_all}}\n"
        ),
        format!("  - {{name: a, external: true, port: 5, needs: b}}\n{b}"),
        format!(
            "  - {{name: a, uses: 'inproc://a', needs: c}}\n  - {{name: c, uses: 'inproc://c', needs: gateway, floating: true}}\n{b}"
        ),
        "  - {uses: 'inproc://a', floating: true}\n  - {name: gateway}\n".to_owned(),
        "  - {external: true, port: 5}\n".repeat(3),
    ] {
        for inspect in ["HANG", "REMOVE", "COLLECT"] {
            assert_loads_as_the_same(&format!(
                "jtype: Flow\nwith: {{inspect: {inspect}}}\nexecutors:\n{executors}"
            ));
        }
    }
}

#[test]
fn values_from_the_environment_stay_references() {
    let printed = assert_loads_as_the_same(
        "\
jtype: Flow
with: {name: $NAME, token: '${{ ENV.TOKEN }}', grpc_metadata: {inherited: '${{ root.with.token }}'}}
gateway:
  uses: ${{ ENV.CLASS }}
  prefetch: ${PREFETCH}
  title: a ${{env.TITLE}} of ${{root.with.name}}
  grpc_server_options: {grpc.max_receive_message_length: '${{ ENV.PORT }}'}
  auth: {api_keys: [{name: a, key: '${{ ENV.KEY }}'}, {name: b, file: '${{ ENV.FILE }}'}]}
executors:
  - {name: a, external: true, host: h, port: '${{ ENV.PORT }}', tls: true}
  - {name: b, host: 'grpc://${{ ENV.HOST }}:1', when: {tags__x: {$eq: '${{ ENV.X }}', $neq: 1}}}
  - {name: $NODE, external: true, host: '${{ ENV.HOSTS }}', port: 1, needs: b}
  - {uses: 'inproc://x', needs: '${{ ENV.NODE }}'}
"
        .replace("$NODE", "n_$PORT")
        .replace("ENV.NODE", "root.executors[2].name")
        .as_str(),
    );
    for expected in [
        "${{ ENV.NAME }}",
        "${{ ENV.CLASS }}",
        "${{ ENV.PREFETCH }}",
        "a ${{ ENV.TITLE }} of ${{ ENV.NAME }}",
        "${{ ENV.KEY }}",
        "${{ ENV.FILE }}",
        "grpc://${{ ENV.HOST }}:1",
        "${{ ENV.X }}",
        "${{ ENV.HOSTS }}",
        "${{ ENV.TOKEN }}",
        "n_${{ ENV.PORT }}",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    let hidden = [
        "value-of-",
        "key-of-",
        "9001",
        "root.",
        "HTTPGateway",
        "h1:1",
    ];
    for value in hidden {
        assert!(!printed.contains(value), "{value} in {printed}");
    }
}

#[test]
fn literal_secrets_are_redacted() {
    let digest = "5".repeat(64);
    let yaml = format!(
        "\
jtype: Flow
gateway:
  auth: {{api_keys: [{{name: a, key: swordfish-swordfish}}, {{name: b, sha256: '{digest}'}}, {{name: c, key: '${{{{ ENV.KEY }}}}'}}]}}
executors:
  - {{name: a, host: 'grpc://h:1', grpc_metadata: {{k: swordfish, l: '${{{{ ENV.L }}}}'}}}}
"
    );
    let printed = printed(&yaml);
    assert!(
        !printed.contains("swordfish") && !printed.contains("555"),
        "{printed}"
    );
    assert_eq!(printed.matches("<redacted>").count(), 3, "{printed}");
    assert!(printed.contains("${{ ENV.KEY }}") && printed.contains("${{ ENV.L }}"));
}

#[test]
fn a_secret_that_is_partly_literal_is_redacted() {
    let yaml = "\
jtype: Flow
gateway:
  auth: {api_keys: [{name: a, key: 'swordfish-${{ ENV.KEY }}'}]}
executors:
  - {name: a, host: 'grpc://h:1', grpc_metadata: {k: 'swordfish-${{ ENV.L }}', authorization: 'Bearer ${{ ENV.TOKEN }}'}}
";
    let printed = printed(yaml);
    assert!(!printed.contains("swordfish"), "{printed}");
    assert_eq!(printed.matches("<redacted>").count(), 2, "{printed}");
    assert!(printed.contains("Bearer ${{ ENV.TOKEN }}"), "{printed}");
}

#[test]
fn a_digest_from_a_variable_stays_a_reference() {
    let yaml = "jtype: Flow\ngateway: {auth: {api_keys: [{name: a, sha256: '${{ ENV.DIGEST }}'}]}}\n\
                executors: [{name: a, host: 'grpc://h:1'}]\n";
    let digest = |_: &str| Some("5".repeat(64));
    let printed = normalized_yaml(yaml, "flow.yml", &digest).expect("a valid Flow");
    assert!(printed.contains("${{ ENV.DIGEST }}"), "{printed}");
    Config::from_yaml(&printed, "flow.yml", &digest).expect("the printed Flow is valid");
}

#[test]
fn unset_variables_stay_references() {
    let yaml = "jtype: Flow\nexecutors:\n  \
                - {name: a, host: 'grpc://h:1', grpc_metadata: {k: '${{ ENV.TOKEN }}', l: $TOKEN}}\n";
    let printed = normalized_yaml(yaml, "flow.yml", &no_variables).expect("a valid Flow");
    assert!(printed.contains("${{ ENV.TOKEN }}"), "{printed}");
}

#[test]
fn errors_are_the_same_as_when_loading() {
    let yaml = "jtype: Flow\ngateway: {port: 70000}\n";
    let errors = normalized_yaml(yaml, "flow.yml", &no_variables);
    assert_eq!(errors, Err(load(yaml).expect_err("an invalid port")));
}

proptest! {
    #[test]
    fn any_text_is_quoted_as_needed(title in "[ -~é\n\t]{0,90}|-?[0-9_.:xobe]{1,8}|yes|no|on|null|~|<<|=|!x|&x|\\*x", description in "(?s).{0,40}") {
        prop_assume!(!title.contains('$') && !description.contains('$'));
        let yaml = format!(
            "jtype: Flow\ngateway: {{title: {}, description: {}}}\n",
            serde_json::to_string(&title).expect("JSON"),
            serde_json::to_string(&description).expect("JSON"),
        );
        if Config::from_yaml(&yaml, "flow.yml", &any_value).is_ok() {
            assert_loads_as_the_same(&yaml);
        }
    }
}
