//! Why a WebSocket ends -> the close frame that says so (RFC 6455, section 7.4.1).

use axum::extract::ws::{CloseFrame, Message};
use tokio_tungstenite::tungstenite;

use crate::error::{GatewayError, MAX_CLOSE_REASON};

/// The end of a session, as the client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    /// The client said that nothing more comes, and has all its answers.
    pub(super) const fn done() -> Self {
        Self {
            code: 1000,
            reason: String::new(),
        }
    }

    /// The Gateway stops.
    pub(super) fn going_away() -> Self {
        Self::because(1001, "the Gateway is shutting down")
    }

    /// A frame of the kind that this subprotocol does not use.
    pub(super) fn wrong_kind(reason: &str) -> Self {
        Self::because(1003, reason)
    }

    /// A payload that is not what its frame says: no JSON, no protobuf.
    pub(super) fn unreadable(reason: &str) -> Self {
        Self::because(1007, reason)
    }

    /// A request that can be read and does not hold.
    pub(super) fn invalid(reason: &str) -> Self {
        Self::because(1008, reason)
    }

    /// The Gateway failed at its own task.
    pub(super) fn internal(reason: &str) -> Self {
        Self::because(1011, reason)
    }

    fn because(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason[..reason.floor_char_boundary(MAX_CLOSE_REASON)].to_owned(),
        }
    }
}

impl From<&GatewayError> for Close {
    fn from(error: &GatewayError) -> Self {
        Self::because(error.code().close_code(), &error.close_reason())
    }
}

/// What reading a frame fails with: the client broke the protocol, or is gone and hears nothing any more.
impl From<axum::Error> for Close {
    fn from(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(error)) => Self::because(1009, &error.to_string()),
            Some(tungstenite::Error::Utf8(_)) => Self::unreadable("a text frame is not UTF-8"),
            _ => Self::because(1002, &error.to_string()),
        }
    }
}

impl From<Close> for Message {
    fn from(Close { code, reason }: Close) -> Self {
        Self::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }))
    }
}
