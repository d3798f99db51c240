//! Compresses and decompresses single messages of gRPC.

use std::io::{self, Read as _, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::{
    Compression as Level, read::MultiGzDecoder, read::ZlibDecoder, write::GzEncoder,
    write::ZlibEncoder,
};
use flowgate_proto::{Chunks, Compression};
use http::HeaderValue;

/// A compression of gRPC messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `gzip`.
    Gzip,
    /// `deflate`, which is zlib's format ("gRPC over HTTP2", "Message-Encoding").
    Deflate,
}

impl Encoding {
    /// The value of `grpc-accept-encoding`.
    pub const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip,deflate,identity");

    /// Returns the encoding of the Flow's setting. For `zstd`, which gRPC does not have, it is gzip.
    #[must_use]
    pub const fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Gzip | Compression::Zstd => Some(Self::Gzip),
            Compression::Deflate => Some(Self::Deflate),
        }
    }

    /// Returns the encoding of this name in `grpc-encoding`.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// The value of `grpc-encoding`.
    #[must_use]
    pub const fn header(self) -> HeaderValue {
        match self {
            Self::Gzip => HeaderValue::from_static("gzip"),
            Self::Deflate => HeaderValue::from_static("deflate"),
        }
    }
}

/// Compresses a message.
#[must_use]
pub fn compress(encoding: Encoding, message: &Chunks) -> Bytes {
    // Level 6 of 9, as in gRPC's own libraries. Writing to memory cannot fail.
    let output = Vec::with_capacity(message.len() / 2);
    let written = match encoding {
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(output, Level::default());
            let written = message
                .iter()
                .try_for_each(|piece| encoder.write_all(piece));
            written.and_then(|()| encoder.finish())
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(output, Level::default());
            let written = message
                .iter()
                .try_for_each(|piece| encoder.write_all(piece));
            written.and_then(|()| encoder.finish())
        }
    };
    written.unwrap_or_default().into()
}

/// Decompresses a message of at most `limit` bytes. Stops as soon as it is larger.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] when the message is larger than the limit; another kind when the bytes are not of this
/// encoding.
pub fn decompress(encoding: Encoding, message: Chunks, limit: usize) -> io::Result<Bytes> {
    // Text is often compressed to a quarter. Beyond 1 MiB the buffer grows only with what it receives, because the peer
    // chooses the size.
    let mut output = Vec::with_capacity(message.len().saturating_mul(4).min(limit).min(1 << 20));
    let max_read = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let compressed = message.reader();
    let read = match encoding {
        Encoding::Gzip => MultiGzDecoder::new(compressed)
            .take(max_read)
            .read_to_end(&mut output)?,
        Encoding::Deflate => ZlibDecoder::new(compressed)
            .take(max_read)
            .read_to_end(&mut output)?,
    };
    match read > limit {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(output.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_unchanged_by_compression_and_bounded_when_decompressed() {
        let message: Chunks = [&b"hello "[..], &[b'a'; 1000][..]]
            .map(Bytes::copy_from_slice)
            .into_iter()
            .collect();
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let compressed = compress(encoding, &message);
            assert!(compressed.len() < 100);
            let read = decompress(encoding, compressed.clone().into(), message.len());
            assert_eq!(read.expect("just compressed"), message.clone().into_bytes());
            let error = decompress(encoding, compressed.clone().into(), message.len() - 1);
            assert_eq!(
                error.expect_err("too large").kind(),
                io::ErrorKind::FileTooLarge
            );
            let garbage = Chunks::from(Bytes::from_static(b"garbage"));
            decompress(encoding, garbage, 100).expect_err("not compressed");
            decompress(encoding, compressed.slice(..20).into(), 10_000).expect_err("cut off");
        }
    }
}
