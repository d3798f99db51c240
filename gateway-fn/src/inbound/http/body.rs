//! Reads the JSON body of a request: decompressed, within a limit, by FastAPI's rules of what is a body.

use std::sync::Arc;

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
};
use bytes::{Bytes, BytesMut};
use flowgate_grpc::{Held, OverBudget, blocking};
use flowgate_proto::{
    Compression,
    invoke::{PayloadError, decompress_counted},
};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;

use super::reject::Rejection;
use crate::inbound::body_error::is_timeout;

/// Reads the body; rejects one whose `content-length` exceeds `limit` bytes, or what is left of the budget, without reading
/// any of it. The body is held from the budget by `held`.
///
/// An empty body means `{}` for methods that usually have none: Jina requires a body for `DELETE /delete`, which
/// many clients cannot send.
pub(super) async fn read(
    request: Request,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Rejection> {
    let (head, body) = request.into_parts();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Rejection::BodyTooLarge { limit });
    }
    held.budget().check(announced)?;
    let body = receive(body, announced, limit, held).await?;
    let body = decode(body, &head.headers, limit, held).await?;
    match head.method {
        Method::DELETE | Method::GET | Method::HEAD if body.is_empty() => {
            Ok(Bytes::from_static(b"{}"))
        }
        _ if body.is_empty() => Err(Rejection::missing_body()),
        _ if !is_json(&head.headers) => Err(Rejection::not_json()),
        _ => Ok(body),
    }
}

/// The memory that is reserved at first for a body of several pieces. The buffer of a larger one grows with what has been
/// received, so that a length in the head alone takes no memory.
const FIRST_BYTES: usize = 64 << 10;

/// Receives the body and returns it in one piece. A body that arrives in one piece is not copied. Several pieces are
/// copied, because even a small one would keep the whole buffer in which it arrived.
async fn receive(
    mut body: Body,
    announced: usize,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Rejection> {
    let (mut first, mut joined) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match is_timeout(&error) {
            true => Rejection::BodyTooSlow,
            false => Rejection::BodyUnreadable,
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let received = first.len() + joined.len();
        if data.len() > limit - received {
            return Err(Rejection::BodyTooLarge { limit });
        }
        held.add(data.len())?;
        if received == 0 {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.reserve(announced.min(FIRST_BYTES).max(received + data.len()));
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() {
        first
    } else {
        joined.freeze()
    })
}

/// Decompresses a body by its `content-encoding`, which Jina's Gateway does not support. API Gateway and function URLs
/// limit the compressed size of a request, so compression lets larger requests through.
///
/// A body that is not compressed as the header says is returned unchanged: a REST API decompresses what it passes on, and
/// leaves the header (API Gateway, "Call an API method with a compressed payload").
async fn decode(
    body: Bytes,
    headers: &HeaderMap,
    limit: usize,
    held: &mut Held,
) -> Result<Bytes, Rejection> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(body);
    };
    let encoding = encoding.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    if matches!(encoding.as_str(), "" | "identity") {
        return Ok(body);
    }
    let Some(compression) = compression_of(&encoding) else {
        return Err(Rejection::UnsupportedEncoding { encoding });
    };
    if !compression.is_beginning_of(&body) {
        return Ok(body);
    }
    let bytes = body.len();
    let budget = Arc::clone(held.budget());
    let work = move |max| {
        // Holds what is decompressed as it grows, beside the body.
        let mut held = budget.account();
        let count = |bytes| held.add(bytes).map_err(Undecoded::from);
        decompress_counted(&body, compression, max, count).map(|decompressed| (decompressed, held))
    };
    let is_too_large =
        |error: &Undecoded| matches!(error, Undecoded::Payload(PayloadError::TooLarge { .. }));
    let decompressed = blocking::run_growing(bytes, limit, work, is_too_large)
        .await
        .map_err(|_| Rejection::BodyUnreadable)?;
    match decompressed {
        Ok((body, decompressed)) => {
            // The compressed body has been dropped.
            drop(std::mem::replace(held, decompressed));
            Ok(body.into())
        }
        Err(Undecoded::OverBudget(error)) => Err(error.into()),
        Err(Undecoded::Payload(PayloadError::TooLarge { limit })) => {
            Err(Rejection::BodyTooLarge { limit })
        }
        Err(Undecoded::Payload(_)) => Err(Rejection::BodyUnreadable),
    }
}

