//! HTTP responses in the formats that AWS's clients read.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// A response whose body is complete.
pub(crate) type Response = http::Response<Full<Bytes>>;

/// An error of API Gateway: the status and the text of its `message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiGatewayError(pub(crate) StatusCode, pub(crate) &'static str);

pub(crate) fn empty(status: StatusCode) -> Response {
    bytes(status, Bytes::new())
}

pub(crate) fn bytes(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

/// Returns a response whose body is JSON text already.
pub(crate) fn json_text(status: StatusCode, body: Bytes) -> Response {
    let mut response = bytes(status, body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    json_text(status, Bytes::from(body.to_string()))
}

/// Returns an error in API Gateway's format.
pub(crate) fn message(status: StatusCode, text: &str) -> Response {
    json(status, &json!({ "message": text }))
}

/// Returns an error in AWS's REST-JSON protocol: the SDKs read the error's name from the header.
pub(crate) fn aws_error(status: StatusCode, name: &'static str, body: &Value) -> Response {
    let mut response = json(status, body);
    let name = HeaderValue::from_static(name);
    response.headers_mut().insert("x-amzn-errortype", name);
    response
}
