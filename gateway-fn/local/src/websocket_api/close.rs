//! How a WebSocket ends: the code and reason of `$disconnect`, and the closing handshake with the client. The codes and
//! reasons come from API Gateway's quotas and recorded events (aws/chalice#2060), except the reasons of
//! [`Close::unreadable`] and of unsupported binary frames, for which no recording exists.

use std::time::Duration;

use futures_util::StreamExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, error::ProtocolError, protocol::CloseFrame},
};

/// How long the client may take to answer a close frame before the connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the client must be silent before a connection with unreadable frames is dropped. Closing a socket with
/// unread bytes resets the connection, and the client might lose the close frame.
const DRAIN_SILENCE: Duration = Duration::from_millis(250);

/// A client's WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// How a WebSocket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
    handshake: CloseHandshake,
}

/// What is left of the closing handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseHandshake {
    /// The client has sent its close frame, which is being answered.
    ByClient,
    /// Send a close frame and wait for the client's close frame.
    ByServer,
    /// Send a close frame and discard what the client sends, because its frames are no longer readable.
    ByServerWithoutFrames,
    /// The connection is lost.
    Impossible,
}

impl Close {
    /// The function closed the connection through `@connections`.
    pub(super) fn deleted() -> Self {
        Self::by_server(1000, "Connection Closed Normally")
    }

    /// The connection was idle or open for too long, or the emulator stops.
    pub(super) fn going_away() -> Self {
        Self::by_server(1001, "Going away")
    }

    pub(super) fn binary_frame() -> Self {
        Self::by_server(1003, "binary frames are not supported")
    }

    /// The client sent a close frame.
    pub(super) fn by_client(frame: Option<CloseFrame>) -> Self {
        let (code, reason) = match frame {
            Some(frame) => (frame.code.into(), frame.reason.to_string()),
            None => (1005, "Client-side close frame status not set".to_owned()),
        };
        Self {
            code,
            reason,
            handshake: CloseHandshake::ByClient,
        }
    }

    /// The connection was lost without a close frame.
    pub(super) fn lost() -> Self {
        Self {
            code: 1006,
            reason: "Connection closed abnormally".to_owned(),
            handshake: CloseHandshake::Impossible,
        }
    }

    /// The client's frame could not be read.
    pub(super) fn unreadable(error: &tungstenite::Error) -> Self {
        let (code, reason) = match error {
            tungstenite::Error::Capacity(_) => (1009, "the frame or the message is too large"),
            tungstenite::Error::Utf8(_) => (1007, "a text frame is not UTF-8"),
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return Self::lost();
            }
            tungstenite::Error::Protocol(_) => (1002, "the frame violates the WebSocket protocol"),
            _ => return Self::lost(),
        };
        Self {
            handshake: CloseHandshake::ByServerWithoutFrames,
            ..Self::by_server(code, reason)
        }
    }

    fn by_server(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            handshake: CloseHandshake::ByServer,
        }
    }

    /// Completes the closing handshake within [`CLOSE_TIMEOUT`].
    pub(super) async fn shake_hands(&self, mut socket: Socket) {
        let frame = CloseFrame {
            code: self.code.into(),
            reason: self.reason.as_str().into(),
        };
        let handshake = async {
            match self.handshake {
                CloseHandshake::Impossible => {}
                CloseHandshake::ByClient => while let Some(Ok(_)) = socket.next().await {},
                CloseHandshake::ByServer => {
                    if socket.close(Some(frame)).await.is_ok() {
                        while let Some(Ok(_)) = socket.next().await {}
                    }
                }
                CloseHandshake::ByServerWithoutFrames => {
                    if socket.close(Some(frame)).await.is_ok() {
                        drain(&mut socket).await;
                    }
                }
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, handshake)
            .await
            .is_err()
        {
            tracing::debug!(code = self.code, "closing handshake timed out");
        }
    }
}

/// Discards the client's bytes until it is silent.
async fn drain(socket: &mut Socket) {
    let mut bytes = vec![0; 16 << 10];
    let stream = socket.get_mut();
    while let Ok(Ok(1..)) = tokio::time::timeout(DRAIN_SILENCE, stream.read(&mut bytes)).await {}
}
