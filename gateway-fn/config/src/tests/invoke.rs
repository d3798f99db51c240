//! The key `invoke`, and Flows with `lambda://` Executors.

use std::time::Duration;

use super::*;
use crate::{InvokeConfig, Signing, WarmUp};

fn invoke(keys: &str) -> InvokeConfig {
    let yaml = format!("jtype: Flow\ngateway:\n  invoke: {keys}\n");
    config(&yaml).gateway.invoke
}

/// Returns the key and the text of the only error.
fn error(yaml: &str) -> (String, String) {
    let errors = errors(yaml);
    assert_eq!(errors.len(), 1, "{}", ConfigErrors(errors));
    (errors[0].key.clone(), errors[0].to_string())
}

#[test]
fn settings_are_read_and_have_defaults() {
    assert_eq!(invoke("{}"), InvokeConfig::default());
    let all = invoke(
        "{endpoint_url: 'http://127.0.0.1:9001', region: eu-west-1, sign: false, warm_up: dry_run, max_parts: 1, \
         parallel_parts: 2, max_retry_pause: 3}",
    );
    let expected = InvokeConfig {
        endpoint_url: Some("http://127.0.0.1:9001".to_owned()),
        region: Some("eu-west-1".to_owned()),
        signing: Signing::Unsigned,
        warm_up: WarmUp::DryRun,
        max_parts: 1,
        parallel_parts: 2,
        max_retry_pause: Duration::from_millis(3),
    };
    assert_eq!(all, expected);
    let inherited = config("jtype: Flow\nwith: {invoke: {warm_up: none}}\n");
    assert_eq!(inherited.gateway.invoke.warm_up, WarmUp::None);
}

#[test]
fn invalid_settings_are_errors() {
    for (keys, key, message) in [
        ("{endpoint_url: '127.0.0.1:9001'}", "endpoint_url", "a URL"),
        ("{endpoint_url: 'ftp://h'}", "endpoint_url", "a URL"),
        (
            "{endpoint_url: 'https://user:swordfish@h'}",
            "endpoint_url",
            "without user and password",
        ),
        ("{endpoint_url: 'http://h/?a=b'}", "endpoint_url", "a URL"),
        ("{region: Ireland}", "region", "eu-west-1"),
        ("{sign: false}", "sign", "endpoint_url"),
        ("{warm_up: hot}", "warm_up", "none, connect or dry_run"),
        ("{warm_up: 1}", "warm_up", "none, connect or dry_run"),
        ("{max_parts: 0}", "max_parts", "from 1 to 1000"),
        ("{parallel_parts: 101}", "parallel_parts", "from 1 to 100"),
        ("{max_retry_pause: 60001}", "max_retry_pause", "60000"),
        ("{retries: 1}", "retries", "an unknown key"),
    ] {
        let (found, error) = error(&format!("jtype: Flow\ngateway:\n  invoke: {keys}\n"));
        assert_eq!(found, format!("gateway.invoke.{key}"), "{error}");
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn replicas_have_one_transport() {
    let of_hosts = |hosts: &str| {
        format!("jtype: Flow\nexecutors:\n  - {{name: a, external: true, host: '{hosts}'}}\n")
    };
    let functions = config(&of_hosts("lambda://a,lambda://b:live"));
    assert_eq!(addresses(&functions), ["lambda://a lambda://b:live"]);
    assert_eq!(
        addresses(&config(&of_hosts("grpc://a:1,grpcs://b:2"))).len(),
        1
    );
    for hosts in ["lambda://a,grpc://b:1", "inproc://a,grpc://b:1"] {
        let (key, error) = error(&of_hosts(hosts));
        assert_eq!(key, "executors[0].host");
        assert!(error.contains("addresses of one transport"), "{error}");
    }
}

#[test]
fn zstd_is_warned_about_if_executors_are_sent_gzip() {
    let warnings = |address: &str| {
        let yaml = format!(
            "jtype: Flow\nwith: {{compression: zstd}}\nexecutors:\n  - {{name: a, host: '{address}'}}\n"
        );
        let loaded = load(&yaml).unwrap_or_else(|errors| panic!("{errors}"));
        loaded.warnings
    };
    let warned = warnings("grpc://h:1");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].key, "with.compression");
    assert!(warned[0].to_string().contains("gzip"), "{}", warned[0]);
    assert_eq!(warnings("lambda://f"), []);
}
