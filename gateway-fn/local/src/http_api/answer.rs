//! The function's answer of format 2.0 -> the HTTP response; JSON without a `statusCode` is a whole body by itself
//! (API Gateway, Lambda function response format).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::answer::{self, Answer};

/// Why it is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerFault {
    #[error("it is no JSON")]
    NoJson,
    #[error("{key} does not hold")]
    Key { key: &'static str },
    #[error("the header {name} does not hold")]
    Header { name: String },
}

pub(super) fn read(payload: &[u8]) -> Result<Answer, AnswerFault> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| AnswerFault::NoJson)?;
    if value.get("statusCode").is_none() {
        return Ok(inferred(value, payload));
    }
    let mut answer = answer::bytes(status(&value["statusCode"])?, body(&value)?);
    let headers = answer.headers_mut();
    for (name, value) in value["headers"].as_object().into_iter().flatten() {
        let fault = || AnswerFault::Header { name: name.clone() };
        let value = scalar(value).ok_or_else(fault)?;
        let key = HeaderName::try_from(name.as_str()).map_err(|_| fault())?;
        // What belongs to the connection is this server's own affair.
        if ![
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::CONNECTION,
        ]
        .contains(&key)
        {
            headers.insert(key, HeaderValue::try_from(value).map_err(|_| fault())?);
        }
    }
    for cookie in value["cookies"].as_array().into_iter().flatten() {
        let cookie = cookie
            .as_str()
            .and_then(|cookie| HeaderValue::try_from(cookie).ok());
        let cookie = cookie.ok_or(AnswerFault::Key { key: "cookies" })?;
        headers.append(header::SET_COOKIE, cookie);
    }
    let text = HeaderValue::from_static("text/plain;charset=utf-8");
    headers.entry(header::CONTENT_TYPE).or_insert(text);
    Ok(answer)
}

/// 200, JSON; a string is its own text.
fn inferred(value: Value, payload: &[u8]) -> Answer {
    let body = match value {
        Value::String(text) => Bytes::from(text),
        _ => Bytes::copy_from_slice(payload),
    };
    let mut answer = answer::bytes(StatusCode::OK, body);
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

/// A number, or a number's text.
pub(crate) fn status(value: &Value) -> Result<StatusCode, AnswerFault> {
    let text = scalar(value).unwrap_or_default();
    let status = text
        .parse()
        .ok()
        .and_then(|code: u16| StatusCode::from_u16(code).ok());
    status
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or(AnswerFault::Key { key: "statusCode" })
}

fn body(value: &Value) -> Result<Bytes, AnswerFault> {
    let fault = || AnswerFault::Key { key: "body" };
    let text = match &value["body"] {
        Value::Null => return Ok(Bytes::new()),
        Value::String(text) => text,
        _ => return Err(fault()),
    };
    match &value["isBase64Encoded"] {
        Value::Bool(true) => STANDARD.decode(text).map(Bytes::from).map_err(|_| fault()),
        _ => Ok(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn scalar(value: &Value) -> Option<String> {
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

    async fn answered(payload: &str) -> (u16, String, Vec<u8>) {
        let answer = read(payload.as_bytes()).expect(payload);
        let kind = answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .expect("text")
            .to_owned();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("whole");
        (status, kind, body.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn json_without_a_status_is_the_body() {
        let json = "application/json".to_owned();
        let object = answered("{ \"message\": 1 }").await;
        assert_eq!(object, (200, json.clone(), b"{ \"message\": 1 }".to_vec()));
        assert_eq!(answered("\"hi\"").await, (200, json, b"hi".to_vec()));
    }

    #[tokio::test]
    async fn a_whole_answer_is_taken_apart() {
        let payload = r#"{"statusCode": "201", "headers": {"X-A": 1, "content-type": "a/b", "content-length": "9"},
            "cookies": ["a=1", "b=2"], "body": "AAE=", "isBase64Encoded": true}"#;
        assert_eq!(answered(payload).await, (201, "a/b".to_owned(), vec![0, 1]));
        let answer = read(payload.as_bytes()).expect("holds");
        assert_eq!(answer.headers()["x-a"], "1");
        assert_eq!(
            answer.headers().get_all(header::SET_COOKIE).iter().count(),
            2
        );
        assert!(!answer.headers().contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
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
            assert!(read(payload.as_bytes()).is_err(), "{payload}");
        }
    }
}
