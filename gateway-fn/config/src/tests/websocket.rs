//! The settings under `function.websocket`.

use super::*;
use crate::WebSocketConfig;

fn flow(keys: &str) -> String {
    format!("jtype: Flow\ngateway:\n  function:\n    websocket: {keys}\n")
}

#[test]
fn each_setting_has_a_default_and_takes_a_value() {
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
fn a_setting_that_does_not_hold_is_a_fault() {
    for (keys, key, said) in [
        ("{pushes: true}", "pushes", "did you mean `push`"),
        ("{push: often}", "push", "true or false"),
        ("{max_parts: 0}", "max_parts", "from 1 to 1024"),
        (
            "{connections_url: ws.example.com}",
            "connections_url",
            "https://host/stage",
        ),
    ] {
        let faults = faults(&flow(keys));
        let [fault] = faults.as_slice() else {
            panic!("{keys}\n{}", ConfigErrors(faults))
        };
        assert_eq!(fault.key, format!("gateway.function.websocket.{key}"));
        assert!(fault.to_string().contains(said), "{fault}");
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
    assert!(push("true").expect("it holds"));
    assert!(!push("false").expect("it holds"));
    assert!(push("often").is_err());
    assert!(load(flow).is_err(), "what is not set is not guessed");
}
