//! Frames of the subprotocols `json` and `bytes` -> requests, and answers -> frames.

use axum::{extract::ws::Message, http::HeaderValue};
use flowgate_proto::{
    DataRequest,
    jina::StatusProto,
    json::{self, EndpointFrom, FieldError, Form, Json, Loc},
};
use prost::Message as _;

use super::close::Close;

/// How data requests stand in frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subprotocol {
    /// Text frames of JSON.
    Json,
    /// Binary frames of protobuf.
    Bytes,
}

/// What a frame means.
#[derive(Debug)]
pub(super) enum Input {
    Request(Box<DataRequest>),
    /// Nothing more comes.
    End,
    /// A frame without a meaning that does no harm.
    Ignored,
}

impl Subprotocol {
    /// Exactly `bytes` means bytes; whatever else is offered, or nothing, means JSON (facts of Jina 3.13).
    pub(super) fn offered(header: Option<&HeaderValue>) -> Self {
        match header {
            Some(value) if value == "bytes" => Self::Bytes,
            _ => Self::Json,
        }
    }

    pub(super) fn read(self, frame: &Message) -> Result<Input, Close> {
        match (self, frame) {
            (Self::Json, Message::Text(text)) => read_json(text.as_bytes()),
            (Self::Bytes, Message::Binary(bytes)) => read_bytes(bytes),
            (Self::Json, Message::Binary(_)) => Err(Close::wrong_kind(
                "a binary frame in a JSON session: offer the subprotocol `bytes` for protobuf",
            )),
            (Self::Bytes, Message::Text(_)) => Err(Close::wrong_kind(
                "a text frame in a session of the subprotocol `bytes`",
            )),
            // A pong to a ping goes out by itself; a close ends the session where frames are taken in.
            (_, Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => Ok(Input::Ignored),
        }
    }

    pub(super) fn write(self, answer: &DataRequest) -> Result<Message, Close> {
        match self {
            Self::Bytes => Ok(Message::Binary(answer.encode_to_vec().into())),
            Self::Json => json::write_websocket(answer)
                .map(|text| Message::Text(text.into()))
                .map_err(|error| Close::internal(&error.to_string())),
        }
    }

    pub(super) fn write_status(self, status: &StatusProto) -> Message {
        match self {
            Self::Bytes => Message::Binary(status.encode_to_vec().into()),
            Self::Json => Message::Text(json::write_status(status, Form::WebSocket).into()),
        }
    }
}

fn read_json(text: &[u8]) -> Result<Input, Close> {
    let body =
        json::parse(text).map_err(|error| Close::unreadable(&format!("invalid JSON: {error}")))?;
    let Json::Object(members) = &body else {
        return Ok(Input::Ignored);
    };
    if members.is_empty() {
        return Ok(Input::End);
    }
    // Jina insists on the key, so that a forgotten `data` is not taken for a request without documents.
    if body.get("data").is_none() {
        return Err(Close::invalid("data: field required"));
    }
    match json::read_request(&body, EndpointFrom::Body) {
        Ok(request) => Ok(Input::Request(Box::new(request))),
        Err(errors) => Err(Close::invalid(
            &errors.first().map(place_and_message).unwrap_or_default(),
        )),
    }
}

/// `data.0.text: str type expected`: the way from the frame on, which HTTP's begins with `body`.
fn place_and_message(error: &FieldError) -> String {
    let steps = error.loc.iter().skip(1).map(|step| match step {
        Loc::Key(key) => key.clone(),
        Loc::Index(index) => index.to_string(),
    });
    format!("{}: {}", steps.collect::<Vec<_>>().join("."), error.msg)
}

/// The single byte that ends a client's input (facts of Jina 3.13).
const END: &[u8] = &[0];

fn read_bytes(bytes: &bytes::Bytes) -> Result<Input, Close> {
    if bytes == END {
        return Ok(Input::End);
    }
    // An empty message is a request without anything in it; an empty frame is a client's slip.
    if bytes.is_empty() {
        return Err(Close::unreadable("the frame is empty"));
    }
    DataRequest::decode(bytes.clone())
        .map(|request| Input::Request(Box::new(request)))
        .map_err(|_| Close::unreadable("the frame is no jina.DataRequestProto"))
}
