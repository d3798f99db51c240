//! The messages of a WebSocket, and why one cannot be read.

use bytes::Bytes;
use flowgate_server::budget::OverBudget;

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text; the bytes are UTF-8.
    Text(Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
    /// A ping, which the peer must answer; the payload has at most 125 bytes.
    Ping(Bytes),
    /// The answer to a ping, with the same payload.
    Pong(Bytes),
    /// The end of what the peer sends.
    Close(Option<Close>),
}

/// The content of a close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code (RFC 6455, section 7.4).
    pub code: u16,
    /// The reason. Only its beginning is sent, because a close frame has room for 123 bytes.
    pub reason: String,
}

/// Why a frame cannot be read. Nothing can be read after it, except after `OverBudget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The frame violates the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text message or the reason of a close frame is not UTF-8.
    #[error("the text is not valid UTF-8")]
    InvalidText,
    /// The message exceeds the limit.
    #[error("the message has more than {limit} bytes, the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The budget has no room for the message. The rest of it is skipped.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
}

/// Bytes of a reason that fit into a close frame beside the code (RFC 6455, section 5.5).
const MAX_REASON_BYTES: usize = 123;

impl Close {
    /// Encodes the payload of the close frame.
    pub(crate) fn payload(&self) -> Bytes {
        let end = self.reason.floor_char_boundary(MAX_REASON_BYTES);
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend(self.reason.bytes().take(end));
        payload.into()
    }

    /// Decodes the payload of a close frame; an empty one has neither code nor reason.
    pub(crate) fn read(payload: &[u8]) -> Result<Option<Self>, ReceiveError> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return match payload {
                [] => Ok(None),
                _ => Err(ReceiveError::Protocol(
                    "the close frame has only one byte of a code",
                )),
            };
        };
        let code = u16::from_be_bytes(*code);
        if !is_allowed(code) {
            return Err(ReceiveError::Protocol("the close code is not allowed"));
        }
        let reason = str::from_utf8(reason).map_err(|_| ReceiveError::InvalidText)?;
        Ok(Some(Self {
            code,
            reason: reason.to_owned(),
        }))
    }
}

/// Whether a peer may send this close code. 1004 to 1006 and 1015 have no meaning in a frame.
const fn is_allowed(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
