//! Translates between messages of a WebSocket and the requests and answers of the two subprotocols.

use flowgate_proto::{
    DataRequest, DecodeLimits, DocumentsError,
    jina::StatusProto,
    json::{self, JsonStyle, WriteError},
};
use flowgate_websocket::{Message, ReceiveError};
use prost::Message as _;

use super::{
    close::Close,
    subprotocol::{self, Input, Subprotocol},
};
use crate::inbound::decoded::DecodedBytes;

impl Subprotocol {
    /// Reads a message from the client; what JSON becomes is held by `memory`.
    pub(super) fn read(
        self,
        message: &Message,
        limits: DecodeLimits,
        memory: Option<&DecodedBytes>,
    ) -> Result<Input, Close> {
        match (self, message) {
            (Self::Json, Message::Text(text)) => subprotocol::read_json(text, limits, memory),
            (Self::Bytes, Message::Binary(bytes)) => subprotocol::read_bytes(bytes),
            (Self::Json, Message::Binary(_)) => Err(Close::wrong_frame_type(
                "binary frame in a JSON session: offer the subprotocol `bytes` to send protobuf",
            )),
            (Self::Bytes, Message::Text(_)) => Err(Close::wrong_frame_type(
                "text frame in a session of the subprotocol `bytes`",
            )),
            // The session handles control frames before it calls this.
            (_, Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => Ok(Input::Ignored),
        }
    }

    /// Writes an answer.
    pub(super) fn write(self, answer: &DataRequest) -> Result<Message, Close> {
        match self {
            Self::Bytes => Ok(Message::Binary(answer.encode_to_vec().into())),
            Self::Json => json::write_websocket(answer)
                .map(|text| Message::Text(text.into()))
                .map_err(|error| match error {
                    WriteError::Documents(DocumentsError::TooLarge(exceeded)) => {
                        Close::too_large(&exceeded.to_string())
                    }
                    error => Close::internal(&error.to_string()),
                }),
        }
    }

    /// Writes the outcome of a dry run.
    pub(super) fn write_status(self, status: &StatusProto) -> Message {
        match self {
            Self::Bytes => Message::Binary(status.encode_to_vec().into()),
            Self::Json => Message::Text(json::write_status(status, JsonStyle::WebSocket).into()),
        }
    }
}

impl From<ReceiveError> for Close {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Protocol(reason) => Self::protocol_error(reason),
            ReceiveError::InvalidText => Self::unreadable(&error.to_string()),
            ReceiveError::OverBudget(_) => Self::overloaded(&error.to_string()),
            ReceiveError::TooLarge { .. } => Self::too_large(&error.to_string()),
        }
    }
}

impl From<Close> for flowgate_websocket::Close {
    fn from(Close { code, reason }: Close) -> Self {
        Self { code, reason }
    }
}
