//! The error that a client receives as a message when its own message gets no response.
//!
//! A function cannot choose the close frames of API Gateway, so an error is a message: its `header.status` is ERROR, as
//! in an Executor's error, and it contains the close code and HTTP status that the container sends, as
//! `"error": {"request_id", "code", "status", "detail"}` in JSON and as `parameters["__error__"]` in protobuf. The
//! connection stays open, because other invocations may be working on other messages of it.

use flowgate_proto::{
    DataRequest,
    jina::{
        HeaderProto, StatusProto,
        status_proto::{ExceptionProto, StatusCode},
    },
};
use serde_json::json;

use super::encode::{EncodeError, encode_with};
use crate::{
    error::{ErrorCode, GatewayError},
    inbound::websocket::{close::Close, subprotocol::Subprotocol},
};

/// Why a client's message gets no response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MessageError {
    /// The code of the close frame that the container would send (RFC 6455, section 7.4.1).
    pub(super) code: u16,
    /// The HTTP status of the same error.
    pub(super) status: u16,
    /// `header.status`.
    proto: Box<StatusProto>,
}

impl MessageError {
    /// The request's deadline has passed.
    pub(super) fn deadline_exceeded() -> Self {
        let detail = "the request's deadline passed before there was a response";
        Self::new(1011, 504, "TimeoutError", detail.to_owned())
    }

    /// The response exceeds API Gateway's limits.
    pub(super) fn too_large(detail: String) -> Self {
        Self::new(1009, 413, "ValueError", detail)
    }

    /// The Gateway failed.
    pub(super) fn internal(detail: String) -> Self {
        Self::new(1011, 500, "RuntimeError", detail)
    }

    /// A call of an AWS API failed in this way.
    pub(super) fn of_aws_call(code: ErrorCode, detail: String) -> Self {
        let status = code.http_status().as_u16();
        Self::new(code.close_code(), status, "RuntimeError", detail)
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
        Self::from_status(code, status, proto)
    }

    fn from_status(code: u16, status: u16, mut proto: StatusProto) -> Self {
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

    /// The sentence for people.
    pub(super) fn detail(&self) -> &str {
        &self.proto.description
    }

    /// Encodes the error of the request with this id.
    pub(super) fn encode(&self, request_id: &str, format: Subprotocol) -> String {
        let message = DataRequest {
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
        encode_with(message, format, "error", error.clone())
            .unwrap_or_else(|_| json!({"error": error}).to_string())
    }
}

impl From<EncodeError> for MessageError {
    fn from(error: EncodeError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<&Close> for MessageError {
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

impl From<&GatewayError> for MessageError {
    fn from(error: &GatewayError) -> Self {
        let code = error.code().close_code();
        Self::from_status(code, error.http_status().as_u16(), error.status())
    }
}

/// An Executor's texts may be long. Texts of this length fit into one message several times, escaped too.
const MAX_TEXT_BYTES: usize = 4096;

fn shorten(text: &mut String) {
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
}
