//! What is wrong with a message, or why a WebSocket ends -> a close code (RFC 6455, section 7.4.1) and a reason.

use crate::error::GatewayError;

/// The end of a session, as the client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    /// Of any length; a close frame carries its beginning.
    pub(crate) reason: String,
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

    /// The client broke the protocol.
    pub(super) fn broken(reason: &str) -> Self {
        Self::because(1002, reason)
    }

    /// A frame of the kind that this subprotocol does not use.
    pub(super) fn wrong_kind(reason: &str) -> Self {
        Self::because(1003, reason)
    }

    /// A payload that is not what its frame says: no JSON, no protobuf.
    pub(crate) fn unreadable(reason: &str) -> Self {
        Self::because(1007, reason)
    }

    /// A request that can be read and does not hold.
    pub(crate) fn invalid(reason: &str) -> Self {
        Self::because(1008, reason)
    }

    /// More than is taken.
    pub(crate) fn too_large(reason: &str) -> Self {
        Self::because(1009, reason)
    }

    /// The Gateway failed at its own task.
    pub(super) fn internal(reason: &str) -> Self {
        Self::because(1011, reason)
    }

    fn because(code: u16, reason: &str) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
        }
    }
}

impl From<&GatewayError> for Close {
    fn from(error: &GatewayError) -> Self {
        Self::because(error.code().close_code(), &error.close_reason())
    }
}
