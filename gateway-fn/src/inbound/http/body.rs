//! A request -> the bytes of its JSON body, decompressed, within a limit, by FastAPI's rules of what counts as one.

use axum::{body::HttpBody as _, extract::Request};
use bytes::Bytes;
use flowgate_proto::{
    Compression,
    invoke::{PayloadError, decompress},
};
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
    let body = decoded(body.to_bytes(), &head.headers, limit).await?;
    match head.method {
        Method::DELETE | Method::GET | Method::HEAD if body.is_empty() => {
            Ok(Bytes::from_static(b"{}"))
        }
        _ if body.is_empty() => Err(Rejection::body_missing()),
        _ if !is_json(&head.headers) => Err(Rejection::no_object()),
        _ => Ok(body),
    }
}

/// Undoes `content-encoding`, which Jina's Gateway leaves to a proxy in front of it. A front door on Lambda counts the
/// bytes of a request as they come, so that compression lets more of them through.
async fn decoded(body: Bytes, headers: &HeaderMap, limit: usize) -> Result<Bytes, Rejection> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(body);
    };
    let coding = coding.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    let compression = match coding.as_str() {
        "" | "identity" => return Ok(body),
        "gzip" | "x-gzip" => Compression::Gzip,
        "deflate" => Compression::Deflate,
        "zstd" => Compression::Zstd,
        _ => return Err(Rejection::ContentEncoding { coding }),
    };
    let body = Vec::from(body);
    let decompressed = if body.len() <= AT_ONCE_BYTES {
        decompress(body, compression, limit)
    } else {
        let work = move || decompress(body, compression, limit);
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Rejection::BodyUnreadable)?
    };
    match decompressed {
        Ok(body) => Ok(body.into()),
        Err(PayloadError::TooLarge { limit }) => Err(Rejection::BodyTooLarge { limit }),
        Err(_) => Err(Rejection::BodyUnreadable),
    }
}

/// Ordinary JSON of this size takes a few milliseconds; more must not keep others waiting.
const AT_ONCE_BYTES: usize = 128 << 10;

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
    use flowgate_proto::invoke::compress;

    use super::*;

    fn coded(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::CONTENT_ENCODING,
            http::HeaderValue::from_static(coding),
        )])
    }

    #[tokio::test]
    async fn compressed_bodies_are_read_within_the_limit() {
        for (coding, compression) in [
            ("gzip", Compression::Gzip),
            ("Deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
        ] {
            let sent = Bytes::from(compress(&[b' '; 1000], compression).expect("compressed"));
            let read = decoded(sent.clone(), &coded(coding), 1000).await;
            assert_eq!(read.expect(coding).len(), 1000);
            let large = decoded(sent, &coded(coding), 999).await;
            assert!(matches!(large, Err(Rejection::BodyTooLarge { limit: 999 })));
            let broken = decoded(Bytes::from_static(b"{}"), &coded(coding), 999).await;
            assert!(matches!(broken, Err(Rejection::BodyUnreadable)));
        }
        let plain = decoded(Bytes::from_static(b"{}"), &coded("identity"), 999).await;
        assert_eq!(plain.expect("as it is"), "{}");
        let unknown = decoded(Bytes::new(), &coded("br"), 999).await;
        assert!(matches!(unknown, Err(Rejection::ContentEncoding { .. })));
    }

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
