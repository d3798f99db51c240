//! Counts what encoded documents and parameters become when they are decoded, without decoding them, so that a
//! message that would exceed the limits is refused before any of it is built.

use prost::{
    DecodeError,
    encoding::{self, DecodeContext, WireType},
};

use crate::{
    Chunks, DataRequest, Value,
    decode_limits::{Budget, DecodeLimits, LimitExceeded},
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, SparseNdArrayProto},
};

#[cfg(test)]
mod tests;

/// The memory of a document without its content. A vector that grows has room for up to twice its elements.
pub(crate) const DOCUMENT_BYTES: usize = 2 * size_of::<DocumentProto>();

/// The memory of a value in a list.
const VALUE_BYTES: usize = 2 * size_of::<Value>();

/// The memory of an entry of a map. The nodes of a B-tree are at least about half full.
const fn entry_bytes(value: usize) -> usize {
    2 * (size_of::<String>() + value)
}

/// The memory of any other field: a number in a growing list, or an allocation in addition to its length.
const FIELD_BYTES: usize = 16;

/// The most memory that one encoded byte can become: an empty document has two bytes.
const MAX_BYTES_PER_BYTE: usize = DOCUMENT_BYTES;

/// The levels of messages that prost decodes.
const MAX_DEPTH: usize = 100;

/// Checks the encoded bytes of a `DataContentProto`. Malformed bytes are checked up to the place where decoding fails.
pub(crate) fn check_documents(wire: &Chunks, limits: DecodeLimits) -> Result<(), LimitExceeded> {
    // The smallest document has two bytes.
    if wire.len() / 2 <= limits.max_documents && is_small(wire.len(), limits) {
        return Ok(());
    }
    scan(Message::Content, &wire.clone().into_bytes(), limits)
}

/// Returns the memory that the encoded bytes of a `DataContentProto` take when they are decoded. Malformed bytes count up to
/// the place where decoding fails.
pub(crate) fn decoded_bytes(wire: &Chunks) -> usize {
    let mut budget = Budget::new(DecodeLimits {
        max_documents: usize::MAX,
        max_decoded_bytes: usize::MAX,
    });
    // Ends early only at malformed bytes.
    let _ = count(
        Message::Content,
        &wire.clone().into_bytes(),
        MAX_DEPTH,
        &mut budget,
    );
    budget.taken()
}

impl DataRequest {
    /// Checks the parameters, and sets the limits within which the documents may be decoded later.
    ///
    /// # Errors
    /// When the parameters exceed the limits.
    pub fn set_decode_limits(&mut self, limits: DecodeLimits) -> Result<(), LimitExceeded> {
        self.documents.set_limits(limits);
        match self.parameters.wire() {
            Some(wire) => check_struct(wire, limits),
            None => Ok(()),
        }
    }
}

/// Checks the encoded bytes of a `Struct`, as [`check_documents`] does.
fn check_struct(wire: &[u8], limits: DecodeLimits) -> Result<(), LimitExceeded> {
    if is_small(wire.len(), limits) {
        return Ok(());
    }
    scan(Message::Struct, wire, limits)
}

/// Whether no message of this length can exceed the limit of bytes, so that it need not be scanned.
const fn is_small(len: usize, limits: DecodeLimits) -> bool {
    len <= limits.max_decoded_bytes / MAX_BYTES_PER_BYTE
}

fn scan(message: Message, wire: &[u8], limits: DecodeLimits) -> Result<(), LimitExceeded> {
    let mut budget = Budget::new(limits);
    match count(message, wire, MAX_DEPTH, &mut budget) {
        Err(Stop::Exceeded(error)) => Err(error),
        // Decoding reports malformed bytes.
        Ok(()) | Err(Stop::Malformed) => Ok(()),
    }
}

/// Why counting ends before the end of the message.
enum Stop {
    Exceeded(LimitExceeded),
    /// prost fails at this place too, or earlier.
    Malformed,
}

