//! Translates between axum's WebSocket frames and the messages of the two subprotocols.

use axum::extract::ws::{CloseFrame, Message};
use flowgate_proto::{
    DataRequest, DecodeLimits, DocumentsError,
    jina::StatusProto,
    json::{self, JsonStyle, WriteError},
};
use prost::Message as _;
use tokio_tungstenite::tungstenite;

use super::{
    close::Close,
    subprotocol::{self, Input, Subprotocol},
};
use crate::error::MAX_CLOSE_REASON_BYTES;

impl Subprotocol {
    /// Reads a frame from the client.
    pub(super) fn read(self, frame: &Message, limits: DecodeLimits) -> Result<Input, Close> {
        match (self, frame) {
            (Self::Json, Message::Text(text)) => subprotocol::read_json(text.as_bytes(), limits),
            (Self::Bytes, Message::Binary(bytes)) => subprotocol::read_bytes(bytes),
            (Self::Json, Message::Binary(_)) => Err(Close::wrong_frame_type(
                "binary frame in a JSON session: offer the subprotocol `bytes` to send protobuf",
            )),
            (Self::Bytes, Message::Text(_)) => Err(Close::wrong_frame_type(
                "text frame in a session of the subprotocol `bytes`",
            )),
            // axum answers pings, and the session handles close frames before it calls this.
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

/// Maps the errors of reading a frame. A client that has disconnected never receives the close frame.
impl From<axum::Error> for Close {
    fn from(error: axum::Error) -> Self {
        let error = error.into_inner();
        match error.downcast_ref::<tungstenite::Error>() {
            Some(tungstenite::Error::Capacity(error)) => Self::too_large(&error.to_string()),
            Some(tungstenite::Error::Utf8(_)) => {
                Self::unreadable("the text frame is not valid UTF-8")
            }
            _ => Self::protocol_error(&error.to_string()),
        }
    }
}

impl From<Close> for Message {
    fn from(Close { code, mut reason }: Close) -> Self {
        reason.truncate(reason.floor_char_boundary(MAX_CLOSE_REASON_BYTES));
        Self::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }))
    }
}
