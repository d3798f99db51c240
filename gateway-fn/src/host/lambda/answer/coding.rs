//! `accept-encoding` -> how an answer is compressed, if it is worth it.

use axum::{
    body::HttpBody as _,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flowgate_proto::{Compression, invoke::compress};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;

/// A compression that a client takes, and from how many bytes on it gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host::lambda) struct Coding {
    compression: Compression,
    from: usize,
}

impl Coding {
    /// The best of those that the client takes: zstd is the fastest and the smallest.
    pub(in crate::host::lambda) fn asked_for(
        asked: &HeaderMap,
        from: Option<usize>,
    ) -> Option<Self> {
        let compression = [Compression::Zstd, Compression::Gzip, Compression::Deflate]
            .into_iter()
            .find(|compression| accepts(asked, compression.name()))?;
        Some(Self {
            compression,
            from: from?,
        })
    }

    /// Compresses an answer whose body is there as a whole, and says how many bytes it had; one that is still being made
    /// goes on as it comes.
    pub(in crate::host::lambda) async fn of_one_piece(
        self,
        answer: Response,
    ) -> (Response, Option<usize>) {
        if answer.body().size_hint().exact().is_none() {
            return (answer, None);
        }
        let (mut head, body) = answer.into_parts();
        let Ok(body) = body.collect().await else {
            return (StatusCode::INTERNAL_SERVER_ERROR.into_response(), None);
        };
        let plain = body.to_bytes();
        let before = plain.len();
        let body = self.apply(&mut head.headers, plain);
        // It is no longer what was said of it.
        head.headers.remove(header::CONTENT_LENGTH);
        let is_other = body.len() != before;
        let answer = Response::from_parts(head, body.into());
        (answer, is_other.then_some(before))
    }

    /// Compresses a body and says so in its headers; a small one, and one that is compressed already, stays.
    pub(super) fn apply(self, headers: &mut HeaderMap, body: Bytes) -> Bytes {
        if body.len() < self.from || headers.contains_key(header::CONTENT_ENCODING) {
            return body;
        }
        let Ok(compressed) = compress(&body, self.compression) else {
            return body;
        };
        let name = HeaderValue::from_static(self.compression.name());
        headers.insert(header::CONTENT_ENCODING, name);
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        compressed.into()
    }
}

/// Whether `accept-encoding` names a coding with a weight above nought.
fn accepts(asked: &HeaderMap, coding: &str) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).iter();
    let mut named = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    named.any(|named| {
        let (name, weight) = named.split_once(';').unwrap_or((named, "q=1"));
        let weight = weight.trim().strip_prefix("q=");
        let weight = weight.and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case(coding) && weight.unwrap_or(1.0_f32) > 0.0
    })
}

#[cfg(test)]
mod tests {
    use flowgate_proto::invoke::decompress;

    use super::*;

    fn asked(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_best_that_the_client_takes_is_taken() {
        let found =
            |value| Coding::asked_for(&asked(value), Some(1)).map(|coding| coding.compression);
        assert_eq!(found("gzip, deflate, br, zstd"), Some(Compression::Zstd));
        assert_eq!(found("br, GZIP;q=0.5"), Some(Compression::Gzip));
        assert_eq!(found("zstd;q=0, deflate"), Some(Compression::Deflate));
        assert_eq!(found("br, identity"), None);
        assert_eq!(Coding::asked_for(&asked("gzip"), None), None);
    }

    #[test]
    fn only_what_is_large_and_plain_is_compressed() {
        let coding = Coding::asked_for(&asked("gzip"), Some(100)).expect("gzip");
        let mut headers = HeaderMap::new();
        let small = Bytes::from(vec![0; 99]);
        assert_eq!(coding.apply(&mut headers, small.clone()), small);
        assert!(headers.is_empty());
        let large = Bytes::from(vec![0; 1000]);
        let sent = coding.apply(&mut headers, large.clone());
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        let read = decompress(sent.to_vec(), Compression::Gzip, 1000);
        assert_eq!(read.expect("gzip"), large);
        assert_eq!(coding.apply(&mut headers, sent.clone()), sent);
    }
}
