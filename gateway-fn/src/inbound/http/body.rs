//! Reads the JSON body of a request: decompressed and parsed, within limits, by FastAPI's rules of what is a body.

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

/// Reads the body and parses its JSON with `parse`; rejects one whose `content-length` exceeds `limit` bytes, or what is left
/// of the budget, without reading any of it. The body, which is returned with the result, is held from the budget by `held`.
///
/// An empty body means `{}` for methods that usually have none: Jina requires a body for `DELETE /delete`, which
/// many clients cannot send.
pub(super) async fn read<T: Send + 'static>(
    request: Request,
    limit: usize,
    held: &mut Held,
    parse: impl Fn(&Bytes) -> Result<T, Rejection> + Clone + Send + 'static,
) -> Result<(Bytes, T), Rejection> {
    let (head, body) = request.into_parts();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Rejection::BodyTooLarge { limit });
    }
    held.budget().check(announced)?;
    let received = receive(body, announced, limit, held).await?;
    let compression = compression(&head.headers, &received)?;
    let may_be_empty = matches!(head.method, Method::DELETE | Method::GET | Method::HEAD);
    let is_json = is_json(&head.headers);
    let parse = move |body: Bytes| {
        let body = match body.is_empty() {
            true if may_be_empty => Bytes::from_static(b"{}"),
            true => return Err(Rejection::missing_body()),
            false if !is_json => return Err(Rejection::not_json()),
            false => body,
        };
        parse(&body).map(|parsed| (body, parsed))
    };
    match compression {
        Some(compression) => decompress(received, compression, limit, held, parse).await,
        None => {
            let parsed = blocking::run(received.len(), move || parse(received)).await;
            parsed.unwrap_or(Err(Rejection::BodyUnreadable))
        }
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

/// Returns the compression of a body by its `content-encoding`, which Jina's Gateway does not support. API Gateway and
/// function URLs limit the compressed size of a request, so compression lets larger requests through.
///
/// A body that is not compressed as the header says has no compression: a REST API decompresses what it passes on, and
/// leaves the header (API Gateway, "Call an API method with a compressed payload").
fn compression(headers: &HeaderMap, body: &[u8]) -> Result<Option<Compression>, Rejection> {
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(None);
    };
    let encoding = encoding.to_str().unwrap_or("?").trim().to_ascii_lowercase();
    if matches!(encoding.as_str(), "" | "identity") {
        return Ok(None);
    }
    let Some(compression) = compression_of(&encoding) else {
        return Err(Rejection::UnsupportedEncoding { encoding });
    };
    Ok(Some(compression).filter(|compression| compression.is_beginning_of(body)))
}

