//! Checks a client's opening handshake (RFC 6455, section 4.2) and builds the response that accepts it.

use flowgate_server::http1::RequestBody;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::response::{self, ApiGatewayError, Response};

/// Maximum length of a WebSocket API's URL (API Gateway, quotas for WebSocket APIs).
const MAX_URL_CHARACTERS: usize = 4096;

/// A valid handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`.
    accept_key: String,
}

impl Handshake {
    pub(super) fn read(request: &Request<RequestBody>) -> Result<Self, ApiGatewayError> {
        let headers = request.headers();
        let url = request.uri().path_and_query();
        if url.map_or(0, |url| url.as_str().len()) > MAX_URL_CHARACTERS {
            return Err(ApiGatewayError(StatusCode::URI_TOO_LONG, "URI Too Long"));
        }
        let is_upgrade = contains_token(headers, &header::CONNECTION, "upgrade")
            && contains_token(headers, &header::UPGRADE, "websocket");
        if request.method() != Method::GET || !is_upgrade {
            let status = StatusCode::UPGRADE_REQUIRED;
            return Err(ApiGatewayError(status, "Upgrade Required"));
        }
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        match headers.get(header::SEC_WEBSOCKET_KEY) {
            Some(key) if version.is_some_and(|version| version == "13") => Ok(Self {
                accept_key: derive_accept_key(key.as_bytes()),
            }),
            _ => Err(ApiGatewayError(StatusCode::BAD_REQUEST, "Bad Request")),
        }
    }

    /// Returns the response that upgrades the connection to a WebSocket.
    pub(super) fn accept(self, subprotocol: Option<HeaderValue>) -> Response {
        let mut response = response::empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        // The key is base64, which is always a valid header value.
        if let Ok(accept_key) = HeaderValue::try_from(self.accept_key) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key);
        }
        if let Some(subprotocol) = subprotocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        response
    }
}

/// Whether a comma-separated header contains this token, in any case.
fn contains_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
