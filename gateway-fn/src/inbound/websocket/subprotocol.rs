//! Reads requests from messages of the subprotocols `json` and `bytes`, for the container's sockets and for API Gateway's.

use flowgate_proto::{
    DataRequest, DecodeLimits,
    json::{
        self, EndpointFrom, FieldError, Json, Loc, ReadError, RequestBody, SyntaxError,
        SyntaxErrorKind,
    },
};
use http::HeaderValue;
use prost::Message as _;

use super::close::Close;
use crate::inbound::decoded::DecodedBytes;

/// The encoding of requests in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// JSON as text.
    Json,
    /// Protobuf.
    Bytes,
}

/// The content of a message.
#[derive(Debug)]
pub(crate) enum Input {
    Request(Box<DataRequest>),
    /// The client sends no more requests.
    End,
    /// A message without meaning, which does no harm.
    Ignored,
}

impl Subprotocol {
    /// Chooses by `sec-websocket-protocol`: `bytes` alone means protobuf, anything else JSON (Jina 3.13).
    pub(super) fn from_header(header: Option<&HeaderValue>) -> Self {
        match header {
            Some(value) if value == "bytes" => Self::Bytes,
            _ => Self::Json,
        }
    }
}

/// Reads a JSON message.
pub(super) fn read_json(
    text: &[u8],
    limits: DecodeLimits,
    memory: Option<&DecodedBytes>,
) -> Result<Input, Close> {
    let parsed = match memory {
        Some(memory) => json::parse_request_counted(text, limits, memory),
        None => json::parse_request(text, limits),
    };
    read_body(parsed.map_err(|error| unparsed(&error))?)
}

/// Parses the text of a JSON message.
pub(crate) fn parse(text: &[u8], limits: DecodeLimits) -> Result<RequestBody<'static>, Close> {
    json::parse_request(text, limits).map_err(|error| unparsed(&error))
}

fn unparsed(error: &SyntaxError) -> Close {
    match error.kind {
        SyntaxErrorKind::TooLarge(exceeded) => exceeded.into(),
        SyntaxErrorKind::Grammar | SyntaxErrorKind::Unreadable => {
            Close::unreadable(&format!("invalid JSON: {error}"))
        }
    }
}

/// Reads a JSON message that has been parsed.
pub(crate) fn read_body(body: RequestBody<'_>) -> Result<Input, Close> {
    let Json::Object(members) = body.json() else {
        return Ok(Input::Ignored);
    };
    if members.is_empty() {
        return Ok(Input::End);
    }
    // Jina requires the key, so that a client that forgets `data` does not send a request without documents.
    if body.json().get("data").is_none() {
        return Err(Close::invalid("data: field required"));
    }
    match json::read_request(body, EndpointFrom::Body) {
        Ok(request) => Ok(Input::Request(Box::new(request))),
        Err(ReadError::TooLarge(exceeded)) => Err(exceeded.into()),
        Err(ReadError::Invalid(errors)) => Err(Close::invalid(
            &errors.first().map(describe).unwrap_or_default(),
        )),
    }
}

/// Formats an error as `data.0.text: str type expected`. The path omits its first step, `body`, which only HTTP has.
fn describe(error: &FieldError) -> String {
    let steps = error.loc.iter().skip(1).map(|step| match step {
        Loc::Key(key) => key.clone(),
        Loc::Index(index) => index.to_string(),
    });
    format!("{}: {}", steps.collect::<Vec<_>>().join("."), error.msg)
}

/// The message that ends a client's input (Jina 3.13).
const END: &[u8] = &[0];

/// Reads a protobuf message.
pub(crate) fn read_bytes(bytes: &bytes::Bytes) -> Result<Input, Close> {
    if bytes == END {
        return Ok(Input::End);
    }
    // Zero bytes are a valid empty protobuf message, but from a client they are a mistake.
    if bytes.is_empty() {
        return Err(Close::unreadable("the frame is empty"));
    }
    DataRequest::decode(bytes.clone())
        .map(|request| Input::Request(Box::new(request)))
        .map_err(|_| Close::unreadable("the frame is not a valid jina.DataRequestProto"))
}
