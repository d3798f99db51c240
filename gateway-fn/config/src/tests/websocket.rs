//! The settings under `function.websocket`.

use super::*;
use crate::WebSocketConfig;

fn flow(keys: &str) -> String {
    format!("jtype: Flow\ngateway:\n  function:\n    websocket: {keys}\n")
}

#[test]
fn every_setting_is_read_and_has_a_default() {
    let read = |keys: &str| config(&flow(keys)).gateway.function.websocket;
    assert_eq!(read("{}"), WebSocketConfig::default());
    assert_eq!(
        read(
            "{route_response: false, push: true, max_parts: 3, connections_url: 'https://ws.example.com/'}"
        ),
        WebSocketConfig {
            route_response: false,
            push: true,
            connections_url: Some("https://ws.example.com".to_owned()),
            max_parts: 3,
        }
    );
}

#[test]
fn invalid_settings_are_errors() {
    for (keys, key, message) in [
        ("{pushes: true}", "pushes", "did you mean `push`"),
        ("{push: often}", "push", "true or false"),
        ("{max_parts: 0}", "max_parts", "from 1 to 1024"),
        (
            "{connections_url: ws.example.com}",
            "connections_url",
            "https://HOST/STAGE",
        ),
    ] {
        let errors = errors(&flow(keys));
        let [error] = errors.as_slice() else {
            panic!("{keys}\n{}", ConfigErrors(errors))
        };
        assert_eq!(error.key, format!("gateway.function.websocket.{key}"));
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn the_bundled_flow_takes_push_from_the_environment() {
    let flow = include_str!("../../../../infra/flows/lambda.yml");
    let push = |value: &'static str| {
        let env = move |name: &str| match name {
            "EXECUTOR_FUNCTION" => Some("it".to_owned()),
            "WEBSOCKET_PUSH" => Some(value.to_owned()),
            _ => None,
        };
        let loaded = Config::from_yaml(flow, "lambda.yml", &env);
        loaded.map(|loaded| loaded.config.gateway.function.websocket.push)
    };
    assert!(push("true").expect("a valid Flow"));
    assert!(!push("false").expect("a valid Flow"));
    assert!(push("often").is_err());
    assert!(load(flow).is_err(), "an unset variable is an error");
}
