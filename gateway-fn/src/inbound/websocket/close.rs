//! Maps invalid messages and the other ends of a WebSocket to close codes (RFC 6455, section 7.4.1) and reasons.

use flowgate_proto::LimitExceeded;

use crate::error::GatewayError;

/// The code and reason with which a session is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    /// The reason, of any length; a close frame carries only its beginning.
    pub(crate) reason: String,
}

impl Close {
    /// The client ended its input and has received all answers.
    pub(super) const fn normal() -> Self {
        Self {
            code: 1000,
            reason: String::new(),
        }
    }

    /// The Gateway is stopping.
    pub(super) fn going_away() -> Self {
        Self::new(1001, "the Gateway is shutting down")
    }

    /// The client violated the WebSocket protocol.
    pub(super) fn protocol_error(reason: &str) -> Self {
        Self::new(1002, reason)
    }

    /// A text frame where the subprotocol uses binary frames, or the reverse.
    pub(super) fn wrong_frame_type(reason: &str) -> Self {
        Self::new(1003, reason)
    }

    /// The payload is not valid JSON or protobuf.
    pub(crate) fn unreadable(reason: &str) -> Self {
        Self::new(1007, reason)
    }

    /// The payload is readable, but the request in it is invalid.
    pub(crate) fn invalid(reason: &str) -> Self {
        Self::new(1008, reason)
    }

    /// The message exceeds the size limit.
    pub(crate) fn too_large(reason: &str) -> Self {
        Self::new(1009, reason)
    }

    /// The Gateway failed.
    pub(super) fn internal(reason: &str) -> Self {
        Self::new(1011, reason)
    }

    /// The budget of bytes has no room for a message.
    pub(super) fn overloaded(reason: &str) -> Self {
        Self::new(1013, reason)
    }

    /// Whether there was no room for a message.
    pub(super) const fn is_overloaded(&self) -> bool {
        self.code == 1013
    }

    fn new(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
        }
    }
}

impl From<LimitExceeded> for Close {
    fn from(exceeded: LimitExceeded) -> Self {
        match exceeded {
            LimitExceeded::NoRoom => Self::overloaded(&exceeded.to_string()),
            LimitExceeded::Documents { .. } | LimitExceeded::DecodedBytes { .. } => {
                Self::too_large(&exceeded.to_string())
            }
        }
    }
}

impl From<&GatewayError> for Close {
    fn from(error: &GatewayError) -> Self {
        Self::new(error.code().close_code(), &error.close_reason())
    }
}