/// Decompresses a body and parses it, both on the same thread: a body of a few kilobytes that becomes large takes its memory
/// only when a thread is free for it, so that many of them do not take the budget from other requests while they wait.
async fn decompress<T: Send + 'static>(
    body: Bytes,
    compression: Compression,
    limit: usize,
    held: &mut Held,
    parse: impl Fn(Bytes) -> Result<T, Rejection> + Clone + Send + 'static,
) -> Result<T, Rejection> {
    let bytes = body.len();
    let budget = Arc::clone(held.budget());
    let work = move |max| {
        // Holds what is decompressed as it grows, beside the body.
        let mut held = budget.account();
        let count = |bytes| held.add(bytes).map_err(Undecoded::from);
        let decompressed = decompress_counted(&body, compression, max, count)?;
        let parsed = parse(decompressed.into()).map_err(Undecoded::Rejected)?;
        Ok((parsed, held))
    };
    let is_too_large =
        |error: &Undecoded| matches!(error, Undecoded::Payload(PayloadError::TooLarge { .. }));
    let decompressed = blocking::run_growing(bytes, limit, work, is_too_large)
        .await
        .map_err(|_| Rejection::BodyUnreadable)?;
    match decompressed {
        Ok((parsed, decompressed)) => {
            // The compressed body has been dropped.
            drop(std::mem::replace(held, decompressed));
            Ok(parsed)
        }
        Err(Undecoded::OverBudget(error)) => Err(error.into()),
        Err(Undecoded::Rejected(rejection)) => Err(rejection),
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

/// Why a compressed body is not a request.
enum Undecoded {
    OverBudget(OverBudget),
    Payload(PayloadError),
    /// It is decompressed, but not a request.
    Rejected(Rejection),
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
    use std::{
        num::NonZeroUsize,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use flowgate_grpc::Budget;
    use flowgate_proto::invoke::compress;
    use tokio::{runtime::Handle, sync::Semaphore};

    use super::*;

    async fn read_with(
        body: Bytes,
        encoding: &str,
        limit: usize,
        held: &mut Held,
    ) -> Result<Bytes, Rejection> {
        let request = Request::post("/").header(header::CONTENT_ENCODING, encoding);
        let request = request.body(Body::from(body)).expect("a request");
        let read = read(request, limit, held, |_| Ok(())).await;
        read.map(|(body, ())| body)
    }

    async fn decode(body: Bytes, encoding: &str, limit: usize) -> Result<Bytes, Rejection> {
        let mut held = Budget::new(usize::MAX).account();
        read_with(body, encoding, limit, &mut held).await
    }

    #[tokio::test]
    async fn compressed_bodies_are_read_within_the_limit() {
        for (encoding, compression) in [
            ("gzip", Compression::Gzip),
            ("Deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
        ] {
            let sent = Bytes::from(compress(&[b' '; 1000], compression).expect("compressed"));
            let read = decode(sent.clone(), encoding, 1000).await;
            assert_eq!(read.expect(encoding).len(), 1000);
            let large = decode(sent, encoding, 999).await;
            assert!(matches!(large, Err(Rejection::BodyTooLarge { limit: 999 })));
            let mut broken = compress(b"{}", compression).expect("compressed");
            broken.pop();
            let broken = decode(broken.into(), encoding, 999).await;
            assert!(matches!(broken, Err(Rejection::BodyUnreadable)));
            let decompressed = decode(Bytes::from_static(b"{}"), encoding, 999).await;
            assert_eq!(decompressed.expect("unchanged"), "{}");
        }
        let plain = decode(Bytes::from_static(b"{}"), "identity", 999).await;
        assert_eq!(plain.expect("unchanged"), "{}");
        let unknown = decode(Bytes::new(), "br", 999).await;
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
            let read = read_with(sent.clone(), "gzip", 5000, &mut held).await;
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
        runtime.block_on(async {
            // The only other thread is busy.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let mut reading = std::pin::pin!(decode(Bytes::from(sent), "zstd", 8 << 20));
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
        let read = read_with(sent.into(), "gzip", usize::MAX, &mut held).await;
        assert!(matches!(read, Err(Rejection::Busy { .. })));
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    /// Many such bodies wait for few threads.
    #[tokio::test]
    async fn a_compressed_body_takes_no_memory_while_it_waits_for_a_thread() {
        let size = 4 << 20;
        let sent = compress(&vec![b' '; size], Compression::Gzip).expect("compressed");
        let budget = Budget::new(usize::MAX);
        let sent = Bytes::from(sent);
        let (entered, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let reading = (0..16).map(|_| {
            let (sent, mut held) = (sent.clone(), budget.account());
            let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
            tokio::spawn(async move {
                let request = Request::post("/").header(header::CONTENT_ENCODING, "gzip");
                let request = request.body(Body::from(sent)).expect("a request");
                let parse = move |_: &Bytes| {
                    entered.fetch_add(1, Relaxed);
                    let permit = Handle::current().block_on(release.acquire());
                    permit.expect("open").forget();
                    Ok(())
                };
                read(request, usize::MAX, &mut held, parse).await.is_ok()
            })
        });
        let reading: Vec<_> = reading.collect();
        let is_parsing = async {
            while entered.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let is_parsing = tokio::time::timeout(Duration::from_secs(60), is_parsing).await;
        is_parsing.expect("a body is parsed");
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        assert!(budget.used() <= threads.div_ceil(2) * size + 16 * sent.len());
        release.add_permits(16);
        for reading in reading {
            assert!(reading.await.expect("no panic"));
        }
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
