//! Errors about variables: they name the variable and never quote its value.

use super::*;

#[test]
fn unset_variables_are_named() {
    assert_error(
        "jtype: Flow\ngateway:\n  port: ${{ ENV.PORT }}\n",
        3,
        "gateway.port",
        "environment variable \"PORT\" to be set",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  port: $PORT\n",
        3,
        "gateway.port",
        "environment variable \"PORT\" to be set",
    );
    assert_error(
        &of_executor("host: grpc://${{ ENV.HOST }}:1"),
        4,
        "executors[0].host",
        "environment variable \"HOST\" to be set",
    );
    assert_error(
        &of_executor("external: true\nport: 1\nhost: ${{ CONTEXT.HOST }}"),
        6,
        "executors[0].host",
        "a context exists only",
    );
    assert_error(
        &of_executor("host: grpc://${{this.nmae}}:1"),
        4,
        "executors[0].host",
        "this.nmae",
    );
    assert_error(
        "jtype: Flow\ngateway:\n  title: ${{root.with.name}}\n",
        3,
        "gateway.title",
        "root.with.name",
    );
    assert_error(
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
        let errors = match Config::from_yaml(&format!("jtype: Flow\n{keys}\n"), "flow.yml", &secret)
        {
            Ok(loaded) => panic!("{keys} is valid: {loaded:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(
            !errors.contains("wordfish") && !errors.contains("4711"),
            "{errors}"
        );
    }
}
