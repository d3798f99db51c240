//! A request's headers -> the keys and tokens that stand in them. The query is never looked at: it ends up in logs and
//! histories.

use flowgate_config::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How a browser, which cannot set a WebSocket's headers, says who it is: one more entry among the subprotocols that it
/// offers, this and the key or token after it.
pub const SUBPROTOCOL_PREFIX: &str = "flowgate.bearer.";

/// Longer ones are none: the longest tokens in use have a few thousand bytes.
const MOST_BYTES: usize = 16 << 10;

/// What a caller presents.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    /// In the header for keys.
    Key(&'a str),
    /// As a bearer: a token, or a key.
    Bearer(&'a str),
}

/// Each of a request's, at most three.
pub(super) fn of<'a>(
    headers: &'a HeaderMap,
    protocol: Protocol,
    key_header: &HeaderName,
) -> Vec<Credential<'a>> {
    let key = text(headers.get(key_header)).map(Credential::Key);
    let bearer = text(headers.get(header::AUTHORIZATION))
        .and_then(bearer)
        .map(Credential::Bearer);
    let offered = (protocol == Protocol::WebSocket)
        .then(|| subprotocols(headers).find_map(|entry| entry.strip_prefix(SUBPROTOCOL_PREFIX)))
        .flatten()
        .map(Credential::Bearer);
    let all = [key, bearer, offered].into_iter().flatten();
    all.filter(|credential| {
        let (Credential::Key(text) | Credential::Bearer(text)) = credential;
        (1..=MOST_BYTES).contains(&text.len())
    })
    .collect()
}

/// The subprotocols that a client offers, without the one that is a credential. `None` where there is none such.
pub(super) fn without_credential(headers: &HeaderMap) -> Option<Vec<&str>> {
    let is_credential = |entry: &&str| entry.starts_with(SUBPROTOCOL_PREFIX);
    let mut credentials = subprotocols(headers).filter(is_credential);
    credentials.next()?;
    Some(
        subprotocols(headers)
            .filter(|entry| !is_credential(entry))
            .collect(),
    )
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let lines = lines.iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok().map(str::trim)
}

/// The scheme's name is in any case (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(pairs: &[(&'static str, &str)], protocol: Protocol) -> Vec<String> {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::try_from(*value).expect("a header");
            (HeaderName::from_static(name), value)
        });
        let headers: HeaderMap = pairs.collect();
        let key_header = HeaderName::from_static("x-api-key");
        let all = of(&headers, protocol, &key_header).into_iter();
        all.map(|credential| match credential {
            Credential::Key(text) => format!("key {text}"),
            Credential::Bearer(text) => format!("bearer {text}"),
        })
        .collect()
    }

    #[test]
    fn keys_and_bearers_are_found_in_headers() {
        let http = |pairs: &[(&'static str, &str)]| presented(pairs, Protocol::Http);
        assert_eq!(http(&[("x-api-key", " k ")]), ["key k"]);
        assert_eq!(http(&[("authorization", "bEaReR  t ")]), ["bearer t"]);
        assert_eq!(
            http(&[("authorization", "Bearer t"), ("x-api-key", "k")]),
            ["key k", "bearer t"]
        );
        for none in ["", "Bearer", "Bearer ", "Basic abc", "Bearert"] {
            assert!(http(&[("authorization", none)]).is_empty(), "{none}");
        }
        assert!(http(&[("x-api-key", &"k".repeat(MOST_BYTES + 1))]).is_empty());
    }

    #[test]
    fn a_subprotocol_is_a_credential_for_websockets_only() {
        let offered = [("sec-websocket-protocol", "json, flowgate.bearer.t.t")];
        assert_eq!(presented(&offered, Protocol::WebSocket), ["bearer t.t"]);
        assert!(presented(&offered, Protocol::Http).is_empty());
    }
}
