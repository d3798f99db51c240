//! Builds the event of payload format 2.0 for an HTTP request (API Gateway, Lambda proxy integrations for HTTP APIs):
//! header names in lower case, repeated headers joined by commas, cookies in a list, and binary bodies in base64.

use std::{borrow::Cow, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use serde_json::{Map, Value, json};
use time::UtcDateTime;

use crate::{
    aws::{self, ACCOUNT_ID, TRACE_HEADER},
    decode::{decode_path, header_text, query_parameters},
    stage::Stage,
};

/// A request with what API Gateway adds to it.
pub(super) struct ReceivedRequest<'a> {
    request_id: &'a str,
    stage: &'a Stage,
    parts: &'a Parts,
    body: &'a Bytes,
    client: SocketAddr,
    received_at: UtcDateTime,
    trace: String,
}

impl<'a> ReceivedRequest<'a> {
    pub(super) fn new(
        request_id: &'a str,
        stage: &'a Stage,
        parts: &'a Parts,
        body: &'a Bytes,
        client: SocketAddr,
    ) -> Self {
        let received_at = UtcDateTime::now();
        let trace = match parts.headers.get(TRACE_HEADER) {
            Some(trace) => header_text(trace).into_owned(),
            None => aws::new_trace(received_at),
        };
        Self {
            request_id,
            stage,
            parts,
            body,
            client,
            received_at,
            trace,
        }
    }

    /// The client's X-Ray trace header, or a new one.
    pub(super) fn trace(&self) -> &str {
        &self.trace
    }

    /// Returns the path as an HTTP API writes it into events: decoded, so that an escaped slash divides segments, and cut off at
    /// a decoded `?`. Recordings of AWS show both (middleapi/standard-server, pull request 93; fastify/aws-lambda-fastify,
    /// issue 169; honojs/hono, issue 2156).
    fn path(&self) -> String {
        let mut path = decode_path(self.parts.uri.path());
        path.truncate(path.find('?').unwrap_or(path.len()));
        path
    }

    pub(super) fn to_event(&self) -> Value {
        let query = self.parts.uri.query().unwrap_or_default();
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": self.path(),
            "rawQueryString": query,
            "headers": self.headers(),
            "requestContext": self.context(),
            "isBase64Encoded": false,
        });
        let cookies = cookies(&self.parts.headers);
        if !cookies.is_empty() {
            event["cookies"] = cookies.into();
        }
        let parameters = query_parameters(query);
        if !parameters.is_empty() {
            event["queryStringParameters"] = parameters.into();
        }
        if !self.body.is_empty() {
            let text = std::str::from_utf8(self.body).ok();
            let text = text.filter(|_| is_text(&self.parts.headers));
            event["isBase64Encoded"] = text.is_none().into();
            event["body"] = match text {
                Some(text) => text.into(),
                None => STANDARD.encode(self.body).into(),
            };
        }
        event
    }

    fn context(&self) -> Value {
        let user_agent = self.parts.headers.get(header::USER_AGENT);
        json!({
            "accountId": ACCOUNT_ID,
            "apiId": "local",
            "domainName": self.stage.address.to_string(),
            "domainPrefix": "local",
            "http": {
                "method": self.parts.method.as_str(),
                "path": self.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": self.client.ip().to_string(),
                "userAgent": user_agent.map_or(Cow::Borrowed(""), header_text),
            },
            "requestId": self.request_id,
            "routeKey": "$default",
            "stage": self.stage.name,
            "time": aws::common_log_time(self.received_at),
            "timeEpoch": aws::epoch_millis(self.received_at),
        })
    }

    /// Returns the client's headers without the connection's headers, and with the headers that API Gateway adds.
    fn headers(&self) -> Map<String, Value> {
        let received = &self.parts.headers;
        let mut headers = Map::new();
        for name in received.keys() {
            if *name != header::COOKIE && !CONNECTION_HEADERS.contains(&name.as_str()) {
                let values: Vec<_> = received.get_all(name).iter().map(header_text).collect();
                headers.insert(name.to_string(), values.join(",").into());
            }
        }
        let client = self.client.ip().to_string();
        let forwarded_for = match received.get("x-forwarded-for") {
            Some(previous) => format!("{}, {client}", header_text(previous)),
            None => client,
        };
        let port = self.stage.address.port().to_string();
        for (name, value) in [
            (TRACE_HEADER, self.trace.as_str()),
            ("x-forwarded-for", &forwarded_for),
            ("x-forwarded-port", &port),
            ("x-forwarded-proto", "http"),
        ] {
            headers.insert(name.to_owned(), value.into());
        }
        headers
    }
}

