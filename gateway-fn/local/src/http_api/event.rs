//! An HTTP request -> the event of payload format 2.0 (API Gateway, Lambda proxy integrations for HTTP APIs): header
//! names in lower case, what comes twice joined by commas, cookies by themselves, bodies that are no text in base64.

use std::{borrow::Cow, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::Api;
use crate::{
    function::{ACCOUNT, TRACE_HEADER},
    moment::Moment,
};

/// A request, and what API Gateway knows of it.
pub(super) struct Arrival<'a> {
    id: &'a str,
    api: &'a Api,
    parts: &'a Parts,
    body: &'a Bytes,
    peer: SocketAddr,
    at: Moment,
    trace: String,
}

impl<'a> Arrival<'a> {
    pub(super) fn new(
        id: &'a str,
        api: &'a Api,
        parts: &'a Parts,
        body: &'a Bytes,
        peer: SocketAddr,
    ) -> Self {
        let at = Moment::now();
        let sent = parts.headers.get(TRACE_HEADER);
        let trace = sent.map_or_else(|| at.trace(), |trace| text(trace).into_owned());
        Self {
            id,
            api,
            parts,
            body,
            peer,
            at,
            trace,
        }
    }

    pub(super) fn trace(&self) -> &str {
        &self.trace
    }

    pub(super) fn event(&self) -> Value {
        let query = self.parts.uri.query().unwrap_or_default();
        let mut event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": self.parts.uri.path(),
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
            let as_text = std::str::from_utf8(self.body).ok();
            let as_text = as_text.filter(|_| is_text(&self.parts.headers));
            event["isBase64Encoded"] = as_text.is_none().into();
            event["body"] = match as_text {
                Some(text) => text.into(),
                None => STANDARD.encode(self.body).into(),
            };
        }
        event
    }

    fn context(&self) -> Value {
        let agent = self.parts.headers.get(header::USER_AGENT);
        json!({
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": self.api.domain,
            "domainPrefix": "local",
            "http": {
                "method": self.parts.method.as_str(),
                "path": self.parts.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": self.peer.ip().to_string(),
                "userAgent": agent.map_or(Cow::Borrowed(""), text),
            },
            "requestId": self.id,
            "routeKey": "$default",
            "stage": self.api.stage,
            "time": self.at.common_log(),
            "timeEpoch": self.at.millis(),
        })
    }

    /// The client's, without those of its connection, and those that API Gateway adds.
    fn headers(&self) -> Map<String, Value> {
        let mut headers = Map::new();
        for name in self.parts.headers.keys() {
            if name != header::COOKIE && !OF_THE_CONNECTION.contains(&name.as_str()) {
                let values: Vec<_> = self.parts.headers.get_all(name).iter().map(text).collect();
                headers.insert(name.to_string(), values.join(",").into());
            }
        }
        let from = self.peer.ip().to_string();
        let from = match self.parts.headers.get("x-forwarded-for") {
            Some(before) => format!("{}, {from}", text(before)),
            None => from,
        };
        headers.insert(TRACE_HEADER.to_owned(), self.trace.as_str().into());
        headers.insert("x-forwarded-for".to_owned(), from.into());
        headers.insert(
            "x-forwarded-port".to_owned(),
            self.api.port.to_string().into(),
        );
        headers.insert("x-forwarded-proto".to_owned(), "http".into());
        headers
    }
}

const OF_THE_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A header's value; bytes that are no UTF-8 are read as Latin-1, as HTTP once said.
pub(crate) fn text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value
            .as_bytes()
            .iter()
            .map(|&byte| char::from(byte))
            .collect(),
    }
}

/// `a=1; b=2` -> `a=1`, `b=2`: they are in no header of the event.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let mut cookies = Vec::new();
    for header in headers.get_all(header::COOKIE) {
        let header = text(header);
        let parts = header.split(';').map(str::trim);
        cookies.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    }
    cookies
}

/// The parameters decoded; the values of one that comes again joined by commas.
pub(crate) fn query_parameters(query: &str) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, values) in query_lists(query) {
        parameters.insert(name, values.join(",").into());
    }
    parameters
}

/// The parameters decoded, in the order in which they first come.
pub(crate) fn query_lists(query: &str) -> Vec<(String, Vec<String>)> {
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name, Plus::IsSpace), decoded(value, Plus::IsSpace));
        match lists.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => lists.push((name, vec![value])),
        }
    }
    lists
}

/// What a `+` means: a space in a query, itself in a path.
#[derive(Clone, Copy)]
pub(crate) enum Plus {
    IsSpace,
    IsPlus,
}

/// Percent-decoded; what is no UTF-8 then is replaced.
pub(crate) fn decoded(text: &str, plus: Plus) -> String {
    match plus {
        Plus::IsSpace => decode(&text.replace('+', " ")),
        Plus::IsPlus => decode(text),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether a body of this type is passed as text. Everything else, forms too, is base64, and so is what is compressed.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || [
            "application/json",
            "application/xml",
            "application/javascript",
        ]
        .contains(&kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(request: http::Request<&'static str>) -> Value {
        let api = Api {
            stage: "$default".to_owned(),
            prefix: String::new(),
            domain: "127.0.0.1:3000".to_owned(),
            port: 3000,
            timeout: std::time::Duration::ZERO,
        };
        let (parts, body) = request.into_parts();
        let body = Bytes::from_static(body.as_bytes());
        Arrival::new("id", &api, &parts, &body, ([127, 0, 0, 1], 9).into()).event()
    }

    #[test]
    fn the_event_reads_as_awss_own_type_and_says_what_came() {
        let request = http::Request::post("/my/path?parameter1=value1&parameter1=a+b%21&x")
            .header("Header2", "value1")
            .header("header2", "value2")
            .header("cookie", "cookie1; cookie2=x")
            .header("connection", "close")
            .header("content-type", "Application/JSON; charset=utf-8");
        let event = arrived(request.body("{}").expect("holds"));
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
    fn bodies_that_are_no_text_are_base64() {
        for (name, value, encoded) in [
            ("content-type", "text/csv", false),
            ("content-type", "application/x-www-form-urlencoded", true),
            ("content-type", "application/octet-stream", true),
            ("content-encoding", "gzip", true),
        ] {
            let request = http::Request::post("/")
                .header(name, value)
                .body("a")
                .expect("holds");
            assert_eq!(arrived(request)["isBase64Encoded"], encoded, "{value}");
        }
    }

    #[test]
    fn broken_percent_signs_stay_as_they_are() {
        assert_eq!(decoded("%zz%4", Plus::IsPlus), "%zz%4");
        assert_eq!(decoded("a+%3D", Plus::IsPlus), "a+=");
        assert_eq!(decoded("a+%+3%3D", Plus::IsSpace), "a % 3=");
    }
}
