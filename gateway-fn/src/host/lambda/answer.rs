//! The routes' answer -> the JSON in which the front door of an event takes it.

mod coding;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, fmt::Display};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flowgate_proto::limits::{ALB_BYTES, INVOKE_BYTES};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::json;

use super::event::Sender;
use crate::{
    error::ErrorCode,
    inbound::{Dialect, connect},
};

pub(super) use coding::Coding;

/// How a front door takes an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) sender: Sender,
    /// Whether a load balancer wants `multiValueHeaders`.
    pub(super) multi_value: bool,
    pub(super) dialect: Dialect,
}

/// An answer as Lambda hands it on.
#[derive(Debug)]
pub(super) struct Buffered {
    pub(super) text: String,
    /// Of the body, before and after its compression.
    pub(super) bytes: (usize, usize),
    /// Whether it is an error in place of one that was too large.
    pub(super) is_too_large: bool,
}

impl Form {
    /// What the answer's JSON may have.
    pub(super) const fn limit(self) -> usize {
        match self.sender {
            Sender::LoadBalancer => ALB_BYTES,
            Sender::HttpApi
            | Sender::FunctionUrl { .. }
            | Sender::RestApi
            | Sender::HttpApi1
            | Sender::WebSocketApi
            | Sender::Push
            | Sender::Invocation
            | Sender::Json => INVOKE_BYTES,
        }
    }

    /// Writes an answer, compressed as `coding` says. One that is too large becomes an error that says so: Lambda's
    /// own would name neither the size nor the limit.
    pub(super) async fn write(
        self,
        answer: Response,
        coding: Option<Coding>,
    ) -> Result<Buffered, serde_json::Error> {
        let (mut head, body) = answer.into_parts();
        // It comes out of this process, where the routes bound what they write.
        let Ok(body) = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
        else {
            let broken = StatusCode::INTERNAL_SERVER_ERROR.into_response();
            return self.finish(&broken.into_parts().0, &Bytes::new(), 0);
        };
        let before = body.len();
        let body = match coding {
            Some(coding) => coding.apply(&mut head.headers, body),
            None => body,
        };
        let written = self.finish(&head, &body, before)?;
        if written.text.len() <= self.limit() {
            return Ok(written);
        }
        tracing::warn!(
            bytes = before,
            written = written.text.len(),
            limit = self.limit(),
            "an answer is too large"
        );
        let bytes = written.text.len();
        let (mut error, body) = self.too_large(bytes, self.limit()).into_parts();
        // What a page may read, it may read of this too.
        for (name, value) in &head.headers {
            if name.as_str().starts_with("access-control-") || name == header::VARY {
                error.headers.append(name, value.clone());
            }
        }
        let body = body
            .collect()
            .await
            .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        let written = self.finish(&error, &body, before)?;
        Ok(Buffered {
            is_too_large: true,
            ..written
        })
    }

    /// The error in place of an answer with so many bytes.
    pub(super) fn too_large(self, bytes: impl Display, limit: usize) -> Response {
        let detail = format!(
            "the answer has {bytes} bytes as a payload, and {limit} is what is handed on; ask for fewer documents \
             or fewer of their fields, or for a compressed answer by accept-encoding"
        );
        failed(self.dialect, ErrorCode::TooLarge, &detail)
    }

    fn finish(
        self,
        head: &http::response::Parts,
        body: &Bytes,
        before: usize,
    ) -> Result<Buffered, serde_json::Error> {
        let text = match std::str::from_utf8(body) {
            Ok(text) if is_text(&head.headers) => Some(text),
            _ => None,
        };
        let text = serde_json::to_string(&self.written(head, text, body))?;
        Ok(Buffered {
            text,
            bytes: (before, body.len()),
            is_too_large: false,
        })
    }