/// Headers of the connection to the client, which are not in the event.
const CONNECTION_HEADERS: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Returns the cookies of `a=1; b=2` as `a=1` and `b=2`. They are not among the event's headers.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let mut cookies = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        let value = header_text(value);
        let parts = value.split(';').map(str::trim);
        cookies.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    }
    cookies
}

/// Whether the body is passed as text. Forms, compressed bodies and all other types are passed in base64.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || [
            "application/json",
            "application/xml",
            "application/javascript",
        ]
        .contains(&media_type.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_of(request: http::Request<&'static str>) -> Value {
        let stage = Stage::new("$default", ([127, 0, 0, 1], 3000).into());
        let (parts, body) = request.into_parts();
        let body = Bytes::from_static(body.as_bytes());
        let client = ([127, 0, 0, 1], 9).into();
        ReceivedRequest::new("id", &stage, &parts, &body, client).to_event()
    }

    #[test]
    fn the_event_deserializes_as_the_type_of_aws_lambda_events_and_has_the_request() {
        let request = http::Request::post("/my/path?parameter1=value1&parameter1=a+b%21&x")
            .header("Header2", "value1")
            .header("header2", "value2")
            .header("cookie", "cookie1; cookie2=x")
            .header("connection", "close")
            .header("content-type", "Application/JSON; charset=utf-8");
        let event = event_of(request.body("{}").expect("valid"));
        assert_eq!(
            event["rawQueryString"],
            "parameter1=value1&parameter1=a+b%21&x"
        );
        assert_eq!(
            event["queryStringParameters"],
            json!({"parameter1": "value1,a b!", "x": ""})
        );
        assert_eq!(event["cookies"], json!(["cookie1", "cookie2=x"]));
        assert_eq!(event["headers"]["header2"], "value1,value2");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["headers"].get("connection"), None);
        assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!("{}"), &json!(false))
        );
        let typed: aws_lambda_events::apigw::ApiGatewayV2httpRequest =
            serde_json::from_value(event).expect("AWS's type");
        assert_eq!(typed.request_context.http.method, http::Method::POST);
        assert_eq!(typed.raw_path.as_deref(), Some("/my/path"));
    }

    #[test]
    fn the_path_is_decoded_and_the_query_is_not() {
        for (sent, written) in [
            ("/a%2Fb%20c/%C3%BC", "/a/b c/ü"),
            ("/%40id/x%23y", "/@id/x#y"),
            ("/100%25", "/100%"),
            ("/a%3Fb", "/a"),
            ("/a+b", "/a+b"),
        ] {
            let event = event_of(
                http::Request::get(format!("{sent}?q=%20"))
                    .body("")
                    .expect("valid"),
            );
            assert_eq!(event["rawPath"], written);
            assert_eq!(event["requestContext"]["http"]["path"], written);
            assert_eq!(event["rawQueryString"], "q=%20");
        }
    }

    #[test]
    fn bodies_that_are_not_text_are_base64() {
        for (name, value, is_base64) in [
            ("content-type", "text/csv", false),
            ("content-type", "application/x-www-form-urlencoded", true),
            ("content-type", "application/octet-stream", true),
            ("content-encoding", "gzip", true),
        ] {
            let request = http::Request::post("/").header(name, value);
            let event = event_of(request.body("a").expect("valid"));
            assert_eq!(event["isBase64Encoded"], is_base64, "{value}");
        }
    }
}
