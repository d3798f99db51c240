//! The settings under `function.websocket`.

use super::*;
use crate::config::WebSocketConfig;

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
            panic!("{keys}\n{}", Faults(faults))
        };
        assert_eq!(fault.key, format!("gateway.function.websocket.{key}"));
        assert!(fault.to_string().contains(said), "{fault}");
    }
}
