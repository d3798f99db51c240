//! Encodes a response of the routes as the JSON that the front door of the event expects, in the response types of
//! `lambda_http`.

mod compression;

mod headers;

#[cfg(test)]
mod tests;

use std::fmt::Display;

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flowgate_config::FunctionConfig;
use flowgate_proto::limits::{MAX_ALB_PAYLOAD_BYTES, MAX_INVOKE_PAYLOAD_BYTES};
use http::{HeaderMap, HeaderValue, StatusCode, header, response::Parts};
use http_body_util::{BodyExt as _, Collected};
use lambda_http::aws_lambda_events::{
    alb::AlbTargetGroupResponse,
    apigw::{ApiGatewayProxyResponse, ApiGatewayV2httpResponse},
    encodings,
    vpc_lattice::VpcLatticeResponse,
};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::event::EventSource;
use crate::{
    error::ErrorCode,
    inbound::{ClientProtocol, CorsOrigin, connect},
};

pub(super) use self::{
    compression::ResponseCompression,
    headers::{cookies, single_value_headers},
};

/// The format of a response, which depends on the event and on its request's headers.
#[derive(Clone, Debug)]
pub(super) struct ResponseFormat {
    pub(super) source: EventSource,
    /// Whether a load balancer expects `multiValueHeaders`.
    pub(super) is_multi_value: bool,
    /// The client's protocol, which decides the format of errors.
    pub(super) protocol: ClientProtocol,
    pub(super) compression: Option<ResponseCompression>,
    /// The website that sent the request, if the Flow enables CORS.
    pub(super) origin: Option<CorsOrigin>,
}

/// A response as Lambda passes it on.
#[derive(Debug)]
pub(super) struct EncodedResponse {
    pub(super) json: Box<RawValue>,
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
    /// The format of a response to this source, as far as the source determines it.
    pub(super) const fn of(source: EventSource) -> Self {
        Self {
            source,
            is_multi_value: false,
            protocol: ClientProtocol::Http,
            compression: None,
            origin: None,
        }
    }

    /// Reads from a request's headers how its response is compressed, and which website may read it. A REST API without
    /// binary media types would send the client base64.
    pub(super) fn with_headers(
        mut self,
        headers: &HeaderMap,
        settings: &FunctionConfig,
        is_cors_enabled: bool,
    ) -> Self {
        let is_binary_allowed = self.source != EventSource::RestApi || settings.rest_binary;
        let compression = ResponseCompression::negotiate(headers, settings.compress_answers_from);
        self.compression = compression.filter(|_| is_binary_allowed);
        let origin = is_cors_enabled.then(|| CorsOrigin::from_headers(headers));
        self.origin = origin.flatten();
        self
    }

    /// The largest size of the response's JSON, in bytes. VPC Lattice takes as much as Lambda (VPC Lattice, "Lambda functions
    /// as targets").
    const fn max_bytes(&self) -> usize {
        match self.source {
            EventSource::LoadBalancer => MAX_ALB_PAYLOAD_BYTES,
            EventSource::HttpApi
            | EventSource::FunctionUrl { .. }
            | EventSource::RestApi
            | EventSource::HttpApiV1
            | EventSource::VpcLatticeV1
            | EventSource::VpcLatticeV2
            | EventSource::WebSocketApi
            | EventSource::WebSocketPush
            | EventSource::Gateway
            | EventSource::PlainJson
            | EventSource::Warmer => MAX_INVOKE_PAYLOAD_BYTES,
        }
    }

    /// The largest body to collect, in bytes. A body of up to `max_message_bytes` may fit when it is compressed.
    pub(super) fn max_body_bytes(&self, max_message_bytes: usize) -> usize {
        match self.compression {
            Some(_) => max_message_bytes.max(self.max_bytes()),
            None => self.max_bytes(),
        }
    }

    /// Encodes a response. One that is too large becomes an error with its size and the limit, which Lambda's own error
    /// would not contain.
    pub(super) async fn encode(
        &self,
        mut head: Parts,
        body: Bytes,
    ) -> Result<EncodedResponse, serde_json::Error> {
        if let Some(origin) = &self.origin {
            origin.clone().allow_if_missing(&mut head.headers);
        }
        let uncompressed = body.len();
        let body = match self.compression {
            Some(compression) => compression.apply(&mut head.headers, body),
            None => body,
        };
        let encoded = self.encode_parts(&head, body, uncompressed)?;
        let (payload, limit) = (encoded.json.get().len(), self.max_bytes());
        if payload <= limit {
            return Ok(encoded);
        }
        tracing::warn!(body = uncompressed, payload, limit, "response too large");
        let (mut error, body) = complete(self.too_large(payload, limit)).await;
        keep_cors(&head.headers, &mut error.headers);
        Ok(EncodedResponse {
            is_too_large: true,
            ..self.encode_parts(&error, body, uncompressed)?
        })
    }

