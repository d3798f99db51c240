//! Protobuf fields one by one, without a message type: what a proxy needs to look into bytes
//! that it will not decode.

use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError,
    encoding::{self, DecodeContext, WireType},
};

/// One field as it stands on the wire.
pub(crate) struct Field {
    /// The field's number.
    pub(crate) number: u32,
    /// The payload of a length-delimited field; `None` for numbers and groups.
    pub(crate) bytes: Option<Bytes>,
}

/// Takes the next field off `buffer`; `None` at its end.
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
