//! A client's opening handshake (RFC 6455, section 4.2) -> what it must be answered with, or why it is none.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::Answer;

/// Characters of a WebSocket API's URL (API Gateway, quotas for WebSocket APIs).
const URL_CHARACTERS: usize = 4096;

/// A handshake that holds.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
}

/// The status and the text for one that does not.
#[derive(Debug)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str);

impl Handshake {
    pub(super) fn read(request: &Request<Incoming>) -> Result<Self, Refused> {
        let headers = request.headers();
        let url = request
            .uri()
            .path_and_query()
            .map_or(0, |url| url.as_str().len());
        if url > URL_CHARACTERS {
            return Err(Refused(StatusCode::URI_TOO_LONG, "URI Too Long"));
        }
        let is_upgrade = lists(headers, &header::CONNECTION, "upgrade")
            && lists(headers, &header::UPGRADE, "websocket");
        if request.method() != Method::GET || !is_upgrade {
            return Err(Refused(StatusCode::UPGRADE_REQUIRED, "Upgrade Required"));
        }
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        match headers.get(header::SEC_WEBSOCKET_KEY) {
            Some(key) if version.is_some_and(|version| version == "13") => Ok(Self {
                accept: derive_accept_key(key.as_bytes()),
            }),
            _ => Err(Refused(StatusCode::BAD_REQUEST, "Bad Request")),
        }
    }

    /// The answer that makes it a WebSocket.
    pub(super) fn accepted(self, protocol: Option<HeaderValue>) -> Answer {
        let mut answer = Response::new(Full::new(Bytes::new()));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        // Base64 is always a header's value.
        if let Ok(accept) = HeaderValue::try_from(self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        answer
    }
}

fn lists(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut parts = values.flat_map(|value| value.split(','));
    parts.any(|part| part.trim().eq_ignore_ascii_case(wanted))
}
