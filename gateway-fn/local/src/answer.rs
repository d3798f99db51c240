//! What the APIs answer with -> HTTP responses in the shapes that AWS's clients read.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn empty(status: StatusCode) -> Answer {
    bytes(status, Bytes::new())
}

pub(super) fn bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}

pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    let mut answer = bytes(status, Bytes::from(body.to_string()));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// API Gateway's own way to say no.
pub(super) fn message(status: StatusCode, text: &str) -> Answer {
    json(status, &json!({ "message": text }))
}

/// A refusal in AWS's REST-JSON protocol: the SDKs take the error's name from the header.
pub(super) fn refusal(status: StatusCode, name: &'static str, body: &Value) -> Answer {
    let mut answer = json(status, body);
    let name = HeaderValue::from_static(name);
    answer.headers_mut().insert("x-amzn-errortype", name);
    answer
}
