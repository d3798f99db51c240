//! The subprotocols that a client offers -> which of them it is answered, and never the one that is a credential.
//!
//! What is chosen is not remembered, for a function has no connections: each message says by itself what it is (see
//! `message.rs`). The choice is for the client, whose WebSocket fails if it offered some and none is answered.

use flowgate_auth::SUBPROTOCOL_PREFIX;
use http::{HeaderMap, header};

/// What `$connect` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The client offered none but a credential, and none may be answered. As in the container, this is a WebSocket of
    /// JSON; but a browser ends one whose offers are not answered, so that it must offer `json` or `bytes` as well.
    Unasked,
    /// One that the client offered.
    Answer(&'static str),
    /// None of those offered is spoken here.
    Refuse,
}

/// What the client offers, in its order; `None` when it offers nothing.
pub(super) fn offered(headers: &HeaderMap) -> Option<Vec<&str>> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    let words = lines.iter().flat_map(|line| line.split(','));
    (!lines.is_empty()).then(|| words.map(str::trim).collect())
}

/// The first of the client's that is known. A container takes whatever it does not know for JSON and names none in its
/// answer, as Jina does; API Gateway's clients would end such a connection themselves.
pub(super) fn choose(offered: Option<Vec<&str>>) -> Choice {
    let Some(mut offered) = offered else {
        return Choice::Unasked;
    };
    let all = offered.len();
    offered.retain(|offer| !offer.starts_with(SUBPROTOCOL_PREFIX));
    if offered.is_empty() && all > 0 {
        return Choice::Unasked;
    }
    let known = |offer: &&str| SUBPROTOCOLS.into_iter().find(|known| known == offer);
    offered
        .iter()
        .find_map(known)
        .map_or(Choice::Refuse, Choice::Answer)
}

const SUBPROTOCOLS: [&str; 2] = ["json", "bytes"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        context::Context, gateway::Registry, host::lambda::websocket::WebSocketEvents,
        inbound::Services, outbound::Clients, status::ProcessInfo,
    };
    use flowgate_config::Config;

    const KEY: &str = "a-key-of-some-length";

    #[test]
    fn the_first_known_offer_is_answered_and_only_offers_are() {
        assert_eq!(choose(None), Choice::Unasked);
        for (offered, answered) in [
            (vec!["chat", "bytes", "json"], "bytes"),
            (vec!["json"], "json"),
            (vec!["flowgate.bearer.x", "json"], "json"),
        ] {
            assert_eq!(choose(Some(offered)), Choice::Answer(answered));
        }
        for unusable in [
            vec!["chat"],
            vec![""],
            vec![],
            vec!["BYTES"],
            vec!["flowgate.bearer.x", "chat"],
        ] {
            let choice = choose(Some(unusable.clone()));
            assert_eq!(choice, Choice::Refuse, "{unusable:?}");
        }
    }

    fn guarded(more: &str) -> WebSocketEvents {
        let yaml = format!(
            "jtype: Flow\ngateway: {{auth: {{api_keys: [{{name: shop, key: {KEY}}}]{more}}}}}\nexecutors: []\n"
        );
        let config = Config::from_yaml(&yaml, "flow.yml", &|_| None).expect("it holds");
        let config = config.config;
        let clients = Clients::new(&config.gateway.invoke);
        let process = ProcessInfo::default();
        let services = Services::new(&config, &Registry::default(), &clients, process);
        let services = services.expect("it starts");
        WebSocketEvents::new(&services, &clients, &config.gateway, &|_| None)
    }

    /// The answer to AWS's own `$connect` with one more header.
    async fn connect(events: &WebSocketEvents, name: &str, value: &str) -> Value {
        let text = include_str!("../../../../../tests/events/websocket_connect.json");
        let mut event: Value = serde_json::from_str(text).expect("JSON");
        for name_of_any in ["Sec-WebSocket-Protocol", name] {
            event["headers"]
                .as_object_mut()
                .expect("a map")
                .remove(name_of_any);
            event["multiValueHeaders"]
                .as_object_mut()
                .expect("a map")
                .remove(name_of_any);
        }
        event["headers"][name] = value.into();
        event["multiValueHeaders"][name] = json!([value]);
        let lambda = lambda_runtime::Context::default();
        events.handle(event, &lambda, &Context::default()).await
    }

    #[tokio::test]
    async fn a_connection_is_opened_by_a_key_and_by_nothing_else() {
        let events = guarded("");
        let bearer = format!("Bearer {KEY}");
        for (name, value, status) in [
            ("X-Api-Key", KEY, 200),
            ("Authorization", bearer.as_str(), 200),
            ("X-Api-Key", "a-key-of-some-lengtH", 401),
            ("X-Other", KEY, 401),
            ("Sec-WebSocket-Protocol", "json", 401),
            ("Sec-WebSocket-Protocol", "json, flowgate.bearer.wrong", 401),
        ] {
            let answer = connect(&events, name, value).await;
            assert_eq!(answer, json!({"statusCode": status}), "{name}: {value}");
        }
        let elsewhere = guarded(", protocols: [http]");
        let answer = connect(&elsewhere, "X-Other", "x").await;
        assert_eq!(answer["statusCode"], 200);
    }

    #[tokio::test]
    async fn a_browser_says_who_it_is_among_its_subprotocols() {
        let events = guarded("");
        let credential = format!("flowgate.bearer.{KEY}");
        let offer = |offered: String| {
            let events = &events;
            async move { connect(events, "Sec-WebSocket-Protocol", &offered).await }
        };
        for order in [
            format!("{credential}, bytes"),
            format!("bytes, {credential}"),
        ] {
            let answer = offer(order).await;
            let chosen = json!({"Sec-WebSocket-Protocol": "bytes"});
            assert_eq!(answer, json!({"statusCode": 200, "headers": chosen}));
        }
        // As in the container.
        assert_eq!(offer(credential.clone()).await, json!({"statusCode": 200}));
        let other = offer(format!("chat, {credential}")).await;
        assert_eq!(other, json!({"statusCode": 400}));
    }
}
