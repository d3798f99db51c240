//! The key `function`, and the defaults that differ in a Lambda function.

use std::time::Duration;

use super::*;
use crate::{FunctionConfig, GatewayConfig, TlsRoots};

fn gateway(keys: &str) -> GatewayConfig {
    config(&format!("jtype: Flow\ngateway: {{{keys}}}\n")).gateway
}

#[test]
fn every_key_of_function_is_read() {
    let read = gateway(
        "function: {response_streaming: true, front_door_timeout: 120000, answer_margin: 0, base_path: /v1/, \
         public_url: true, compress_answers_from: 0, metrics_namespace: Search/Flows, \
         rest_binary: true, wait_for_floating: 0}",
    );
    let expected = FunctionConfig {
        response_streaming: true,
        front_door_timeout: Some(Duration::from_secs(120)),
        answer_margin: Duration::ZERO,
        base_path: Some("/v1".to_owned()),
        public_url: true,
        compress_answers_from: None,
        rest_binary: true,
        wait_for_floating: Some(Duration::ZERO),
        metrics_namespace: Some("Search/Flows".to_owned()),
        ..FunctionConfig::default()
    };
    assert_eq!(read.function, expected);
    assert_eq!(gateway("").function, FunctionConfig::default());
    let silent = gateway("function: {metrics: false, base_path: /}").function;
    assert_eq!((silent.metrics_namespace, silent.base_path), (None, None));
}

#[test]
fn invalid_settings_are_errors() {
    for (value, key) in [
        ("{answer_margin: -1}", "answer_margin"),
        ("{front_door_timeout: 0}", "front_door_timeout"),
        ("{base_path: v1}", "base_path"),
        ("{wait_for_floating: -1}", "wait_for_floating"),
        ("{base_path: '/a b'}", "base_path"),
        ("{metrics_namespace: AWS/Lambda}", "metrics_namespace"),
        ("{public_url: perhaps}", "public_url"),
        ("{response_steaming: true}", "response_steaming"),
    ] {
        let errors = errors(&format!("jtype: Flow\ngateway:\n  function: {value}\n"));
        let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, [format!("gateway.function.{key}")], "{value}");
    }
}

#[test]
fn a_function_hides_addresses_and_has_smaller_messages() {
    let on_lambda = |keys: &str| {
        let env = |name: &str| (name == "AWS_LAMBDA_FUNCTION_NAME").then(|| "f".to_owned());
        let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
        let loaded = Config::from_yaml(&yaml, "flow.yml", &env);
        loaded.expect("a valid Flow").config.gateway
    };
    let container = gateway("");
    let function = on_lambda("");
    assert!(container.internal_addresses_in_errors && !function.internal_addresses_in_errors);
    assert_eq!(container.tls_roots, TlsRoots::System);
    assert_eq!(function.tls_roots, TlsRoots::Bundled);
    let system = on_lambda("tls_roots: system").tls_roots;
    assert_eq!(system, TlsRoots::System);
    assert_eq!(container.limits.max_message_bytes, 256 << 20);
    assert_eq!(function.limits.max_message_bytes, 60 << 20);
    let streaming = on_lambda("function: {response_streaming: true}");
    assert_eq!(streaming.limits.max_message_bytes, 200 << 20);
    let with_memory = |keys: &str, megabytes: &str, concurrency: &str| {
        let env = |name: &str| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some("f".to_owned()),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some(megabytes.to_owned()),
            "AWS_LAMBDA_MAX_CONCURRENCY" => Some(concurrency.to_owned()),
            _ => None,
        };
        let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
        let loaded = Config::from_yaml(&yaml, "flow.yml", &env);
        loaded
            .expect("a valid Flow")
            .config
            .gateway
            .limits
            .max_message_bytes
    };
    let share = |megabytes: usize| (megabytes << 20) / 100 * 12;
    assert_eq!(with_memory("", "128", "1"), share(128));
    assert_eq!(with_memory("", "10240", "1"), 60 << 20);
    assert_eq!(with_memory("", "1024", "4"), share(1024) / 4);
    let streaming = "function: {response_streaming: true}";
    assert_eq!(with_memory(streaming, "1024", "1"), share(1024));
    assert_eq!(with_memory("limits: {max_message_bytes: 5}", "128", "1"), 5);
    let message = on_lambda("internal_addresses_in_errors: true, limits: {max_message_bytes: 5}");
    assert!(message.internal_addresses_in_errors);
    assert_eq!(message.limits.max_message_bytes, 5);
}

#[test]
fn metrics_are_off_in_emulators_unless_the_flow_turns_them_on() {
    let lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
    ];
    let sam_local = [lambda[0], lambda[1], ("AWS_SAM_LOCAL", "true")];
    let watch = [lambda[0]];
    let snapshot = [lambda[0], ("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")];
    let has_metrics = |variables: &[(&str, &str)], keys: &str| {
        let env = |name: &str| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(key, _)| *key == name)?;
            Some((*value).to_owned())
        };
        let yaml = format!("jtype: Flow\ngateway: {{{keys}}}\n");
        let loaded = Config::from_yaml(&yaml, "flow.yml", &env).expect("valid");
        loaded.config.gateway.function.metrics_namespace.is_some()
    };
    for keys in ["", "function: {base_path: /v1}"] {
        assert!(has_metrics(&lambda, keys), "{keys}");
        assert!(has_metrics(&snapshot, keys), "{keys}");
        // Not a function: `flowgate check --print` shows the default of Lambda.
        assert!(has_metrics(&[], keys), "{keys}");
        assert!(!has_metrics(&sam_local, keys), "{keys}");
        assert!(!has_metrics(&watch, keys), "{keys}");
    }
    assert!(has_metrics(&watch, "function: {metrics: true}"));
    assert!(!has_metrics(&lambda, "function: {metrics: false}"));
}
