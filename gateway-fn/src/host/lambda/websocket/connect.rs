//! Chooses the subprotocol for the response to `$connect`, and warns when this event never arrives although the Flow
//! demands authentication.
//!
//! The choice is not remembered, because a function keeps no state for a connection: each message shows its own format
//! (see `message.rs`). The client needs the response, because its WebSocket fails if it offers subprotocols and
//! receives none.

use std::sync::atomic::{AtomicBool, Ordering};

use flowgate_auth::SUBPROTOCOL_PREFIX;
use flowgate_config::{GatewayConfig, Protocol};
use http::{HeaderMap, header};

/// The response to `$connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The client offered nothing, or only a credential, which is never sent back. As in the container, its messages are
    /// JSON; but a browser closes a WebSocket if it receives none of its offers, so it must offer `json` or `bytes` as well.
    NoSubprotocol,
    /// A subprotocol that the client offered.
    Subprotocol(&'static str),
    /// The client offered only subprotocols that are not supported.
    Refuse,
}

/// Returns the subprotocols that the client offers, in its order; `None` when it offers nothing.
pub(super) fn offered_subprotocols(headers: &HeaderMap) -> Option<Vec<&str>> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    let names = lines.iter().flat_map(|line| line.split(','));
    (!lines.is_empty()).then(|| names.map(str::trim).collect())
}

/// Chooses the first offer that is supported. The container takes every other offer for JSON and returns none, as Jina
/// does; clients of API Gateway would close such a connection.
pub(super) fn choose_subprotocol(offered: Option<Vec<&str>>) -> Choice {
    let Some(mut offered) = offered else {
        return Choice::NoSubprotocol;
    };
    let had_offers = !offered.is_empty();
    offered.retain(|offer| !offer.starts_with(SUBPROTOCOL_PREFIX));
    if offered.is_empty() && had_offers {
        return Choice::NoSubprotocol;
    }
    let supported = |offer: &&str| SUBPROTOCOLS.into_iter().find(|known| known == offer);
    offered
        .iter()
        .find_map(supported)
        .map_or(Choice::Refuse, Choice::Subprotocol)
}

const SUBPROTOCOLS: [&str; 2] = ["json", "bytes"];

/// Warns when messages arrive without a `$connect` although the Flow demands authentication: only that event has the
/// headers by which a caller is authenticated.
#[derive(Debug)]
pub(super) struct ConnectGuard {
    /// Whether authentication is enabled, this process has seen no `$connect`, and has not warned yet.
    should_warn: AtomicBool,
}

impl ConnectGuard {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let is_enabled =
            config.auth.is_enabled() && config.auth.protocols.contains(&Protocol::WebSocket);
        Self {
            should_warn: AtomicBool::new(is_enabled),
        }
    }

    /// Notes that `$connect` reaches this function.
    pub(super) fn note_connect(&self) {
        self.should_warn.store(false, Ordering::Relaxed);
    }

    /// Notes a message, and warns once if this process has seen no `$connect`.
    pub(super) fn note_message(&self) {
        if self.should_warn.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "auth is on, and this process has received messages but no $connect: unless the API's $connect route \
                 has this function as its integration, anyone can send messages"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use flowgate_config::{Config, FunctionConfig};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        context::Context,
        gateway::Registry,
        host::lambda::{deadline::Deadline, event::EventSource, websocket::WebSocketEvents},
        inbound::Services,
        outbound::Clients,
        status::ProcessInfo,
    };

    const KEY: &str = "a-key-of-some-length";

    #[test]
    fn the_first_supported_offer_is_chosen() {
        assert_eq!(choose_subprotocol(None), Choice::NoSubprotocol);
        for (offered, chosen) in [
            (vec!["chat", "bytes", "json"], "bytes"),
            (vec!["json"], "json"),
            (vec!["flowgate.bearer.x", "json"], "json"),
        ] {
            let choice = choose_subprotocol(Some(offered));
            assert_eq!(choice, Choice::Subprotocol(chosen));
        }
        for unsupported in [
            vec!["chat"],
            vec![""],
            vec![],
            vec!["BYTES"],
            vec!["flowgate.bearer.x", "chat"],
        ] {
            let choice = choose_subprotocol(Some(unsupported.clone()));
            assert_eq!(choice, Choice::Refuse, "{unsupported:?}");
        }
    }

    fn authenticated_events(more: &str) -> WebSocketEvents {
        let yaml = format!(
            "jtype: Flow\ngateway: {{auth: {{api_keys: [{{name: shop, key: {KEY}}}]{more}}}}}\nexecutors: []\n"
        );
        let config = Config::from_yaml(&yaml, "flow.yml", &|_| None).expect("a valid Flow");
        let config = config.config;
        let clients = Clients::new(&config.gateway.invoke);
        let process = ProcessInfo::default();
        let services = Services::new(&config, &Registry::default(), &clients, process);
        let services = services.expect("a Gateway");
        WebSocketEvents::new(&services, &clients, &config.gateway, &|_| None)
    }

    /// Returns the response to AWS's sample of `$connect` with one more header.
    async fn connect(events: &WebSocketEvents, name: &str, value: &str) -> Value {
        let text = include_str!("../../../../../tests/events/websocket_connect.json");
        let mut event: Value = serde_json::from_str(text).expect("JSON");
        for header in ["Sec-WebSocket-Protocol", name] {
            event["headers"]
                .as_object_mut()
                .expect("a map")
                .remove(header);
            event["multiValueHeaders"]
                .as_object_mut()
                .expect("a map")
                .remove(header);
        }
        event["headers"][name] = value.into();
        event["multiValueHeaders"][name] = json!([value]);
        let lambda = lambda_http::Context::default();
        let (source, settings) = (EventSource::WebSocketApi, FunctionConfig::default());
        let deadline = Deadline::new(source, &settings, &lambda, None);
        let context = Context::default();
        events.handle(event, &lambda, deadline, &context).await
    }

    #[tokio::test]
    async fn a_connection_needs_a_valid_key() {
        let events = authenticated_events("");
        let bearer = format!("Bearer {KEY}");
        for (name, value, status) in [
            ("X-Api-Key", KEY, 200),
            ("Authorization", bearer.as_str(), 200),
            ("X-Api-Key", "a-key-of-some-lengtH", 401),
            ("X-Other", KEY, 401),
            ("Sec-WebSocket-Protocol", "json", 401),
            ("Sec-WebSocket-Protocol", "json, flowgate.bearer.wrong", 401),
        ] {
            let response = connect(&events, name, value).await;
            assert_eq!(response, json!({"statusCode": status}), "{name}: {value}");
        }
        let elsewhere = authenticated_events(", protocols: [http]");
        let response = connect(&elsewhere, "X-Other", "x").await;
        assert_eq!(response["statusCode"], 200);
    }

    #[tokio::test]
    async fn a_browser_sends_its_credential_as_a_subprotocol() {
        let events = authenticated_events("");
        let credential = format!("flowgate.bearer.{KEY}");
        let offer = |offered: String| {
            let events = &events;
            async move { connect(events, "Sec-WebSocket-Protocol", &offered).await }
        };
        for order in [
            format!("{credential}, bytes"),
            format!("bytes, {credential}"),
        ] {
            let response = offer(order).await;
            let chosen = json!({"Sec-WebSocket-Protocol": "bytes"});
            assert_eq!(response, json!({"statusCode": 200, "headers": chosen}));
        }
        // The container does the same.
        assert_eq!(offer(credential.clone()).await, json!({"statusCode": 200}));
        let other = offer(format!("chat, {credential}")).await;
        assert_eq!(other, json!({"statusCode": 400}));
    }
}
