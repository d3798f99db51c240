//! Text from an HTTP request: header values, percent-encoding, and query parameters as API Gateway's events have them.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Returns a header's value as text. A value that is not UTF-8 is read as Latin-1, which RFC 2616 once allowed.
pub(crate) fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// Percent-decodes a part of a path, in which `+` stands for itself; replaces invalid UTF-8.
pub(crate) fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Percent-decodes a part of a query, in which `+` stands for a space; replaces invalid UTF-8.
fn decode_query(text: &str) -> String {
    decode_path(&text.replace('+', " "))
}

/// Returns the decoded parameters of a query; the values of a repeated parameter are joined by commas.
pub(crate) fn query_parameters(query: &str) -> Map<String, Value> {
    let lists = query_lists(query).into_iter();
    lists
        .map(|(name, values)| (name, values.join(",").into()))
        .collect()
}

/// Returns the decoded parameters of a query with all their values, in the order of their first occurrence.
pub(crate) fn query_lists(query: &str) -> Vec<(String, Vec<String>)> {
    let mut lists: Vec<(String, Vec<String>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode_query(name), decode_query(value));
        match lists.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => lists.push((name, vec![value])),
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_percent_encoding_stays_unchanged() {
        assert_eq!(decode_path("%zz%4"), "%zz%4");
        assert_eq!(decode_path("a+%3D"), "a+=");
        assert_eq!(decode_query("a+%+3%3D"), "a % 3=");
    }
}
