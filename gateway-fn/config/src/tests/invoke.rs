//! The key `invoke`, and what Flows with `lambda://` Executors may say.

use std::time::Duration;

use super::*;
use crate::{InvokeConfig, Signing, WarmUp};

fn invoke(keys: &str) -> InvokeConfig {
    let yaml = format!("jtype: Flow\ngateway:\n  invoke: {keys}\n");
    config(&yaml).gateway.invoke
}

/// The one fault there is: its key, and all of it.
fn fault(yaml: &str) -> (String, String) {
    let faults = faults(yaml);
    assert_eq!(faults.len(), 1, "{}", ConfigErrors(faults));
    (faults[0].key.clone(), faults[0].to_string())
}

#[test]
fn settings_are_taken_and_have_defaults() {
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
fn wrong_settings_are_named() {
    for (keys, key, said) in [
        ("{endpoint_url: '127.0.0.1:9001'}", "endpoint_url", "a URL"),
        ("{endpoint_url: 'ftp://h'}", "endpoint_url", "a URL"),
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
        let (found, fault) = fault(&format!("jtype: Flow\ngateway:\n  invoke: {keys}\n"));
        assert_eq!(found, format!("gateway.invoke.{key}"), "{fault}");
        assert!(fault.contains(said), "{fault}");
    }
}

#[test]
fn replicas_are_called_in_one_way() {
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
        let (key, fault) = fault(&of_hosts(hosts));
        assert_eq!(key, "executors[0].host");
        assert!(fault.contains("addresses of one kind"), "{fault}");
    }
}

#[test]
fn zstd_that_an_executor_does_not_get_is_said() {
    let warnings = |address: &str| {
        let yaml = format!(
            "jtype: Flow\nwith: {{compression: zstd}}\nexecutors:\n  - {{name: a, host: '{address}'}}\n"
        );
        let loaded = load(&yaml).unwrap_or_else(|faults| panic!("{faults}"));
        loaded.warnings
    };
    let warned = warnings("grpc://h:1");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert_eq!(warned[0].key, "with.compression");
    assert!(warned[0].to_string().contains("gzip"), "{}", warned[0]);
    assert_eq!(warnings("lambda://f"), []);
}
