//! Reads the text of a client's message: what it asks for, and the format of its reply.
//!
//! A function keeps no state for a connection, so every message shows its own format. A message that is base64 is protobuf,
//! everything else is JSON, or a mistake whose error is JSON. A JSON object begins with `{`, which is not a base64 digit.
//! `ping`, and numbers and words of JSON, are base64 too, but the bytes that they encode are never a request: their wire type
//! would be 3, 6 or 7.

use base64::Engine as _;
use flowgate_proto::{DataRequest, DecodeLimits, json::Json, limits};
use prost::Message as _;

use super::{encode::BASE64, event::Event};
use crate::inbound::websocket::{
    close::Close,
    subprotocol::{self, Input, Subprotocol},
};

/// A client's message.
#[derive(Debug)]
pub(super) struct Message {
    /// The format of its reply.
    pub(super) format: Subprotocol,
    /// The text as the client sent it, or base64 where API Gateway converted it to bytes.
    text: String,
    /// Whether it came by the route `ping`.
    is_ping_route: bool,
}

/// What a message asks for.
#[derive(Debug)]
pub(super) enum Content {
    /// The client keeps an idle connection open, and receives this text.
    Ping(&'static str),
    /// The same input as in the container.
    Input(Input),
}

impl Message {
    pub(super) fn from_event(event: &Event) -> Self {
        let body = event.body.clone().unwrap_or_default();
        let text = match event.is_base64_encoded() {
            true => undo_conversion(body),
            false => body,
        };
        Self::new(text, event.route_key() == "ping")
    }

    /// A message that an asynchronous event of this function brings.
    pub(super) fn from_text(text: String) -> Self {
        Self::new(text, false)
    }

