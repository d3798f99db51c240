//! The text of a client's message -> what it means, and in which form its answer is wanted.
//!
//! Every message says by itself what it is. A JSON object begins with `{`, which is no digit of base64; whatever begins
//! with a digit of base64 is protobuf in base64. `ping` would be four such digits, but what they stand for is no
//! protobuf (its wire type would be 6), so the word is free to mean itself.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flowgate_proto::{json::Json, limits};

use super::event::Event;
use crate::inbound::websocket::{
    close::Close,
    subprotocol::{self, Input, Subprotocol},
};

/// A client's message.
#[derive(Debug)]
pub(super) struct Message {
    /// The form of its answer.
    pub(super) form: Subprotocol,
    /// As it came, or base64 where API Gateway had made bytes of it.
    text: String,
    /// The route by which it came.
    by_ping: bool,
}

/// What a message means.
#[derive(Debug)]
pub(super) enum Meaning {
    /// The client keeps its connection from the limit on idle ones, and is answered this.
    Ping(&'static str),
    /// As in a container.
    Input(Input),
}

impl Message {
    pub(super) fn of(event: &Event) -> Self {
        let body = event.body.clone().unwrap_or_default();
        let text = match event.is_base64_encoded {
            true => text_of_converted(body),
            false => body,
        };
        let by_ping = event.request_context.route_key == "ping";
        Self::new(text, by_ping)
    }

    /// A message that the function handed to itself.
    pub(super) fn handed_over(text: String) -> Self {
        Self::new(text, false)
    }

    fn new(text: String, by_ping: bool) -> Self {
        let first = text.trim_start().bytes().next();
        let form = match first {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => {
                Subprotocol::Bytes
            }
            _ => Subprotocol::Json,
        };
        Self {
            form,
            text,
            by_ping,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn read(&self) -> Result<Meaning, Close> {
        let (bytes, most) = (self.text.len(), limits::WEBSOCKET_MESSAGE_BYTES);
        if bytes > most {
            let reason = format!("the message is {bytes} bytes, and at most {most} are taken");
            return Err(Close::too_large(&reason));
        }
        let text = self.text.trim();
        match self.form {
            _ if text == "ping" => Ok(Meaning::Ping("pong")),
            Subprotocol::Json => self.read_json(text),
            Subprotocol::Bytes => {
                let bytes = BASE64.decode(text).map_err(|_| {
                    Close::unreadable("the message is neither a JSON object nor base64")
                })?;
                let input = subprotocol::read_bytes(&bytes.into())?;
                match &input {
                    Input::Request(request) if request.header.request_id.len() > MAX_ID => {
                        let reason = format!("the request's id has more than {MAX_ID} bytes");
                        Err(Close::invalid(&reason))
                    }
                    _ => Ok(Meaning::Input(input)),
                }
            }
        }
    }

    fn read_json(&self, text: &str) -> Result<Meaning, Close> {
        if text.is_empty() {
            return Err(Close::unreadable("the message is empty"));
        }
        let body = subprotocol::parse(text.as_bytes())?;
        let is_action = body.get("action").and_then(Json::as_str) == Some("ping");
        // A request may carry an `action` that chose its route.
        if (is_action || self.by_ping) && body.get("data").is_none() {
            return Ok(Meaning::Ping(r#"{"action":"pong"}"#));
        }
        let mut input = subprotocol::read_body(&body)?;
        if let Input::Request(request) = &mut input
            && let Some(id) = named_id(&body)
        {
            id.clone_into(&mut request.header.request_id);
        }
        Ok(Meaning::Input(input))
    }
}

/// `header.request_id`, where answers have it. A container ignores it, as Jina does, but its answers come on one
/// connection in the order that the client can see; here they come from invocations beside each other.
fn named_id(body: &Json) -> Option<&str> {
    let id = body.get("header")?.get("request_id")?.as_str()?;
    (1..=MAX_ID).contains(&id.len()).then_some(id)
}

/// The body of an integration that makes bytes of its text: JSON again, or base64 as it was.
fn text_of_converted(body: String) -> String {
    let decoded = BASE64.decode(body.trim()).ok();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    text.filter(|text| text.trim_start().starts_with('{') || text.trim() == "ping")
        .unwrap_or(body)
}

/// With or without `=` at the end.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of a client's id for a request: it goes into every answer and its parts.
const MAX_ID: usize = 128;

#[cfg(test)]
mod tests {
    use flowgate_proto::DataRequest;
    use prost::Message as _;

    use super::*;

    fn meaning(text: &str) -> String {
        match Message::handed_over(text.to_owned()).read() {
            Ok(Meaning::Ping(pong)) => pong.to_owned(),
            Ok(Meaning::Input(Input::Request(request))) => {
                format!("request {}", request.header.request_id)
            }
            Ok(Meaning::Input(input)) => format!("{input:?}"),
            Err(close) => format!("{} {}", close.code, close.reason),
        }
    }

    #[test]
    fn a_message_tells_its_form_by_its_first_character() {
        let mut request = DataRequest::default();
        request.header.request_id = "mine".to_owned();
        let bytes = BASE64.encode(request.encode_to_vec());
        assert_eq!(meaning(&bytes), "request mine");
        assert_eq!(meaning(bytes.trim_end_matches('=')), "request mine");
        assert_eq!(
            meaning(r#" {"header":{"request_id":"mine"},"data":[]}"#),
            "request mine"
        );
        assert_eq!(meaning("{}"), "End");
        assert_eq!(meaning("AA=="), "End");
        assert_eq!(meaning("[]"), "Ignored");
    }

    #[test]
    fn a_ping_is_none_of_the_flows_business() {
        assert_eq!(meaning("ping"), "pong");
        assert!(
            DataRequest::decode(&BASE64.decode("ping").expect("base64")[..]).is_err(),
            "or the word would be ambiguous"
        );
        assert_eq!(meaning(r#"{"action":"ping"}"#), r#"{"action":"pong"}"#);
        assert!(meaning(r#"{"action":"ping","data":[]}"#).starts_with("request "));
    }

    #[test]
    fn what_cannot_be_read_has_the_containers_code() {
        assert_eq!(meaning(""), "1007 the message is empty");
        assert!(meaning("{").starts_with("1007 invalid JSON"));
        assert_eq!(meaning(r#"{"a":1}"#), "1008 data: field required");
        let mut long = DataRequest::default();
        long.header.request_id = "x".repeat(MAX_ID + 1);
        assert_eq!(
            meaning(&BASE64.encode(long.encode_to_vec())),
            "1008 the request's id has more than 128 bytes"
        );
        assert_eq!(
            meaning("hello there"),
            "1007 the message is neither a JSON object nor base64"
        );
        assert_eq!(
            meaning("null"),
            "1007 the frame is no jina.DataRequestProto"
        );
    }
}
