//! Encodes a protobuf message as the base64 body of a payload, optionally compressed, and decodes it.

use std::io::{self, Read, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{
    Compression as Level,
    bufread::{MultiGzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};
use prost::Message;

use super::PayloadError;
use crate::Compression;

/// zstd's own default: about as fast as gzip's lowest level, with smaller output.
const ZSTD_LEVEL: i32 = 3;

/// The largest window of a zstd frame, 8 MiB, as RFC 9659 requires of senders. The decoder allocates the window that the
/// frame asks for before it has any data.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

pub(super) fn encode(message: &[u8], compression: Compression) -> io::Result<String> {
    if compression == Compression::None {
        return Ok(STANDARD.encode(message));
    }
    Ok(STANDARD.encode(compress(message, compression)?))
}

pub(super) fn decode<M: Message + Default>(
    body: &str,
    compression: Compression,
    limit: usize,
) -> Result<M, PayloadError> {
    let bytes = STANDARD.decode(body).map_err(PayloadError::Base64)?;
    let bytes = decompress(bytes, compression, limit)?;
    Ok(M::decode(Bytes::from(bytes))?)
}

/// Compresses bytes.
///
/// # Errors
/// When the compression fails, which does not happen for bytes in memory.
pub fn compress(bytes: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
    }
}

/// Decompresses bytes into at most `limit` bytes.
///
/// # Errors
/// When the bytes are not compressed in this way, other bytes follow them, or the output exceeds the limit.
pub fn decompress(
    bytes: Vec<u8>,
    compression: Compression,
    limit: usize,
) -> Result<Vec<u8>, PayloadError> {
    match compression {
        Compression::None if bytes.len() > limit => Err(PayloadError::TooLarge { limit }),
        Compression::None => Ok(bytes),
        _ => decompress_counted(&bytes, compression, limit, |_| Ok(())),
    }
}

/// Does the same as [`decompress`], and reports to `count` how many bytes more have been decompressed, each time that they
/// are about a megabyte.
///
/// # Errors
/// Those of [`decompress`], and those of `count`, which end the work.
pub fn decompress_counted<E: From<PayloadError>>(
    bytes: &[u8],
    compression: Compression,
    limit: usize,
    count: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    match compression {
        Compression::None => read_to_limit(&mut { bytes }, compression, limit, count),
        // Concatenated members, or frames, are one stream (RFC 1952, section 2.2; RFC 8878, section 3).
        Compression::Gzip => {
            read_to_limit(&mut MultiGzDecoder::new(bytes), compression, limit, count)
        }
        Compression::Deflate => {
            let mut decoder = ZlibDecoder::new(bytes);
            let out = read_to_limit(&mut decoder, compression, limit, count)?;
            match decoder.into_inner() {
                [] => Ok(out),
                _ => Err(invalid(compression)(io::ErrorKind::InvalidData.into()).into()),
            }
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
            let mut decoder = decoder.map_err(invalid(compression))?;
            let set = decoder.window_log_max(MAX_ZSTD_WINDOW_LOG);
            set.map_err(invalid(compression))?;
            read_to_limit(&mut decoder, compression, limit, count)
        }
    }
}

fn invalid(compression: Compression) -> impl Fn(io::Error) -> PayloadError {
    move |source| PayloadError::InvalidCompression {
        compression: compression.name(),
        source,
    }
}

/// The bytes that are decompressed before they are counted.
const COUNTED_BYTES: usize = 1 << 20;

fn read_to_limit<E: From<PayloadError>>(
    decoder: &mut impl Read,
    compression: Compression,
    limit: usize,
    mut count: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::new();
    loop {
        // One byte more than the limit shows that the output is too large.
        let max_read = (limit - out.len()).saturating_add(1).min(COUNTED_BYTES);
        let read = decoder
            .by_ref()
            .take(max_read as u64)
            .read_to_end(&mut out)
            .map_err(invalid(compression))?;
        if out.len() > limit {
            return Err(PayloadError::TooLarge { limit }.into());
        }
        if read == 0 {
            return Ok(out);
        }
        count(read)?;
    }
}

/// Serializes a compression as its name.
pub(super) mod encoding {
    use std::borrow::Cow;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::Compression;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde gives the field by reference"
    )]
    pub(in crate::invoke) fn serialize<S: Serializer>(
        compression: &Compression,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(compression.name())
    }

    pub(in crate::invoke) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Compression, D::Error> {
        // Null is a missing value.
        let Some(name) = Option::<Cow<'de, str>>::deserialize(deserializer)? else {
            return Ok(Compression::None);
        };
        [
            Compression::None,
            Compression::Gzip,
            Compression::Deflate,
            Compression::Zstd,
        ]
        .into_iter()
        .find(|compression| compression.name() == name)
        .ok_or_else(|| {
            D::Error::custom(format!(
                "encoding {name:?} is not supported: expected none, gzip, deflate or zstd"
            ))
        })
    }
}