    fn new(text: String, is_ping_route: bool) -> Self {
        Self {
            format: match is_base64(text.trim()) && !is_json_scalar(text.trim()) {
                true => Subprotocol::Bytes,
                false => Subprotocol::Json,
            },
            text,
            is_ping_route,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Reads what the message asks for.
    ///
    /// # Errors
    /// When it is invalid; the error has the close code that the container sends.
    pub(super) fn read(&self) -> Result<Content, Close> {
        let (bytes, limit) = (self.text.len(), limits::MAX_WEBSOCKET_MESSAGE_BYTES);
        if bytes > limit {
            let reason = format!("the message is {bytes} bytes, and the limit is {limit}");
            return Err(Close::too_large(&reason));
        }
        let text = self.text.trim();
        match self.format {
            _ if text == "ping" => Ok(Content::Ping("pong")),
            Subprotocol::Json => self.read_json(text),
            Subprotocol::Bytes => read_protobuf(text),
        }
    }

    fn read_json(&self, text: &str) -> Result<Content, Close> {
        if text.is_empty() {
            return Err(Close::unreadable("the message is empty"));
        }
        // API Gateway's limit for a message bounds its documents far below the default limits.
        let body = subprotocol::parse(text.as_bytes(), DecodeLimits::default())?;
        let json = body.json();
        let is_ping_action = json.get("action").and_then(Json::as_str) == Some("ping");
        // A request may carry an `action` that chose its route.
        if (is_ping_action || self.is_ping_route) && json.get("data").is_none() {
            return Ok(Content::Ping(r#"{"action":"pong"}"#));
        }
        let id = clients_request_id(json).map(str::to_owned);
        let mut input = subprotocol::read_body(body)?;
        if let Input::Request(request) = &mut input
            && let Some(id) = id
        {
            request.header.request_id = id;
        }
        Ok(Content::Input(input))
    }
}

fn read_protobuf(text: &str) -> Result<Content, Close> {
    let bytes = BASE64
        .decode(text)
        .map_err(|_| Close::unreadable("the message is not valid base64"))?;
    let input = subprotocol::read_bytes(&bytes.into())?;
    match &input {
        Input::Request(request) if request.header.request_id.len() > MAX_REQUEST_ID_BYTES => {
            let bytes = request.header.request_id.len();
            let reason = format!(
                "header.request_id is {bytes} bytes, and the limit is {MAX_REQUEST_ID_BYTES}"
            );
            Err(Close::invalid(&reason))
        }
        _ => Ok(Content::Input(input)),
    }
}

/// Returns `header.request_id`, where responses have it. The container ignores it, as Jina does, but its responses come
/// on one connection in an order that the client sees; on Lambda they come from separate invocations.
fn clients_request_id(body: &Json) -> Option<&str> {
    let id = body.get("header")?.get("request_id")?.as_str()?;
    (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()).then_some(id)
}

/// Whether text may be base64, by its characters and their number.
fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    // One digit alone, after groups of four, encodes no byte.
    !digits.is_empty() && digits.len() % 4 != 1 && digits.bytes().all(is_digit)
}

/// Whether text is a number or a word of JSON that might be taken for base64.
fn is_json_scalar(text: &str) -> bool {
    matches!(text, "null" | "true" | "false") || text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the client's text from a body that the integration converted to bytes. Bytes of protobuf stay base64.
fn undo_conversion(body: String) -> String {
    let decoded = BASE64.decode(body.trim()).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    text.filter(|text| is_text(text)).unwrap_or(body)
}

/// Whether UTF-8 is text and not protobuf. A request's first byte is the tag of a field: a control character, but for
/// `header` a line feed and for `data` a quotation mark, with which text may begin too.
fn is_text(utf8: &str) -> bool {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    if utf8.trim_start().starts_with('{') {
        return true;
    }
    let may_be_request = utf8.starts_with(['\n', '"']);
    let is_request = || may_be_request && DataRequest::decode(utf8.as_bytes()).is_ok();
    !utf8.contains(is_control) && !is_request()
}

/// The largest number of bytes in a client's id for a request, which goes into its response and every part of it.
const MAX_REQUEST_ID_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message asks for, in words.
    fn read(text: &str) -> String {
        match Message::from_text(text.to_owned()).read() {
            Ok(Content::Ping(pong)) => pong.to_owned(),
            Ok(Content::Input(Input::Request(request))) => {
                format!("request {}", request.header.request_id)
            }
            Ok(Content::Input(input)) => format!("{input:?}"),
            Err(close) => format!("{} {}", close.code, close.reason),
        }
    }

    #[test]
    fn a_message_shows_its_format_by_its_first_character() {
        let mut request = DataRequest::default();
        request.header.request_id = "mine".to_owned();
        let bytes = BASE64.encode(request.encode_to_vec());
        assert_eq!(read(&bytes), "request mine");
        assert_eq!(read(bytes.trim_end_matches('=')), "request mine");
        assert_eq!(
            read(r#" {"header":{"request_id":"mine"},"data":[]}"#),
            "request mine"
        );
        assert_eq!(read("{}"), "End");
        assert_eq!(read("AA=="), "End");
        assert_eq!(read("[]"), "Ignored");
    }

    #[test]
    fn a_body_that_the_integration_has_converted_is_the_clients_text() {
        let mut request = DataRequest::default();
        request.header.request_id = "0123456789abcdef0123456789abcdef".to_owned();
        let bytes = request.encode_to_vec();
        assert!(
            bytes
                .iter()
                .all(|byte| *byte == b'\n' || !byte.is_ascii_control())
        );
        let protobuf = BASE64.encode(&bytes);
        for text in [
            r#"{"data":[]}"#,
            "\n{\"data\":[]}",
            "ping",
            "hello there",
            "\u{439}\u{43e}",
            "\"text\"",
            "<xml/>",
            &protobuf,
        ] {
            assert_eq!(undo_conversion(BASE64.encode(text)), text);
        }
        // Protobuf, also where its bytes are printable.
        for body in [protobuf, "AA==".to_owned(), BASE64.encode([0xff, 0xfe])] {
            assert_eq!(undo_conversion(body.clone()), body);
        }
    }

    #[test]
    fn a_ping_does_not_reach_the_flow() {
        assert_eq!(read("ping"), "pong");
        assert!(
            DataRequest::decode(&BASE64.decode("ping").expect("base64")[..]).is_err(),
            "otherwise the word would be ambiguous"
        );
        assert_eq!(read(r#"{"action":"ping"}"#), r#"{"action":"pong"}"#);
        assert!(read(r#"{"action":"ping","data":[]}"#).starts_with("request "));
    }

    #[test]
    fn an_invalid_message_has_the_close_code_of_a_container() {
        assert_eq!(read(""), "1007 the message is empty");
        assert!(read("{").starts_with("1007 invalid JSON"));
        assert_eq!(read(r#"{"a":1}"#), "1008 data: field required");
        let mut long = DataRequest::default();
        long.header.request_id = "x".repeat(MAX_REQUEST_ID_BYTES + 1);
        assert_eq!(
            read(&BASE64.encode(long.encode_to_vec())),
            "1008 header.request_id is 129 bytes, and the limit is 128"
        );
        assert_eq!(
            read("test"),
            "1007 the frame is not a valid jina.DataRequestProto"
        );
    }

    #[test]
    fn the_error_of_a_message_that_is_neither_json_nor_base64_is_json() {
        for text in [
            "hello there",
            "hello",
            "a:b",
            "\u{439}\u{43e}",
            "<xml/>",
            "AA=A",
        ] {
            let message = Message::from_text(text.to_owned());
            assert_eq!(message.format, Subprotocol::Json, "{text}");
            let error = read(text);
            assert!(error.starts_with("1007 invalid JSON"), "{text}: {error}");
        }
        for text in ["null", "true", "12", "1234"] {
            let message = Message::from_text(text.to_owned());
            assert_eq!(message.format, Subprotocol::Json, "{text}");
            assert_eq!(read(text), "Ignored", "as in the container");
        }
    }
}
