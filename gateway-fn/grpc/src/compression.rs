//! Compresses and decompresses single messages of gRPC.

use std::{
    io::{self, Read, Write as _},
    sync::Arc,
};

use bytes::{Buf as _, Bytes};
use flate2::{
    Compression as Level, read::MultiGzDecoder, read::ZlibDecoder, write::GzEncoder,
    write::ZlibEncoder,
};
use flowgate_proto::{Chunks, Compression};
use flowgate_server::{
    blocking::{self, COMPRESSION_COST},
    budget::{Held, OverBudget},
};
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
    decompress_counted(encoding, message, limit, |_| Ok(())).map_err(|error| match error {
        DecompressError::TooLarge { .. } | DecompressError::OverBudget(_) => {
            io::ErrorKind::FileTooLarge.into()
        }
        DecompressError::Invalid(error) => error,
    })
}

/// Decompresses a message of at most `limit` bytes: a large one on a thread for that. What it becomes is held as it grows, and
/// then by `held` in place of the message.
///
/// # Errors
/// When the message is too large, does not fit the budget, or cannot be decompressed.
pub async fn decompress_held(
    encoding: Encoding,
    message: Chunks,
    limit: usize,
    held: Option<&mut Held>,
) -> Result<Bytes, DecompressError> {
    let compressed_bytes = message.len();
    let cost = compressed_bytes.saturating_mul(COMPRESSION_COST);
    let account = held.as_ref().map(|held| Arc::new(held.sibling()));
    let work = move |max| {
        let mut held = account.as_ref().map(|account| account.sibling());
        let hold = |bytes| held.as_mut().map_or(Ok(()), |held| held.add(bytes));
        let message = decompress_counted(encoding, message.clone(), max, hold)?;
        Ok((message, held))
    };
    let is_too_large = |error: &DecompressError| matches!(error, DecompressError::TooLarge { .. });
    let decompressed = blocking::run_growing(cost, limit, work, is_too_large).await;
    let internal_error = |_panic| Err(io::Error::other("internal error").into());
    let (decompressed, grown) = decompressed.unwrap_or_else(internal_error)?;
    if let (Some(held), Some(grown)) = (held, grown) {
        held.replace(compressed_bytes, grown);
    }
    Ok(decompressed)
}

/// Why a message is not decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// It is larger than the limit.
    #[error("larger than {limit} bytes when it is decompressed")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The budget has no room for it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// It is not of this encoding.
    #[error(transparent)]
    Invalid(#[from] io::Error),
}

/// The bytes that are decompressed before they are counted.
const COUNTED_BYTES: usize = 1 << 20;

/// Decompresses a message, and reports to `hold` how many bytes more there are, each time that they are about a megabyte.
fn decompress_counted(
    encoding: Encoding,
    message: Chunks,
    limit: usize,
    hold: impl FnMut(usize) -> Result<(), OverBudget>,
) -> Result<Bytes, DecompressError> {
    // Text is often compressed to a quarter. Beyond a megabyte the buffer grows only with what it receives, because the peer
    // chooses the size.
    let capacity = message.len().saturating_mul(4).min(limit);
    let output = Vec::with_capacity(capacity.min(COUNTED_BYTES));
    let compressed = message.reader();
    match encoding {
        Encoding::Gzip => read_to_limit(MultiGzDecoder::new(compressed), output, limit, hold),
        Encoding::Deflate => read_to_limit(ZlibDecoder::new(compressed), output, limit, hold),
    }
}

fn read_to_limit(
    mut decoder: impl Read,
    mut output: Vec<u8>,
    limit: usize,
    mut hold: impl FnMut(usize) -> Result<(), OverBudget>,
) -> Result<Bytes, DecompressError> {
    loop {
        // One byte more than the limit shows that the message is too large.
        let max_read = (limit - output.len()).saturating_add(1).min(COUNTED_BYTES);
        let read = decoder
            .by_ref()
            .take(max_read as u64)
            .read_to_end(&mut output)?;
        if output.len() > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        hold(read)?;
        if read < max_read {
            return Ok(output.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use flowgate_server::budget::Budget;

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

    #[tokio::test]
    async fn a_message_counts_while_it_is_decompressed() {
        let message = Chunks::from(Bytes::from(vec![b'a'; 8 << 20]));
        let sent = compress(Encoding::Gzip, &message);
        for (room, has_room) in [(4 << 20, false), (9 << 20, true)] {
            let budget = Budget::new(room);
            let mut held = budget.account();
            held.add(sent.len()).expect("room");
            let message = sent.clone().into();
            let read = decompress_held(Encoding::Gzip, message, usize::MAX, Some(&mut held)).await;
            match read {
                Ok(message) => assert_eq!((has_room, held.bytes()), (true, message.len())),
                Err(error) => {
                    assert!(matches!(error, DecompressError::OverBudget(_)), "{error}");
                    assert_eq!((has_room, budget.used()), (false, sent.len()));
                }
            }
        }
    }
}
