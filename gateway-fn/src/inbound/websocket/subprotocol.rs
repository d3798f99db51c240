//! The content of messages of the subprotocols `json` and `bytes` -> requests, whoever owns the socket.

use flowgate_proto::{
    DataRequest,
    json::{self, EndpointFrom, FieldError, Json, Loc},
};
use http::HeaderValue;
use prost::Message as _;

use super::close::Close;

/// How data requests stand in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// JSON as text.
    Json,
    /// Protobuf.
    Bytes,
}

/// What a message means.
#[derive(Debug)]
pub(crate) enum Input {
    Request(Box<DataRequest>),
    /// Nothing more comes.
    End,
    /// A message without a meaning that does no harm.
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
}

/// A message of JSON.
pub(crate) fn read_json(text: &[u8]) -> Result<Input, Close> {
    read_body(&parse(text)?)
}

/// The text of a message as JSON.
pub(crate) fn parse(text: &[u8]) -> Result<Json, Close> {
    json::parse(text).map_err(|error| Close::unreadable(&format!("invalid JSON: {error}")))
}

/// A message of JSON that has been parsed.
pub(crate) fn read_body(body: &Json) -> Result<Input, Close> {
    let Json::Object(members) = body else {
        return Ok(Input::Ignored);
    };
    if members.is_empty() {
        return Ok(Input::End);
    }
    // Jina insists on the key, so that a forgotten `data` is not taken for a request without documents.
    if body.get("data").is_none() {
        return Err(Close::invalid("data: field required"));
    }
    match json::read_request(body, EndpointFrom::Body) {
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

/// A message of protobuf.
pub(crate) fn read_bytes(bytes: &bytes::Bytes) -> Result<Input, Close> {
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
