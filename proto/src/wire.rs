//! Reads protobuf fields one by one without a message type, so that a proxy can inspect encoded
//! messages without decoding them.

use bytes::Buf as _;
use prost::{
    DecodeError,
    encoding::{self, DecodeContext, WireType},
};

use crate::Chunks;

/// One field of an encoded message.
pub(crate) struct Field {
    /// The field number.
    pub(crate) number: u32,
    /// The payload of a length-delimited field; `None` for numbers and groups.
    pub(crate) bytes: Option<Chunks>,
}

/// Takes the next field off `buffer`, without copying its payload. Returns `None` when the buffer is empty.
pub(crate) fn next_field(buffer: &mut Chunks) -> Result<Option<Field>, DecodeError> {
    if !buffer.has_remaining() {
        return Ok(None);
    }
    let (number, wire_type) = encoding::decode_key(buffer)?;
    let bytes = if wire_type == WireType::LengthDelimited {
        Some(take_delimited(buffer)?)
    } else {
        encoding::skip_field(wire_type, number, buffer, DecodeContext::default())?;
        None
    };
    Ok(Some(Field { number, bytes }))
}

/// Takes a length and as many bytes off `buffer`, without copying them.
pub(crate) fn take_delimited(buffer: &mut Chunks) -> Result<Chunks, DecodeError> {
    let len = encoding::decode_varint(buffer)?;
    match usize::try_from(len) {
        Ok(len) if len <= buffer.len() => Ok(buffer.split_to(len)),
        _ => Err(missing_bytes()),
    }
}

/// Does the same for bytes in one piece.
pub(crate) fn take_slice<'a>(buffer: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let len = encoding::decode_varint(buffer)?;
    let taken = usize::try_from(len)
        .ok()
        .and_then(|len| buffer.split_at_checked(len));
    let (taken, rest) = taken.ok_or_else(missing_bytes)?;
    *buffer = rest;
    Ok(taken)
}

/// Returns prost's error for a message that ends too early, which only decoding one returns.
fn missing_bytes() -> DecodeError {
    let mut ends_early = &[1_u8][..];
    let context = DecodeContext::default();
    let decoded = encoding::bytes::merge(
        WireType::LengthDelimited,
        &mut Vec::new(),
        &mut ends_early,
        context,
    );
    decoded.expect_err("one byte is announced, and none follows")
}
