//! A request -> the bytes of its JSON body, within a limit, by FastAPI's rules of what counts as one.

use axum::{body::HttpBody as _, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::reject::Rejection;

/// Reads the body, but nothing of one that says it is longer than `limit` bytes.
///
/// A request whose method seldom comes with a body stands for one with `{}` when it has none; Jina's
/// `DELETE /delete` demands one, which many clients cannot send.
pub(super) async fn read(request: Request, limit: usize) -> Result<Bytes, Rejection> {
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > limit as u64 {
        return Err(Rejection::BodyTooLarge { limit });
    }
    let body = Limited::new(body, limit).collect().await;
    let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Rejection::BodyTooLarge { limit },
        None => Rejection::BodyUnreadable,
    })?;
    let body = body.to_bytes();
    match head.method {
        Method::DELETE | Method::GET | Method::HEAD if body.is_empty() => {
            Ok(Bytes::from_static(b"{}"))
        }
        _ if body.is_empty() => Err(Rejection::body_missing()),
        _ if !is_json(&head.headers) => Err(Rejection::no_object()),
        _ => Ok(body),
    }
}

/// Whether the content type is absent, empty, `application/json` or `application/*+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let value = value.to_str().unwrap_or("?");
    let kind = value.split(';').next().unwrap_or_default().trim();
    let subtype = kind
        .to_ascii_lowercase()
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
    value.is_empty() || subtype
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen at Jina 3.13.2.
    #[test]
    fn json_is_told_by_its_content_type() {
        for (value, json) in [
            ("application/json", true),
            ("APPLICATION/JSON", true),
            (" application/json ;x", true),
            ("application/vnd.api+json; charset=x", true),
            ("", true),
            ("application/jsonx", false),
            ("application/json bogus", false),
            ("text/json", false),
            ("foo/json+json", false),
            ("garbage", false),
        ] {
            let value = value.parse().expect("a header value");
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);
            assert_eq!(is_json(&headers), json, "{headers:?}");
        }
        assert!(is_json(&HeaderMap::new()));
    }
}
