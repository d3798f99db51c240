//! The headers of a response as front doors take them: without those of the connection, and with one value or with lists.

use http::{HeaderMap, HeaderValue, header};

/// Returns the headers that belong to the response and not to its connection.
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let of_connection = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    let headers = headers.iter();
    let kept = headers.filter(|(name, _)| !of_connection.contains(name));
    kept.map(|(name, value)| (name.clone(), as_utf8(value)))
        .collect()
}

/// Returns one value for each name, several values joined by commas (RFC 9110, section 5.3), without cookies.
pub(in crate::host::lambda) fn single_value_headers(headers: &HeaderMap) -> HeaderMap {
    let all = end_to_end(headers);
    let mut joined = HeaderMap::with_capacity(all.keys_len());
    for name in all.keys().filter(|name| **name != header::SET_COOKIE) {
        let mut values = all.get_all(name).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => Some(value.clone()),
            _ => join(all.get_all(name).iter()),
        };
        if let Some(value) = value {
            joined.insert(name, value);
        }
    }
    joined
}

/// Returns the values of `set-cookie`, which commas must not join.
pub(in crate::host::lambda) fn cookies(headers: &HeaderMap) -> Vec<String> {
    let cookies = headers.get_all(header::SET_COOKIE).iter();
    cookies
        .map(|cookie| String::from_utf8_lossy(cookie.as_bytes()).into_owned())
        .collect()
}

/// Returns the headers for a front door with one value for a name, which passes one cookie on. Logs `warning` when there
/// are more.
pub(super) fn with_last_cookie(headers: &HeaderMap, warning: &str) -> HeaderMap {
    let mut joined = single_value_headers(headers);
    let mut cookies = headers.get_all(header::SET_COOKIE).iter();
    let cookie = cookies.next_back();
    if cookies.next().is_some() {
        tracing::warn!("{warning}");
    }
    if let Some(cookie) = cookie {
        joined.insert(header::SET_COOKIE, as_utf8(cookie));
    }
    joined
}

fn join<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Option<HeaderValue> {
    let values: Vec<_> = values.map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&values.join(&b", "[..])).ok()
}

/// Returns a value that is UTF-8, as JSON must be: the types of `lambda_http` refuse a whole response for another.
fn as_utf8(value: &HeaderValue) -> HeaderValue {
    match String::from_utf8_lossy(value.as_bytes()) {
        std::borrow::Cow::Borrowed(_) => value.clone(),
        std::borrow::Cow::Owned(text) => {
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
        }
    }
}