    fn written<'a>(
        self,
        head: &'a http::response::Parts,
        text: Option<&'a str>,
        body: &Bytes,
    ) -> Written<'a> {
        let mut written = Written {
            status_code: head.status.as_u16(),
            status_description: None,
            headers: None,
            multi_value_headers: None,
            cookies: None,
            is_base64_encoded: text.is_none(),
            body: text.map_or_else(|| STANDARD.encode(body).into(), Cow::Borrowed),
        };
        match self.sender {
            Sender::HttpApi | Sender::FunctionUrl { .. } => {
                written.headers = Some(joined(&head.headers));
                written.cookies = Some(cookies(&head.headers));
            }
            Sender::LoadBalancer => {
                let reason = head.status.canonical_reason().unwrap_or("Unknown");
                written.status_description = Some(format!("{} {reason}", head.status.as_u16()));
                if self.multi_value {
                    written.multi_value_headers = Some(listed(&head.headers));
                } else {
                    let mut headers = joined(&head.headers);
                    let mut cookies = cookies(&head.headers);
                    if cookies.len() > 1 {
                        tracing::warn!(
                            cookies = cookies.len(),
                            "only the last cookie of an answer passes: set the target group's attribute \
                             lambda.multi_value_headers.enabled"
                        );
                    }
                    if let Some(cookie) = cookies.pop() {
                        headers.insert("set-cookie", cookie);
                    }
                    written.headers = Some(headers);
                }
            }
            Sender::RestApi
            | Sender::HttpApi1
            | Sender::WebSocketApi
            | Sender::Push
            | Sender::Invocation
            | Sender::Json => written.multi_value_headers = Some(listed(&head.headers)),
        }
        written
    }
}

/// A failure that only the function knows of, as the routes of this dialect would tell it.
pub(super) fn failed(dialect: Dialect, code: ErrorCode, detail: &str) -> Response {
    match dialect {
        Dialect::Http => error(code.http_status(), detail),
        Dialect::Grpc | Dialect::GrpcWeb | Dialect::Connect => {
            refused(dialect, &tonic::Status::new(code.grpc_code(), detail))
        }
    }
}

/// A failed call of gRPC-Web or Connect.
pub(super) fn refused(dialect: Dialect, status: &tonic::Status) -> Response {
    if dialect == Dialect::Connect {
        return connect::failure(status);
    }
    let response = status.clone().into_http::<tonic::body::Body>();
    let mut response = response.map(Body::new);
    let kind = HeaderValue::from_static("application/grpc-web+proto");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer of the function itself, in the form of the HTTP routes' own.
pub(super) fn error(status: StatusCode, detail: &str) -> Response {
    let json = HeaderValue::from_static("application/json");
    let body = json!({ "detail": detail }).to_string();
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

/// The headers of an answer with one value each: of several, a list with commas (RFC 9110, section 5.3).
pub(super) fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in passed_on(headers).filter(|(name, _)| *name != header::SET_COOKIE.as_str())
    {
        let line = joined.entry(name).or_default();
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(&value);
    }
    joined
}

/// The cookies that an answer sets, which no comma may join.
pub(super) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let cookies = headers.get_all(header::SET_COOKIE).iter();
    cookies.map(text_of).collect()
}

fn listed(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut listed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in passed_on(headers) {
        listed.entry(name).or_default().push(value);
    }
    listed
}

/// Those that are the answer's and not the connection's.
fn passed_on(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let of_connection = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    headers
        .iter()
        .filter(move |(name, _)| !of_connection.contains(name))
        .map(|(name, value)| (name.as_str(), text_of(value)))
}

fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// Whether the body may travel as text. Bytes that happen to be UTF-8 may not: API Gateway tells by the content type
/// what it has to decode.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map_or("", |kind| kind.to_str().unwrap_or_default());
    // gRPC-Web's text is base64 already.
    let is_text = kind.starts_with("application/grpc-web-text");
    let is_binary = [
        "application/grpc",
        "application/proto",
        "application/octet-stream",
    ]
    .iter()
    .any(|binary| kind.starts_with(binary));
    (is_text || !is_binary) && !headers.contains_key(header::CONTENT_ENCODING)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
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
