//! What went wrong with a message -> the message that tells the client.
//!
//! API Gateway sends no close codes of ours, so an error is a message: an answer whose `header.status` says ERROR, as
//! an Executor's errors do, and beside it what a container says by its close frame and by HTTP's status:
//! `"error": {"request_id", "code", "status", "detail"}` in JSON, `parameters["__error__"]` in protobuf. The connection
//! stays: other messages of it are other invocations' work.

use flowgate_proto::{
    DataRequest, Kind, Struct, Value,
    jina::{
        HeaderProto, StatusProto,
        status_proto::{ExceptionProto, StatusCode},
    },
    json, structure,
};
use serde_json::json;

use super::answer;
use crate::{
    error::GatewayError,
    inbound::websocket::{close::Close, subprotocol::Subprotocol},
};

/// Why a client gets no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// The code of the close frame that a container would send (RFC 6455, section 7.4.1).
    pub(super) code: u16,
    /// HTTP's status for the same.
    pub(super) status: u16,
    /// `header.status`.
    proto: Box<StatusProto>,
}

impl Fault {
    /// The time for the request is over.
    pub(super) fn out_of_time() -> Self {
        let detail = "the time that the request may take was over before the answer was there";
        Self::new(1011, 504, "TimeoutError", detail.to_owned())
    }

    /// The answer is there and cannot be sent.
    pub(super) fn too_large(detail: String) -> Self {
        Self::new(1009, 413, "ValueError", detail)
    }

    /// The answer is there and cannot be written.
    pub(super) fn internal(detail: String) -> Self {
        Self::new(1011, 500, "RuntimeError", detail)
    }

    /// AWS does not do its part now.
    pub(super) fn unavailable(detail: String) -> Self {
        Self::new(1011, 503, "RuntimeError", detail)
    }

    fn new(code: u16, status: u16, class: &str, detail: String) -> Self {
        let proto = StatusProto {
            code: StatusCode::Error.into(),
            description: detail.clone(),
            exception: Some(ExceptionProto {
                name: class.to_owned(),
                args: vec![detail],
                ..Default::default()
            }),
        };
        Self::of(code, status, proto)
    }

    fn of(code: u16, status: u16, mut proto: StatusProto) -> Self {
        shorten(&mut proto.description);
        if let Some(exception) = &mut proto.exception {
            exception.args.iter_mut().for_each(shorten);
            exception.stacks.iter_mut().for_each(shorten);
        }
        Self {
            code,
            status,
            proto: Box::new(proto),
        }
    }

    /// What a person reads.
    pub(super) fn detail(&self) -> &str {
        &self.proto.description
    }

    /// The message for the client, about the request with this id.
    pub(super) fn message(&self, request_id: &str, form: Subprotocol) -> String {
        let mut told = DataRequest {
            header: HeaderProto {
                request_id: request_id.to_owned(),
                status: Some(*self.proto.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        let error = json!({
            "request_id": request_id,
            "code": self.code,
            "status": self.status,
            "detail": self.detail(),
        });
        match form {
            Subprotocol::Json => json::write_websocket(&told).map_or_else(
                |_| json!({"error": error}).to_string(),
                |text| answer::with_member(text, "error", &error),
            ),
            Subprotocol::Bytes => {
                let held = structure(error).unwrap_or_default();
                let held = Value {
                    kind: Some(Kind::StructValue(held)),
                };
                let fields = [(ERROR_KEY.to_owned(), held)].into();
                told.parameters = Struct { fields }.into();
                answer::base64(&told)
            }
        }
    }
}

impl From<&Close> for Fault {
    fn from(close: &Close) -> Self {
        let status = match close.code {
            1003 => 415,
            1007 => 400,
            1008 => 422,
            1009 => 413,
            _ => 500,
        };
        Self::new(close.code, status, "ValueError", close.reason.clone())
    }
}

impl From<&GatewayError> for Fault {
    fn from(error: &GatewayError) -> Self {
        let code = error.code().close_code();
        Self::of(code, error.http_status().as_u16(), error.status())
    }
}

/// The key of `parameters` under which a protobuf message tells of an error.
const ERROR_KEY: &str = "__error__";

/// A peer's words may be long. So many bytes, several times and escaped, fit into one message.
const MAX_DETAIL: usize = 4096;

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_DETAIL));
}
