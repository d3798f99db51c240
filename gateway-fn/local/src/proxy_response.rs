//! Reads a function's response in payload format 2.0 (API Gateway, Lambda function response format). JSON without a
//! `statusCode` is the body of a response with status 200.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::response::{self, Response};

/// Why a function's response cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyResponseError {
    #[error("the payload is not valid JSON")]
    NotJson,
    #[error("`{key}` is missing or invalid: expected {expected}")]
    Key {
        key: &'static str,
        expected: &'static str,
    },
    #[error("the name or value of header `{name}` is invalid")]
    Header { name: String },
}

/// Headers that this server sets by itself for the connection to the client.
const CONNECTION_HEADERS: [HeaderName; 3] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
];

pub(crate) fn parse(payload: &[u8]) -> Result<Response, ProxyResponseError> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| ProxyResponseError::NotJson)?;
    if value.get("statusCode").is_none() {
        return Ok(infer(value, payload));
    }
    let mut response = response::bytes(parse_status(&value)?, parse_body(&value)?);
    let headers = response.headers_mut();
    for (name, value) in value["headers"].as_object().into_iter().flatten() {
        let invalid = || ProxyResponseError::Header { name: name.clone() };
        let value = scalar_text(value).ok_or_else(invalid)?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| invalid())?;
        if !CONNECTION_HEADERS.contains(&name) {
            headers.insert(name, HeaderValue::try_from(value).map_err(|_| invalid())?);
        }
    }
    for cookie in value["cookies"].as_array().into_iter().flatten() {
        let cookie = cookie
            .as_str()
            .and_then(|cookie| HeaderValue::try_from(cookie).ok())
            .ok_or(ProxyResponseError::Key {
                key: "cookies",
                expected: "a list of strings",
            })?;
        headers.append(header::SET_COOKIE, cookie);
    }
    let text = HeaderValue::from_static("text/plain;charset=utf-8");
    headers.entry(header::CONTENT_TYPE).or_insert(text);
    Ok(response)
}

/// Returns the response for JSON without a status: the JSON itself, or the content of a string.
fn infer(value: Value, payload: &[u8]) -> Response {
    let body = match value {
        Value::String(text) => Bytes::from(text),
        _ => Bytes::copy_from_slice(payload),
    };
    response::json_text(StatusCode::OK, body)
}

/// Reads `statusCode`, which may be a number or a string.
pub(crate) fn parse_status(response: &Value) -> Result<StatusCode, ProxyResponseError> {
    let code = scalar_text(&response["statusCode"]).and_then(|text| text.parse().ok());
    code.filter(|code| (200..600).contains(code))
        .and_then(|code: u16| StatusCode::from_u16(code).ok())
        .ok_or(ProxyResponseError::Key {
            key: "statusCode",
            expected: "a number from 200 to 599",
        })
}

fn parse_body(response: &Value) -> Result<Bytes, ProxyResponseError> {
    let invalid = || ProxyResponseError::Key {
        key: "body",
        expected: "a string, in base64 if `isBase64Encoded` is true",
    };
    let text = match &response["body"] {
        Value::Null => return Ok(Bytes::new()),
        Value::String(text) => text,
        _ => return Err(invalid()),
    };
    match &response["isBase64Encoded"] {
        Value::Bool(true) => {
            let body = STANDARD.decode(text).map_err(|_| invalid())?;
            Ok(Bytes::from(body))
        }
        _ => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn parsed(payload: &str) -> (u16, String, Vec<u8>) {
        let response = parse(payload.as_bytes()).expect(payload);
        let content_type = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .expect("text")
            .to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("complete");
        (status, content_type, body.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn json_without_a_status_is_the_body() {
        let json = "application/json".to_owned();
        let object = parsed("{ \"message\": 1 }").await;
        assert_eq!(object, (200, json.clone(), b"{ \"message\": 1 }".to_vec()));
        assert_eq!(parsed("\"hi\"").await, (200, json, b"hi".to_vec()));
    }

    #[tokio::test]
    async fn a_complete_response_sets_status_headers_cookies_and_body() {
        let payload = r#"{"statusCode": "201", "headers": {"X-A": 1, "content-type": "a/b", "content-length": "9"},
            "cookies": ["a=1", "b=2"], "body": "AAE=", "isBase64Encoded": true}"#;
        assert_eq!(parsed(payload).await, (201, "a/b".to_owned(), vec![0, 1]));
        let response = parse(payload.as_bytes()).expect("valid");
        let headers = response.headers();
        assert_eq!(headers["x-a"], "1");
        assert_eq!(headers.get_all(header::SET_COOKIE).iter().count(), 2);
        assert!(!headers.contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn invalid_responses_are_rejected() {
        for payload in [
            "",
            "{\"statusCode\": 99}",
            "{\"statusCode\": 101}",
            "{\"statusCode\": {}}",
            "{\"statusCode\": 200, \"body\": {}}",
            "{\"statusCode\": 200, \"body\": \"!\", \"isBase64Encoded\": true}",
            "{\"statusCode\": 200, \"headers\": {\"a b\": \"\"}}",
            "{\"statusCode\": 200, \"cookies\": [1]}",
        ] {
            assert!(parse(payload.as_bytes()).is_err(), "{payload}");
        }
    }
}