    /// Returns the error in place of a response with this many bytes.
    pub(super) fn too_large(&self, bytes: impl Display, limit: usize) -> Response {
        let detail = format!(
            "the response is {bytes} bytes as a Lambda payload, and the limit is {limit}; request fewer documents or \
             fewer of their fields, or a compressed response by accept-encoding"
        );
        error_response(self.protocol, ErrorCode::TooLarge, &detail)
    }

    fn encode_parts(
        &self,
        head: &Parts,
        body: Bytes,
        uncompressed: usize,
    ) -> Result<EncodedResponse, serde_json::Error> {
        let sent = body.len();
        // Serialized once: the runtime client copies a raw value unchanged.
        let json = match self.source {
            EventSource::HttpApi | EventSource::FunctionUrl { .. } => {
                to_raw_value(&http_api_response(head, body))
            }
            EventSource::LoadBalancer => to_raw_value(&self.load_balancer_response(head, body)),
            EventSource::VpcLatticeV1 | EventSource::VpcLatticeV2 => {
                to_raw_value(&lattice_response(head, body))
            }
            EventSource::RestApi
            | EventSource::HttpApiV1
            | EventSource::WebSocketApi
            | EventSource::WebSocketPush
            | EventSource::Gateway
            | EventSource::PlainJson
            | EventSource::Warmer => to_raw_value(&rest_response(head, body)),
        };
        Ok(EncodedResponse {
            json: json?,
            body_bytes: BodyBytes { uncompressed, sent },
            is_too_large: false,
        })
    }

    fn load_balancer_response(&self, head: &Parts, body: Bytes) -> AlbTargetGroupResponse {
        let reason = head.status.canonical_reason().unwrap_or("Unknown");
        let mut response = AlbTargetGroupResponse::default();
        response.status_code = head.status.as_u16().into();
        response.status_description = Some(format!("{} {reason}", head.status.as_u16()));
        if self.is_multi_value {
            response.multi_value_headers = headers::end_to_end(&head.headers);
        } else {
            response.headers = headers::with_last_cookie(
                &head.headers,
                "the load balancer passes only the last cookie of a response: set the target group's attribute \
                 lambda.multi_value_headers.enabled",
            );
        }
        (response.is_base64_encoded, response.body) = body_value(&head.headers, body);
        response
    }
}

/// The response for payload version 2.0, whose cookies are apart from the headers.
fn http_api_response(head: &Parts, body: Bytes) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = head.status.as_u16().into();
    response.headers = single_value_headers(&head.headers);
    response.cookies = cookies(&head.headers);
    (response.is_base64_encoded, response.body) = body_value(&head.headers, body);
    response
}

/// The response for REST APIs and payload version 1.0.
fn rest_response(head: &Parts, body: Bytes) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = head.status.as_u16().into();
    response.multi_value_headers = headers::end_to_end(&head.headers);
    (response.is_base64_encoded, response.body) = body_value(&head.headers, body);
    response
}

/// The response for both versions of VPC Lattice.
fn lattice_response(head: &Parts, body: Bytes) -> VpcLatticeResponse {
    let mut response = VpcLatticeResponse::default();
    response.status_code = head.status.as_u16();
    response.headers = headers::with_last_cookie(
        &head.headers,
        "VPC Lattice passes only the last cookie of a response",
    );
    (response.is_base64_encoded, response.body) = body_value(&head.headers, body);
    response
}

/// Returns whether the body travels as base64, and the body.
fn body_value(headers: &HeaderMap, body: Bytes) -> (bool, Option<encodings::Body>) {
    let bytes = Vec::from(body);
    let body = match is_text(headers) {
        true => String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes),
        false => Err(bytes),
    };
    match body {
        Ok(text) => (false, Some(encodings::Body::Text(text))),
        Err(bytes) => (true, Some(encodings::Body::Binary(bytes))),
    }
}

/// Collects a response that the host has made, which takes no time.
pub(super) async fn complete(response: Response) -> (Parts, Bytes) {
    let (head, body) = response.into_parts();
    let body = body.collect().await;
    (
        head,
        body.map_or_else(|_| Bytes::new(), Collected::to_bytes),
    )
}

/// Keeps the headers for CORS of a response in the error that takes its place.
fn keep_cors(headers: &HeaderMap, error: &mut HeaderMap) {
    for (name, value) in headers {
        if name.as_str().starts_with("access-control-") || name == header::VARY {
            error.append(name, value.clone());
        }
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
