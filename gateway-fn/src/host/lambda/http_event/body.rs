//! Decodes the body of an event, and removes headers that no longer describe it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use lambda_http::aws_lambda_events::encodings::Body;

use super::HttpEventError;
use crate::{host::lambda::event::EventBody, inbound::http::begins_as};

/// Decodes the body.
///
/// A REST API decompresses the body of a request and passes `content-encoding` on (API Gateway, "Call an API method with a
/// compressed payload"), so the header counts only if the body begins as it says. Front doors also pass on the
/// `content-length` and `transfer-encoding` of what the client sent.
pub(super) fn decode(
    body: EventBody<'_>,
    is_base64: bool,
    headers: &mut HeaderMap,
) -> Result<Body, HttpEventError> {
    let body = match body {
        EventBody::Missing => Body::Empty,
        EventBody::Other => return Err(HttpEventError::BodyType),
        EventBody::Text(text) if text.is_empty() => Body::Empty,
        EventBody::Text(text) if is_base64 => {
            let bytes = STANDARD.decode(text.as_bytes());
            Body::Binary(bytes.map_err(HttpEventError::Base64)?)
        }
        EventBody::Text(text) => Body::Text(text.into_owned()),
    };
    headers.remove(header::TRANSFER_ENCODING);
    if headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(body.as_ref().len()),
        );
    }
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !begins_as(&body, encoding)) {
        headers.remove(header::CONTENT_ENCODING);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use flowgate_proto::{Compression, invoke::compress};

    use super::*;

    const JSON: &str = r#"{"data":[]}"#;

    fn headers(encoding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::CONTENT_ENCODING, encoding),
            (header::CONTENT_LENGTH, "999"),
            (header::TRANSFER_ENCODING, "chunked"),
        ] {
            headers.insert(name, HeaderValue::try_from(value).expect("valid"));
        }
        headers
    }

    fn text(body: &str) -> EventBody<'_> {
        EventBody::Text(body.into())
    }

    #[test]
    fn a_content_encoding_that_is_no_longer_true_is_removed() {
        for encoding in ["gzip", "x-gzip", "Deflate", "zstd"] {
            for body in [JSON, "[1]", " {}", "\n{}", "x"] {
                let mut headers = headers(encoding);
                let decoded = decode(text(body), false, &mut headers).expect("a body");
                assert_eq!(decoded, Body::Text(body.to_owned()));
                assert_eq!(
                    headers.get(header::CONTENT_ENCODING),
                    None,
                    "{encoding} {body}"
                );
                assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string());
                assert_eq!(headers.get(header::TRANSFER_ENCODING), None);
            }
        }
    }

    #[test]
    fn a_content_encoding_that_is_true_or_unknown_stays() {
        for (encoding, compression) in [
            ("gzip", Compression::Gzip),
            ("deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
            ("br", Compression::None),
        ] {
            let bytes = compress(JSON.as_bytes(), compression).expect("compressed");
            let mut headers = headers(encoding);
            let sent = STANDARD.encode(&bytes);
            let decoded = decode(text(&sent), true, &mut headers).expect("a body");
            assert_eq!(headers[header::CONTENT_ENCODING], encoding);
            assert_eq!(headers[header::CONTENT_LENGTH], bytes.len().to_string());
            assert_eq!(decoded, Body::Binary(bytes));
        }
    }

    #[test]
    fn a_missing_body_is_empty_and_another_type_is_an_error() {
        let mut headers = HeaderMap::new();
        for (body, is_base64) in [
            (EventBody::Missing, true),
            (text(""), true),
            (text(""), false),
        ] {
            let decoded = decode(body, is_base64, &mut headers).expect("a body");
            assert_eq!(decoded, Body::Empty);
        }
        assert!(headers.is_empty());
        let other = decode(EventBody::Other, false, &mut headers);
        assert!(matches!(other, Err(HttpEventError::BodyType)));
        let broken = decode(text("?"), true, &mut headers);
        assert!(matches!(broken, Err(HttpEventError::Base64(_))));
    }
}
