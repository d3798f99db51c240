//! Why a request gets no answer of the Flow -> status and JSON body, as FastAPI writes them.

use axum::response::{IntoResponse, Response};
use flowgate_proto::json::{Fault, FieldError, Loc, SyntaxError};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::json_reply;

/// How much of a broken body is sent back; Jina 3.13 sends back all of it.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Why a request gets no answer of the Flow.
#[derive(Debug)]
pub(super) enum Rejection {
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    BodyTooLarge {
        limit: usize,
    },
    /// The body is compressed in a way that is not known here.
    ContentEncoding {
        coding: String,
    },
    /// The connection broke, or the body is no text of any length and depth.
    BodyUnreadable,
    /// The client is at fault, in these places.
    Invalid(Vec<FieldError>),
    /// An Executor cannot be reached or is too slow; `echo` is the body.
    Unreachable {
        status: StatusCode,
        echo: Vec<u8>,
    },
    Failed {
        status: StatusCode,
        detail: String,
        request_id: String,
    },
}

impl Rejection {
    /// No body where one has to be.
    pub(super) fn body_missing() -> Self {
        Self::invalid(&["body"], "field required", "value_error.missing")
    }

    /// A body that is no JSON by its content type.
    pub(super) fn no_object() -> Self {
        Self::invalid(&["body"], "value is not a valid dict", "type_error.dict")
    }

    /// `target_executor` is no regular expression.
    pub(super) fn target_executor(detail: &str) -> Self {
        Self::invalid(
            &["body", "targetExecutor"],
            detail,
            "value_error.regex_pattern",
        )
    }

    /// Documents or parameters that do not fit the Flow, which only the Flow finds out.
    pub(super) fn documents(detail: &str) -> Self {
        Self::invalid(&["body"], detail, "value_error")
    }

    pub(super) fn syntax(error: &SyntaxError, body: &[u8]) -> Self {
        match (error.fault, std::str::from_utf8(body)) {
            (Fault::Grammar, Ok(text)) => Self::Invalid(vec![error.field_error(cut(text))]),
            _ => Self::BodyUnreadable,
        }
    }

    fn invalid(loc: &[&str], msg: &str, kind: &str) -> Self {
        Self::Invalid(vec![FieldError {
            loc: loc.iter().map(|&key| Loc::Key(key.to_owned())).collect(),
            msg: msg.to_owned(),
            kind: kind.to_owned(),
            ctx: None,
        }])
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => reply(StatusCode::NOT_FOUND, "Not Found"),
            Self::MethodNotAllowed { allow } => method_not_allowed(&allow),
            Self::BodyTooLarge { limit } => {
                let detail = format!("the body is larger than the limit of {limit} bytes");
                reply(StatusCode::PAYLOAD_TOO_LARGE, &detail)
            }
            Self::ContentEncoding { coding } => content_encoding(&coding),
            Self::BodyUnreadable => reply(
                StatusCode::BAD_REQUEST,
                "There was an error parsing the body",
            ),
            Self::Invalid(errors) => with_status(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "detail": errors }),
            ),
            Self::Unreachable { status, echo } => (status, json_reply(echo)).into_response(),
            Self::Failed {
                status,
                detail,
                request_id,
            } => with_status(
                status,
                &json!({ "detail": detail, "requestId": request_id }),
            ),
        }
    }
}

fn reply(status: StatusCode, detail: &str) -> Response {
    with_status(status, &json!({ "detail": detail }))
}

fn with_status(status: StatusCode, body: &Value) -> Response {
    (status, json_reply(body.to_string())).into_response()
}

/// With the codings there are, as RFC 9110 wants it (section 12.5.3).
fn content_encoding(coding: &str) -> Response {
    let detail = format!("the body is {coding:?}: gzip, deflate and zstd are known here");
    let mut response = reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail);
    let known = HeaderValue::from_static("gzip, deflate, zstd");
    response
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, known);
    response
}

fn method_not_allowed(allow: &str) -> Response {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}
