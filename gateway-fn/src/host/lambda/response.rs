//! Encodes a response of the routes as the JSON that the front door of the event expects.

mod compression;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, fmt::Display};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flowgate_proto::limits::{MAX_ALB_PAYLOAD_BYTES, MAX_INVOKE_PAYLOAD_BYTES};
use http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts};
use http_body_util::{BodyExt as _, Collected};
use serde::Serialize;
use serde_json::json;

use super::event::EventSource;
use crate::{
    error::ErrorCode,
    inbound::{ClientProtocol, connect},
};

pub(super) use compression::ResponseCompression;

/// The format of a response, which depends on the event.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseFormat {
    pub(super) source: EventSource,
    /// Whether a load balancer expects `multiValueHeaders`.
    pub(super) is_multi_value: bool,
    /// The client's protocol, which decides the format of errors.
    pub(super) protocol: ClientProtocol,
}

/// A response as Lambda passes it on.
#[derive(Debug)]
pub(super) struct EncodedResponse {
    pub(super) json: String,
    pub(super) body_bytes: BodyBytes,
    /// Whether it is an error in place of a response that is too large.
    pub(super) is_too_large: bool,
}

/// The size of a response's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBytes {
    /// The size before compression.
    pub(super) uncompressed: usize,
    /// The size that is sent: after compression, if the body was compressed.
    pub(super) sent: usize,
}

impl ResponseFormat {
    /// The largest size of the response's JSON, in bytes.
    pub(super) const fn max_bytes(self) -> usize {
        match self.source {
            EventSource::LoadBalancer => MAX_ALB_PAYLOAD_BYTES,
            EventSource::HttpApi
            | EventSource::FunctionUrl { .. }
            | EventSource::RestApi
            | EventSource::HttpApiV1
            | EventSource::WebSocketApi
            | EventSource::WebSocketPush
            | EventSource::Gateway
            | EventSource::PlainJson => MAX_INVOKE_PAYLOAD_BYTES,
        }
    }

    /// Encodes a response, compressed if `compression` says so. A response that is too large becomes an error with its
    /// size and the limit, which Lambda's own error would not contain.
    pub(super) async fn encode(
        self,
        response: Response,
        compression: Option<ResponseCompression>,
    ) -> Result<EncodedResponse, serde_json::Error> {
        let (mut head, body) = response.into_parts();
        // It is complete already, so collecting it cannot take long.
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else {
            let error = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            return self.encode_parts(&error.into_parts().0, &Bytes::new(), 0);
        };
        let uncompressed = body.len();
        let body = match compression {
            Some(compression) => compression.apply(&mut head.headers, body),
            None => body,
        };
        let encoded = self.encode_parts(&head, &body, uncompressed)?;
        let (payload, limit) = (encoded.json.len(), self.max_bytes());
        if payload <= limit {
            return Ok(encoded);
        }
        tracing::warn!(body = uncompressed, payload, limit, "response too large");
        self.encode_too_large(&head.headers, payload, uncompressed)
            .await
    }

    /// Encodes the error in place of a response with these headers, which keeps the headers for CORS.
    async fn encode_too_large(
        self,
        headers: &HeaderMap,
        payload: usize,
        uncompressed: usize,
    ) -> Result<EncodedResponse, serde_json::Error> {
        let (mut head, body) = self.too_large(payload, self.max_bytes()).into_parts();
        for (name, value) in headers {
            if name.as_str().starts_with("access-control-") || name == header::VARY {
                head.headers.append(name, value.clone());
            }
        }
        let body = body.collect().await;
        let body = body.map_or_else(|_| Bytes::new(), Collected::to_bytes);
        Ok(EncodedResponse {
            is_too_large: true,
            ..self.encode_parts(&head, &body, uncompressed)?
        })
    }

    /// Returns the error in place of a response with this many bytes.
    pub(super) fn too_large(self, bytes: impl Display, limit: usize) -> Response {
        let detail = format!(
            "the response is {bytes} bytes as a Lambda payload, and the limit is {limit}; request fewer documents or \
             fewer of their fields, or a compressed response by accept-encoding"
        );
        error_response(self.protocol, ErrorCode::TooLarge, &detail)
    }

    fn encode_parts(
        self,
        head: &Parts,
        body: &Bytes,
        uncompressed: usize,
    ) -> Result<EncodedResponse, serde_json::Error> {
        Ok(EncodedResponse {
            json: serde_json::to_string(&self.proxy_response(head, body))?,
            body_bytes: BodyBytes {
                uncompressed,
                sent: body.len(),
            },
            is_too_large: false,
        })
    }

