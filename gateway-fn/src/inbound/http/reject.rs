//! Writes rejected and failed requests as FastAPI does: a status and a JSON body.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flowgate_grpc::{OverBudget, RETRY_AFTER_SECONDS};
use flowgate_proto::{
    LimitExceeded,
    json::{FieldError, Loc, SyntaxError, SyntaxErrorKind},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::json_reply;
use crate::{error::GatewayError, inbound::body_error};

/// How much of a body with a syntax error the answer repeats. Jina 3.13 repeats all of it.
const MAX_ECHO_BYTES: usize = 64 * 1024;

/// Why a request has no successful answer.
#[derive(Debug)]
pub(super) enum Rejection {
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    BodyTooLarge {
        limit: usize,
    },
    /// The documents exceed a limit.
    TooLarge(LimitExceeded),
    /// The `content-encoding` is not supported.
    UnsupportedEncoding {
        encoding: String,
    },
    /// The client sent its body too slowly.
    BodyTooSlow,
    /// The connection broke, or the body is not UTF-8, is nested too deep or does not decompress.
    BodyUnreadable,
    /// The body is invalid at these places.
    Invalid(Vec<FieldError>),
    /// The request has not been read, because there is no room for it or the Gateway stops. It may be repeated.
    Busy {
        status: StatusCode,
        detail: String,
    },
    /// An Executor is unreachable or too slow; `echo` becomes the answer's body.
    Unreachable {
        status: StatusCode,
        echo: Bytes,
    },
    Failed {
        status: StatusCode,
        detail: String,
        request_id: String,
        /// After how many seconds the client may try again.
        retry_after: Option<u64>,
    },
}

impl Rejection {
    /// A required body is missing.
    pub(super) fn missing_body() -> Self {
        Self::invalid(&["body"], "field required", "value_error.missing")
    }

    /// The content type is not JSON.
    pub(super) fn not_json() -> Self {
        Self::invalid(&["body"], "value is not a valid dict", "type_error.dict")
    }

    /// The Gateway cannot take the request now.
    pub(super) fn busy(error: &GatewayError) -> Self {
        Self::Busy {
            status: error.http_status(),
            detail: error.detail(),
        }
    }

    /// `target_executor` is not a valid regular expression.
    pub(super) fn target_executor(detail: &str) -> Self {
        Self::invalid(
            &["body", "targetExecutor"],
            detail,
            "value_error.regex_pattern",
        )
    }

    /// The Flow cannot process the documents or parameters.
    pub(super) fn documents(detail: &str) -> Self {
        Self::invalid(&["body"], detail, "value_error")
    }

    /// The body is not valid JSON.
    pub(super) fn syntax(error: &SyntaxError, body: &[u8]) -> Self {
        match (error.kind, std::str::from_utf8(body)) {
            (SyntaxErrorKind::TooLarge(exceeded), _) => Self::too_large(exceeded),
            (SyntaxErrorKind::Grammar, Ok(text)) => {
                Self::Invalid(vec![FieldError::from_syntax_error(error, truncate(text))])
            }
            _ => Self::BodyUnreadable,
        }
    }

    /// The documents or parameters exceed a limit, or what other requests leave of the memory.
    pub(super) fn too_large(exceeded: LimitExceeded) -> Self {
        match exceeded {
            LimitExceeded::NoRoom => Self::Busy {
                status: StatusCode::SERVICE_UNAVAILABLE,
                detail: exceeded.to_string(),
            },
            LimitExceeded::Documents { .. } | LimitExceeded::DecodedBytes { .. } => {
                Self::TooLarge(exceeded)
            }
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

impl From<OverBudget> for Rejection {
    fn from(error: OverBudget) -> Self {
        Self::Busy {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: error.to_string(),
        }
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
            Self::TooLarge(exceeded) => reply(StatusCode::PAYLOAD_TOO_LARGE, &exceeded.to_string()),
            Self::UnsupportedEncoding { encoding } => unsupported_encoding(&encoding),
            Self::BodyTooSlow => reply(StatusCode::REQUEST_TIMEOUT, body_error::TIMEOUT_DETAIL),
            Self::BodyUnreadable => reply(
                StatusCode::BAD_REQUEST,
                "There was an error parsing the body",
            ),
            Self::Invalid(errors) => with_status(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "detail": errors }),
            ),
            Self::Busy { status, detail } => retry_later(status, &detail),
            Self::Unreachable { status, echo } => (status, json_reply(echo)).into_response(),
            Self::Failed {
                status,
                detail,
                request_id,
                retry_after,
            } => {
                let body = json!({ "detail": detail, "requestId": request_id });
                let response = with_status(status, &body);
                match retry_after {
                    Some(seconds) => with_retry_after(response, seconds),
                    None => response,
                }
            }
        }
    }
}

fn reply(status: StatusCode, detail: &str) -> Response {
    with_status(status, &json!({ "detail": detail }))
}

fn with_status(status: StatusCode, body: &Value) -> Response {
    (status, json_reply(body.to_string())).into_response()
}

/// Returns the response to a health check while the Gateway is about to stop.
pub(super) fn unready() -> Response {
    let detail = "the Gateway is shutting down";
    reply(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// Returns the response to a request that may be repeated after `retry-after`.
fn retry_later(status: StatusCode, detail: &str) -> Response {
    with_retry_after(reply(status, detail), RETRY_AFTER_SECONDS)
}

fn with_retry_after(mut response: Response, seconds: u64) -> Response {
    let retry_after = HeaderValue::from(seconds);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, retry_after);
    response
}

/// Lists the supported encodings in `accept-encoding`, as RFC 9110 asks (section 12.5.3).
fn unsupported_encoding(encoding: &str) -> Response {
    let detail =
        format!("content-encoding {encoding:?} is not supported: use gzip, deflate or zstd");
    let mut response = reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail);
    let supported = HeaderValue::from_static("gzip, deflate, zstd");
    response
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, supported);
    response
}

fn method_not_allowed(allow: &str) -> Response {
    let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn truncate(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ECHO_BYTES)]
}