/// Returns the compression that a `content-encoding` in lower case names.
fn compression_of(encoding: &str) -> Option<Compression> {
    match encoding {
        "gzip" | "x-gzip" => Some(Compression::Gzip),
        "deflate" => Some(Compression::Deflate),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// Whether the body begins as its `content-encoding` says. True for an encoding that is not supported, which is refused later
/// by its name.
pub(crate) fn begins_as(body: &[u8], encoding: &HeaderValue) -> bool {
    let encoding = encoding.to_str().unwrap_or_default().trim();
    let compression = compression_of(&encoding.to_ascii_lowercase());
    compression.is_none_or(|compression| compression.is_beginning_of(body))
}

/// Why a body is not decompressed.
enum Undecoded {
    OverBudget(OverBudget),
    Payload(PayloadError),
}

impl From<OverBudget> for Undecoded {
    fn from(error: OverBudget) -> Self {
        Self::OverBudget(error)
    }
}

impl From<PayloadError> for Undecoded {
    fn from(error: PayloadError) -> Self {
        Self::Payload(error)
    }
}

/// Whether the content type is absent, empty, `application/json` or `application/*+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let value = value.to_str().unwrap_or("?");
    let media_type = value.split(';').next().unwrap_or_default().trim();
    let is_json = media_type
        .to_ascii_lowercase()
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
    value.is_empty() || is_json
}

/// Whether `accept-encoding` lists an encoding with a weight above zero.
pub(crate) fn accepts_encoding(headers: &HeaderMap, encoding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut accepted = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    accepted.any(|accepted| {
        let (name, weight) = accepted.split_once(';').unwrap_or((accepted, "q=1"));
        let weight = weight.trim().strip_prefix("q=");
        let weight = weight.and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.unwrap_or(1.0_f32) > 0.0
    })
}

#[cfg(test)]
mod tests {
    use flowgate_grpc::Budget;
    use flowgate_proto::invoke::compress;

    use super::*;

    fn encoded(encoding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(encoding))])
    }

    async fn decode(body: Bytes, headers: &HeaderMap, limit: usize) -> Result<Bytes, Rejection> {
        let mut held = Budget::new(usize::MAX).account();
        super::decode(body, headers, limit, &mut held).await
    }

    #[tokio::test]
    async fn compressed_bodies_are_read_within_the_limit() {
        for (encoding, compression) in [
            ("gzip", Compression::Gzip),
            ("Deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
        ] {
            let sent = Bytes::from(compress(&[b' '; 1000], compression).expect("compressed"));
            let read = decode(sent.clone(), &encoded(encoding), 1000).await;
            assert_eq!(read.expect(encoding).len(), 1000);
            let large = decode(sent, &encoded(encoding), 999).await;
            assert!(matches!(large, Err(Rejection::BodyTooLarge { limit: 999 })));
            let mut broken = compress(b"{}", compression).expect("compressed");
            broken.pop();
            let broken = decode(broken.into(), &encoded(encoding), 999).await;
            assert!(matches!(broken, Err(Rejection::BodyUnreadable)));
            let decompressed = decode(Bytes::from_static(b"{}"), &encoded(encoding), 999).await;
            assert_eq!(decompressed.expect("as it is"), "{}");
        }
        let plain = decode(Bytes::from_static(b"{}"), &encoded("identity"), 999).await;
        assert_eq!(plain.expect("unchanged"), "{}");
        let unknown = decode(Bytes::new(), &encoded("br"), 999).await;
        assert!(matches!(
            unknown,
            Err(Rejection::UnsupportedEncoding { .. })
        ));
    }

    #[tokio::test]
    async fn compressed_bodies_count_as_what_they_become() {
        let sent = Bytes::from(compress(&[b' '; 1000], Compression::Gzip).expect("compressed"));
        for (limit, has_room) in [(1000, false), (1000 + sent.len(), true)] {
            let budget = Budget::new(limit);
            let mut held = budget.account();
            held.add(sent.len()).expect("room");
            let read = super::decode(sent.clone(), &encoded("gzip"), 5000, &mut held).await;
            assert_eq!(read.is_ok(), has_room, "{limit}");
            match read {
                Ok(_) => assert_eq!(held.bytes(), 1000),
                Err(rejection) => assert!(matches!(rejection, Rejection::Busy { .. })),
            }
        }
    }

    #[test]
    fn a_small_body_that_becomes_large_is_decompressed_on_another_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .expect("a runtime");
        let sent = compress(&vec![b' '; 8 << 20], Compression::Zstd).expect("compressed");
        assert!(sent.len() < 10_000);
        let headers = encoded("zstd");
        runtime.block_on(async {
            // The only other thread is busy.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let mut reading = std::pin::pin!(decode(Bytes::from(sent), &headers, 8 << 20));
            assert!(futures_util::poll!(reading.as_mut()).is_pending());
            release.send(()).expect("the thread waits");
            busy.await.expect("no panic").expect("released");
            assert_eq!(reading.await.expect("it fits").len(), 8 << 20);
        });
    }

    #[tokio::test]
    async fn a_body_counts_while_it_is_decompressed() {
        let sent = compress(&vec![b' '; 8 << 20], Compression::Gzip).expect("compressed");
        let budget = Budget::new(4 << 20);
        let mut held = budget.account();
        let read = super::decode(sent.into(), &encoded("gzip"), usize::MAX, &mut held).await;
        assert!(matches!(read, Err(Rejection::Busy { .. })));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together() {
        for pieces in [&["", "ab", "", "c"][..], &["abc"], &["", "abc"]] {
            let mut held = Budget::new(3).account();
            let stream = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece));
            let body = Body::from_stream(futures_util::stream::iter(stream));
            let body = receive(body, 0, 3, &mut held).await.expect("it fits");
            assert_eq!((&body[..], held.bytes()), (&b"abc"[..], 3), "{pieces:?}");
        }
    }

    /// Jina 3.13.2 gives the same results.
    #[test]
    fn json_is_recognized_by_its_content_type() {
        for (value, expected) in [
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
            assert_eq!(is_json(&headers), expected, "{headers:?}");
        }
        assert!(is_json(&HeaderMap::new()));
    }

    #[test]
    fn an_encoding_is_accepted_with_a_weight_above_zero() {
        for (value, accepted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, gzip ; q=1", true),
            ("gzip;q=0", false),
            ("deflate", false),
            ("", false),
        ] {
            let value = value.parse().expect("a header value");
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]);
            assert_eq!(accepts_encoding(&headers, "gzip"), accepted, "{headers:?}");
        }
        assert!(!accepts_encoding(&HeaderMap::new(), "gzip"));
    }
}
