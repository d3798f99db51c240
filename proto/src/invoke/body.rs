//! A protobuf message <-> the base64 text of a payload's body, compressed or not.

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

/// zstd's own default: about the speed of a fast gzip and smaller.
const ZSTD_LEVEL: i32 = 3;

pub(super) fn write(message: &[u8], compression: Compression) -> io::Result<String> {
    if compression == Compression::None {
        return Ok(STANDARD.encode(message));
    }
    Ok(STANDARD.encode(compress(message, compression)?))
}

pub(super) fn read<M: Message + Default>(
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
/// When the compression fails, which none does on bytes in memory.
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

/// Undoes [`compress`], up to `limit` bytes of outcome.
///
/// # Errors
/// When the bytes are not compressed so, something stands behind them, or they become larger than the limit.
pub fn decompress(
    bytes: Vec<u8>,
    compression: Compression,
    limit: usize,
) -> Result<Vec<u8>, PayloadError> {
    match compression {
        Compression::None if bytes.len() > limit => Err(PayloadError::TooLarge { limit }),
        Compression::None => Ok(bytes),
        // Several members, or frames, one behind the other are one stream (RFC 1952, section 2.2; RFC 8878, section 3).
        Compression::Gzip => read_within(&mut MultiGzDecoder::new(&*bytes), compression, limit),
        Compression::Deflate => {
            let mut decoder = ZlibDecoder::new(&*bytes);
            let out = read_within(&mut decoder, compression, limit)?;
            match decoder.into_inner() {
                [] => Ok(out),
                _ => Err(broken(compression)(io::ErrorKind::InvalidData.into())),
            }
        }
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&*bytes);
            read_within(
                &mut decoder.map_err(broken(compression))?,
                compression,
                limit,
            )
        }
    }
}

fn broken(compression: Compression) -> impl Fn(io::Error) -> PayloadError {
    move |source| PayloadError::Compressed {
        compression: compression.name(),
        source,
    }
}

fn read_within(
    decoder: &mut impl Read,
    compression: Compression,
    limit: usize,
) -> Result<Vec<u8>, PayloadError> {
    let mut out = Vec::new();
    // One byte more than may come tells what is too large.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut out)
        .map_err(broken(compression))?;
    if out.len() > limit {
        return Err(PayloadError::TooLarge { limit });
    }
    Ok(out)
}

/// A compression by its name.
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
        let name = Cow::<'de, str>::deserialize(deserializer)?;
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
                "{name:?} is no encoding: none, gzip, deflate, zstd"
            ))
        })
    }
}
