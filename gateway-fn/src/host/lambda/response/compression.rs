//! Compresses response bodies by an encoding that the client accepts, where it is worth it.

use axum::{
    body::HttpBody as _,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use flowgate_proto::{Compression, invoke::compress};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;

use crate::inbound::http::accepts_encoding;

/// How a client's responses are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host::lambda) struct ResponseCompression {
    compression: Compression,
    /// Smaller bodies stay uncompressed.
    min_bytes: usize,
}

impl ResponseCompression {
    /// Chooses the best encoding that a request with these headers accepts: zstd is the fastest and the smallest.
    /// Compression is off if `min_bytes` is `None`.
    pub(in crate::host::lambda) fn negotiate(
        request: &HeaderMap,
        min_bytes: Option<usize>,
    ) -> Option<Self> {
        let compression = [Compression::Zstd, Compression::Gzip, Compression::Deflate]
            .into_iter()
            .find(|compression| accepts_encoding(request, compression.name()))?;
        Some(Self {
            compression,
            min_bytes: min_bytes?,
        })
    }

    /// Compresses a response whose body is complete, and returns its size before that. A body that is produced while it
    /// is sent stays uncompressed.
    pub(in crate::host::lambda) async fn compress_complete(
        self,
        response: Response,
    ) -> (Response, Option<usize>) {
        if response.body().size_hint().exact().is_none() {
            return (response, None);
        }
        let (mut head, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return (StatusCode::INTERNAL_SERVER_ERROR.into_response(), None);
        };
        let body = body.to_bytes();
        let uncompressed = body.len();
        let body = self.apply(&mut head.headers, body);
        head.headers.remove(header::CONTENT_LENGTH);
        let is_compressed = body.len() != uncompressed;
        let response = Response::from_parts(head, body.into());
        (response, is_compressed.then_some(uncompressed))
    }

    /// Compresses a body and sets its headers. A body that is small or compressed already is returned unchanged.
    pub(super) fn apply(self, headers: &mut HeaderMap, body: Bytes) -> Bytes {
        if body.len() < self.min_bytes || headers.contains_key(header::CONTENT_ENCODING) {
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

#[cfg(test)]
mod tests {
    use flowgate_proto::invoke::decompress;

    use super::*;

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_best_accepted_encoding_is_chosen() {
        let chosen = |value| {
            ResponseCompression::negotiate(&accepting(value), Some(1)).map(|it| it.compression)
        };
        assert_eq!(chosen("gzip, deflate, br, zstd"), Some(Compression::Zstd));
        assert_eq!(chosen("br, GZIP;q=0.5"), Some(Compression::Gzip));
        assert_eq!(chosen("zstd;q=0, deflate"), Some(Compression::Deflate));
        assert_eq!(chosen("br, identity"), None);
        let off = ResponseCompression::negotiate(&accepting("gzip"), None);
        assert_eq!(off, None);
    }

    #[test]
    fn only_a_large_uncompressed_body_is_compressed() {
        let gzip = ResponseCompression::negotiate(&accepting("gzip"), Some(100)).expect("gzip");
        let mut headers = HeaderMap::new();
        let small = Bytes::from(vec![0; 99]);
        assert_eq!(gzip.apply(&mut headers, small.clone()), small);
        assert!(headers.is_empty());
        let large = Bytes::from(vec![0; 1000]);
        let sent = gzip.apply(&mut headers, large.clone());
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        let read = decompress(sent.to_vec(), Compression::Gzip, 1000);
        assert_eq!(read.expect("gzip"), large);
        assert_eq!(gzip.apply(&mut headers, sent.clone()), sent);
    }
}