    fn proxy_response<'a>(self, head: &'a Parts, body: &'a Bytes) -> ProxyResponse<'a> {
        let text = std::str::from_utf8(body).ok();
        let text = text.filter(|_| is_text(&head.headers));
        let mut response = ProxyResponse {
            status_code: head.status.as_u16(),
            status_description: None,
            headers: None,
            multi_value_headers: None,
            cookies: None,
            is_base64_encoded: text.is_none(),
            body: text.map_or_else(|| STANDARD.encode(body).into(), Cow::Borrowed),
        };
        match self.source {
            EventSource::HttpApi | EventSource::FunctionUrl { .. } => {
                response.headers = Some(joined_headers(&head.headers));
                response.cookies = Some(cookies(&head.headers));
            }
            EventSource::LoadBalancer => {
                let reason = head.status.canonical_reason().unwrap_or("Unknown");
                response.status_description = Some(format!("{} {reason}", head.status.as_u16()));
                if self.is_multi_value {
                    response.multi_value_headers = Some(multi_value_headers(&head.headers));
                } else {
                    response.headers = Some(headers_with_last_cookie(&head.headers));
                }
            }
            EventSource::RestApi
            | EventSource::HttpApiV1
            | EventSource::WebSocketApi
            | EventSource::WebSocketPush
            | EventSource::Gateway
            | EventSource::PlainJson => {
                response.multi_value_headers = Some(multi_value_headers(&head.headers));
            }
        }
        response
    }
}

/// Returns the response for an error of the host, in the format of this protocol's own errors.
pub(super) fn error_response(protocol: ClientProtocol, code: ErrorCode, detail: &str) -> Response {
    match protocol {
        ClientProtocol::Http => http_error(code.http_status(), detail),
        ClientProtocol::Grpc | ClientProtocol::GrpcWeb | ClientProtocol::Connect => {
            grpc_error(protocol, &tonic::Status::new(code.grpc_code(), detail))
        }
    }
}

/// Returns the response for a failed call of gRPC-Web or Connect.
pub(super) fn grpc_error(protocol: ClientProtocol, status: &tonic::Status) -> Response {
    if protocol == ClientProtocol::Connect {
        return connect::error_response(status);
    }
    let response = status.clone().into_http::<tonic::body::Body>();
    let mut response = response.map(Body::new);
    let content_type = HeaderValue::from_static("application/grpc-web+proto");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

/// Returns an error in the format of the HTTP routes.
pub(super) fn http_error(status: StatusCode, detail: &str) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    let body = json!({ "detail": detail }).to_string();
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Returns one value for each name, several values joined by commas (RFC 9110, section 5.3), without cookies.
pub(super) fn joined_headers(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in end_to_end_headers(headers) {
        if name == header::SET_COOKIE.as_str() {
            continue;
        }
        let line = joined.entry(name).or_default();
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(&value);
    }
    joined
}

/// Returns the values of `set-cookie`, which commas must not join.
pub(super) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let cookies = headers.get_all(header::SET_COOKIE).iter();
    cookies.map(to_text).collect()
}

/// Returns the headers for a load balancer without multi-value headers, which passes one cookie on.
fn headers_with_last_cookie(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined = joined_headers(headers);
    let mut cookies = cookies(headers);
    if cookies.len() > 1 {
        tracing::warn!(
            cookies = cookies.len(),
            "the load balancer passes only the last cookie of a response: set the target group's attribute \
             lambda.multi_value_headers.enabled"
        );
    }
    if let Some(cookie) = cookies.pop() {
        joined.insert("set-cookie", cookie);
    }
    joined
}

fn multi_value_headers(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in end_to_end_headers(headers) {
        lists.entry(name).or_default().push(value);
    }
    lists
}

/// Returns the headers that belong to the response and not to its connection.
fn end_to_end_headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let of_connection = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    headers
        .iter()
        .filter(move |(name, _)| !of_connection.contains(name))
        .map(|(name, value)| (name.as_str(), to_text(value)))
}

fn to_text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Whether the body may travel as text. Bytes that happen to be UTF-8 may not, because API Gateway decides by the
/// content type whether to decode.
fn is_text(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or("", |value| value.to_str().unwrap_or_default());
    // gRPC-Web's text is base64 already.
    let is_grpc_web_text = content_type.starts_with("application/grpc-web-text");
    let is_binary = [
        "application/grpc",
        "application/proto",
        "application/octet-stream",
    ]
    .iter()
    .any(|binary| content_type.starts_with(binary));
    (is_grpc_web_text || !is_binary) && !headers.contains_key(header::CONTENT_ENCODING)
}

/// The response of a Lambda proxy integration. Each front door reads some of its keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProxyResponse<'a> {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'a str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'a str, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<Vec<String>>,
    body: Cow<'a, str>,
    is_base64_encoded: bool,
}
