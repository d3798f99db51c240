//! Checks the request that opens a WebSocket, and answers it (RFC 6455, section 4.2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use ring::digest;

use crate::socket::Socket;

/// The connection of a WebSocket, once the answer to its handshake has been sent.
#[derive(Debug)]
pub struct Upgrade(OnUpgrade);

/// A connection that has been taken over from HTTP.
pub type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// Why a handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The method is not GET.
    #[error("a WebSocket is opened with GET")]
    Method,
    /// The request came over another version of HTTP, which has no upgrades.
    #[error("a WebSocket is opened over HTTP/1.1")]
    HttpVersion,
    /// `connection` does not contain `upgrade`.
    #[error("the header `connection` must contain `upgrade`")]
    Connection,
    /// `upgrade` is not `websocket`.
    #[error("the header `upgrade` must be `websocket`")]
    Upgrade,
    /// The version of the protocol is not 13.
    #[error("the header `sec-websocket-version` must be 13")]
    Version,
    /// The key is missing, repeated, or not 16 bytes of base64.
    #[error("the header `sec-websocket-key` must be 16 bytes of base64")]
    Key,
    /// The request has a body, which the bytes after the handshake would be taken for, or the reverse.
    #[error("a WebSocket is opened by a request without a body")]
    Body,
    /// The server of this request cannot upgrade connections.
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
}

/// What is appended to the key before it is hashed (RFC 6455, section 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Checks the handshake, and returns its answer, which selects no subprotocol, and the connection.
///
/// # Errors
/// When the request does not open a WebSocket of version 13.
pub fn accept<B>(request: &mut Request<B>) -> Result<(Response<()>, Upgrade), HandshakeError> {
    let key = check(request)?;
    if request.extensions().get::<OnUpgrade>().is_none() {
        return Err(HandshakeError::NotUpgradable);
    }
    let upgrade = hyper::upgrade::on(request);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().extend([
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ]);
    Ok((response, Upgrade(upgrade)))
}

/// Checks the request and returns the answer to its key.
fn check<B>(request: &Request<B>) -> Result<HeaderValue, HandshakeError> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(HandshakeError::Method);
    }
    if request.version() != Version::HTTP_11 {
        return Err(HandshakeError::HttpVersion);
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(HandshakeError::Connection);
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if has_body(headers) {
        return Err(HandshakeError::Body);
    }
    let version = single(headers, &header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        return Err(HandshakeError::Version);
    }
    single(headers, &header::SEC_WEBSOCKET_KEY)
        .and_then(|key| answer_key(key.as_bytes()))
        .ok_or(HandshakeError::Key)
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    // Zeros in any number.
    let has_length = length.is_some_and(|length| length.as_bytes().iter().any(|b| *b != b'0'));
    has_length || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Returns the value of a header that must not be repeated.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whether one of the header's values, which commas separate, is this token.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|value| value.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn answer_key(key: &[u8]) -> Option<HeaderValue> {
    let nonce = STANDARD.decode(key).ok()?;
    if nonce.len() != 16 {
        return None;
    }
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key);
    sha1.update(KEY_SUFFIX);
    HeaderValue::try_from(STANDARD.encode(sha1.finish())).ok()
}

impl HandshakeError {
    /// The status of the answer: 426 for another version of the protocol, 405 for another method, else 400.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HttpVersion
            | Self::Connection
            | Self::Upgrade
            | Self::Key
            | Self::Body
            | Self::NotUpgradable => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer, with the error as its text. It names the supported version (RFC 6455, section 4.4).
    #[must_use]
    pub fn response(self) -> Response<String> {
        let mut response = Response::new(format!("{self}\n"));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        match self {
            Self::Version => {
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            Self::HttpVersion
            | Self::Connection
            | Self::Upgrade
            | Self::Key
            | Self::Body
            | Self::NotUpgradable => {}
        }
        response
    }
}

impl Upgrade {
    /// Waits until the answer has been sent. Returns `None` if the client disconnects before.
    pub async fn into_socket(self, max_message_bytes: usize) -> Option<Socket<Upgraded>> {
        let upgraded = self.0.await.ok()?;
        Some(Socket::new(TokioIo::new(upgraded), max_message_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_rfc_has_its_answer() {
        let answer = answer_key(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(answer.expect("valid"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_that_is_not_16_bytes_of_base64_is_refused() {
        for key in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZQ==",
            "dGhlIHNhbXBsZSBub25jZSE=",
        ] {
            assert!(answer_key(key.as_bytes()).is_none(), "{key}");
        }
    }
}
