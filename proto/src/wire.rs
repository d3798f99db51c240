//! Reads protobuf fields one by one without a message type, so that a proxy can inspect encoded
//! messages without decoding them.

use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError,
    encoding::{self, DecodeContext, WireType},
};

/// One field of an encoded message.
pub(crate) struct Field {
    /// The field number.
    pub(crate) number: u32,
    /// The payload of a length-delimited field; `None` for numbers and groups.
    pub(crate) bytes: Option<Bytes>,
}

/// Takes the next field off `buffer`. Returns `None` when the buffer is empty.
pub(crate) fn next_field(buffer: &mut Bytes) -> Result<Option<Field>, DecodeError> {
    if !buffer.has_remaining() {
        return Ok(None);
    }
    let (number, wire_type) = encoding::decode_key(buffer)?;
    let bytes = if wire_type == WireType::LengthDelimited {
        let mut value = Bytes::new();
        encoding::bytes::merge(wire_type, &mut value, buffer, DecodeContext::default())?;
        Some(value)
    } else {
        encoding::skip_field(wire_type, number, buffer, DecodeContext::default())?;
        None
    };
    Ok(Some(Field { number, bytes }))
}