impl From<LimitExceeded> for Stop {
    fn from(error: LimitExceeded) -> Self {
        Self::Exceeded(error)
    }
}

impl From<DecodeError> for Stop {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

/// The messages whose fields are counted one by one. Everything else is counted by its length.
#[derive(Clone, Copy)]
enum Message {
    /// `DataContentProto`
    Content,
    /// `DocumentArrayProto`
    Documents,
    Document,
    /// `NdArrayProto`
    Array,
    /// `DenseNdArrayProto`
    Dense,
    /// `SparseNdArrayProto`
    Sparse,
    /// An entry of `scores` or `evaluations`
    ScoreEntry,
    Struct,
    /// An entry of `Struct.fields`
    StructEntry,
    Value,
    /// `ListValue`
    List,
}

/// What a field becomes when it is decoded.
enum Field {
    /// A message of this type that takes these bytes by itself.
    Message(Message, usize),
    Document,
    /// A packed list, of numbers that take at most four times their encoded bytes.
    Packed,
    /// Text, bytes, a small message, an unknown field.
    Other,
}

impl Message {
    fn field(self, number: u32) -> Field {
        match (self, number) {
            (Self::Content, 1) => Field::Message(Self::Documents, 0),
            (Self::Documents, 1) | (Self::Document, 14 | 15) => Field::Document,
            (Self::Document, 3 | 16) => Field::Message(Self::Array, size_of::<NdArrayProto>()),
            (Self::Document, 17 | 20) | (Self::Array, 4) => Field::Message(Self::Struct, 0),
            (Self::Document, 18 | 19) => {
                let bytes = const { entry_bytes(size_of::<NamedScoreProto>()) };
                Field::Message(Self::ScoreEntry, bytes)
            }
            (Self::Array, 1) | (Self::Sparse, 1 | 2) => Field::Message(Self::Dense, 0),
            (Self::Array, 2) => Field::Message(Self::Sparse, size_of::<SparseNdArrayProto>()),
            (Self::Dense, 2) | (Self::Sparse, 3) => Field::Packed,
            (Self::Struct, 1) => {
                let bytes = const { entry_bytes(size_of::<Value>()) };
                Field::Message(Self::StructEntry, bytes)
            }
            (Self::StructEntry, 2) => Field::Message(Self::Value, 0),
            (Self::Value, 5) => Field::Message(Self::Struct, 0),
            (Self::Value, 6) => Field::Message(Self::List, 0),
            (Self::List, 1) => Field::Message(Self::Value, VALUE_BYTES),
            _ => Field::Other,
        }
    }
}

fn count(
    message: Message,
    mut wire: &[u8],
    depth: usize,
    budget: &mut Budget<'_>,
) -> Result<(), Stop> {
    let below = depth.checked_sub(1).ok_or(Stop::Malformed)?;
    while !wire.is_empty() {
        let (number, wire_type) = encoding::decode_key(&mut wire)?;
        if wire_type != WireType::LengthDelimited {
            encoding::skip_field(wire_type, number, &mut wire, DecodeContext::default())?;
            budget.take_bytes(FIELD_BYTES)?;
            continue;
        }
        let len = encoding::decode_varint(&mut wire)?;
        let len = usize::try_from(len).map_err(|_| Stop::Malformed)?;
        let (value, rest) = wire.split_at_checked(len).ok_or(Stop::Malformed)?;
        wire = rest;
        match message.field(number) {
            Field::Message(inner, bytes) => {
                budget.take_bytes(bytes)?;
                count(inner, value, below, budget)?;
            }
            Field::Document => {
                budget.take_document(DOCUMENT_BYTES)?;
                count(Message::Document, value, below, budget)?;
            }
            Field::Packed => budget.take_bytes(len.saturating_mul(4))?,
            Field::Other => budget.take_bytes(len.saturating_add(FIELD_BYTES))?,
        }
    }
    Ok(())
}
