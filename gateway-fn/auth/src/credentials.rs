//! Extracts API keys and tokens from a request's headers. The query string is never read: it ends up in logs and browser
//! histories.

use flowgate_config::Protocol;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The prefix of a WebSocket subprotocol that carries a key or token. Browsers cannot set headers of a WebSocket request,
/// but they can offer subprotocols.
pub const SUBPROTOCOL_PREFIX: &str = "flowgate.bearer.";

/// Longer credentials are ignored: the longest tokens in use have a few thousand bytes.
const MAX_CREDENTIAL_BYTES: usize = 16 << 10;

/// A credential, by where it was found.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    /// An API key, from the key header.
    Key(&'a str),
    /// A token or an API key, from `authorization: Bearer` or a subprotocol.
    Bearer(&'a str),
}

/// Returns the credentials of a request, at most three.
pub(super) fn extract<'a>(
    headers: &'a HeaderMap,
    protocol: Protocol,
    key_header: &HeaderName,
) -> Vec<Credential<'a>> {
    let key = trimmed_text(headers.get(key_header)).map(Credential::Key);
    let bearer = trimmed_text(headers.get(header::AUTHORIZATION))
        .and_then(strip_bearer)
        .map(Credential::Bearer);
    let offered = (protocol == Protocol::WebSocket)
        .then(|| subprotocols(headers).find_map(|entry| entry.strip_prefix(SUBPROTOCOL_PREFIX)))
        .flatten()
        .map(Credential::Bearer);
    let all = [key, bearer, offered].into_iter().flatten();
    all.filter(|credential| {
        let (Credential::Key(text) | Credential::Bearer(text)) = credential;
        (1..=MAX_CREDENTIAL_BYTES).contains(&text.len())
    })
    .collect()
}

/// Returns the offered subprotocols without the credential, or `None` if there is no credential among them.
pub(super) fn subprotocols_without_credential(headers: &HeaderMap) -> Option<Vec<&str>> {
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

fn trimmed_text(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok().map(str::trim)
}

/// Removes the scheme, whose name is case-insensitive (RFC 9110, section 11.1).
fn strip_bearer(authorization: &str) -> Option<&str> {
    let (scheme, rest) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(pairs: &[(&'static str, &str)], protocol: Protocol) -> Vec<String> {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::try_from(*value).expect("a header");
            (HeaderName::from_static(name), value)
        });
        let headers: HeaderMap = pairs.collect();
        let key_header = HeaderName::from_static("x-api-key");
        let credentials = extract(&headers, protocol, &key_header).into_iter();
        credentials
            .map(|credential| match credential {
                Credential::Key(text) => format!("key {text}"),
                Credential::Bearer(text) => format!("bearer {text}"),
            })
            .collect()
    }

    #[test]
    fn keys_and_bearers_are_found_in_headers() {
        let http = |pairs: &[(&'static str, &str)]| extracted(pairs, Protocol::Http);
        assert_eq!(http(&[("x-api-key", " k ")]), ["key k"]);
        assert_eq!(http(&[("authorization", "bEaReR  t ")]), ["bearer t"]);
        assert_eq!(
            http(&[("authorization", "Bearer t"), ("x-api-key", "k")]),
            ["key k", "bearer t"]
        );
        for invalid in ["", "Bearer", "Bearer ", "Basic abc", "Bearert"] {
            assert!(http(&[("authorization", invalid)]).is_empty(), "{invalid}");
        }
        assert!(http(&[("x-api-key", &"k".repeat(MAX_CREDENTIAL_BYTES + 1))]).is_empty());
    }

    #[test]
    fn a_subprotocol_is_a_credential_for_websockets_only() {
        let offered = [("sec-websocket-protocol", "json, flowgate.bearer.t.t")];
        assert_eq!(extracted(&offered, Protocol::WebSocket), ["bearer t.t"]);
        assert!(extracted(&offered, Protocol::Http).is_empty());
    }
}
