//! The documents of a request. They stay encoded until a caller decodes them.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    DecodeError, Message as _,
    encoding::{self, WireType},
};

use crate::{
    Chunks, DecodeLimits, LimitExceeded,
    docarray::{DocumentArrayProto, DocumentProto},
    document_count::{check_documents, decoded_bytes},
    wire,
};

/// `DataRequestProto.data`. A clone shares the bytes or the list.
#[derive(Clone, Debug, Default)]
pub struct Documents(Content, DecodeLimits);

#[derive(Clone, Debug, Default)]
enum Content {
    #[default]
    Absent,
    /// An encoded `DataContentProto`.
    Encoded(Chunks),
    Decoded(Arc<Vec<DocumentProto>>),
}

/// Why documents cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The bytes are not a valid `DataContentProto`.
    #[error("cannot decode the documents of the request")]
    Malformed(#[from] DecodeError),
    /// The field `docs_bytes` is set: a Python pickle.
    #[error(
        "the documents are a Python pickle (docs_bytes), which Flowgate can forward but not read"
    )]
    Pickled,
    /// Decoding would exceed a limit.
    #[error(transparent)]
    TooLarge(LimitExceeded),
}

impl Documents {
    /// Adds an encoded `DataContentProto`. Protobuf merges a field that occurs twice; for encoded bytes that means to
    /// concatenate them. After the first repetition the bytes are not shared and grow in place, so that a field that occurs
    /// many times costs linear time and no memory for each repetition.
    pub(crate) fn append(&mut self, wire: Chunks) {
        let before = std::mem::take(self).into_wire();
        if before.is_empty() {
            self.0 = Content::Encoded(wire);
            return;
        }
        let before = before.into_bytes().try_into_mut();
        let mut joined = before.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        wire.iter()
            .for_each(|piece| joined.extend_from_slice(piece));
        self.0 = Content::Encoded(joined.freeze().into());
    }

    /// Sets the limits of decoding; without this call the default limits apply.
    pub const fn set_limits(&mut self, limits: DecodeLimits) {
        self.1 = limits;
    }

    /// Checks the limits without decoding.
    ///
    /// # Errors
    /// When the documents exceed a limit.
    pub fn check_limits(&self) -> Result<(), LimitExceeded> {
        match &self.0 {
            Content::Absent | Content::Decoded(_) => Ok(()),
            Content::Encoded(wire) => check_documents(wire, self.1),
        }
    }

    /// Returns by how much decoding would exceed `times` times the encoded bytes, in bytes of memory; 0 if the documents are
    /// decoded already. Decodes nothing.
    #[must_use]
    pub fn decoding_excess(&self, times: usize) -> usize {
        match &self.0 {
            Content::Absent | Content::Decoded(_) => 0,
            Content::Encoded(wire) => {
                decoded_bytes(wire).saturating_sub(wire.len().saturating_mul(times))
            }
        }
    }

    /// Whether the request has the field at all.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !matches!(self.0, Content::Absent)
    }

    /// Whether every document, nested ones included, has an id. Decodes nothing. Returns `true` for malformed
    /// bytes, because no id could be assigned in them.
    #[must_use]
    pub fn has_all_ids(&self) -> bool {
        match &self.0 {
            Content::Absent => true,
            Content::Decoded(documents) => documents.iter().all(has_ids),
            Content::Encoded(wire) => encoded_content_has_ids(wire.clone()).unwrap_or(true),
        }
    }

    /// Decodes the documents; an absent field gives an empty list.
    ///
    /// # Errors
    /// When the bytes are malformed or a pickle, or the documents exceed the limits.
    pub fn decode(&self) -> Result<Arc<Vec<DocumentProto>>, DocumentsError> {
        let wire = match &self.0 {
            Content::Absent => return Ok(Arc::default()),
            Content::Decoded(documents) => return Ok(Arc::clone(documents)),
            Content::Encoded(wire) => wire.clone(),
        };
        check_documents(&wire, self.1).map_err(DocumentsError::TooLarge)?;
        match DataContentProto::decode(wire)?.documents {
            None => Ok(Arc::default()),
            Some(ContentField::Docs(array)) => Ok(Arc::new(array.docs)),
            Some(ContentField::DocsBytes(_)) => Err(DocumentsError::Pickled),
        }
    }

    /// Decodes the documents into a list that the caller owns.
    ///
    /// # Errors
    /// As [`Documents::decode`].
    pub fn into_vec(self) -> Result<Vec<DocumentProto>, DocumentsError> {
        let shared = self.decode()?;
        drop(self);
        Ok(Arc::unwrap_or_clone(shared))
    }

    /// Edits the list of documents; an absent field gives an empty list. Documents that cannot be decoded stay
    /// unchanged.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<DocumentProto>)) {
        let Ok(shared) = self.decode() else { return };
        // Drops the reference of `self` first, so that a list that is not shared is not copied.
        *self = Self::default();
        let mut documents = Arc::unwrap_or_clone(shared);
        change(&mut documents);
        *self = documents.into();
    }

    /// Returns the encoded `DataContentProto`, empty when absent.
    pub(crate) fn into_wire(self) -> Chunks {
        match self.0 {
            Content::Absent => Chunks::default(),
            Content::Encoded(wire) => wire,
            Content::Decoded(documents) => {
                let mut wire = Vec::with_capacity(content_len(&documents));
                encode_content(&documents, &mut wire);
                Bytes::from(wire).into()
            }
        }
    }

    /// Encodes the documents as the field `tag` of a message; writes nothing when absent.
    pub(crate) fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        match &self.0 {
            Content::Absent => {}
            Content::Encoded(wire) => {
                encode_key_and_len(tag, wire.len(), buf);
                wire.iter().for_each(|piece| buf.put_slice(piece));
            }
            Content::Decoded(documents) => {
                encode_key_and_len(tag, content_len(documents), buf);
                encode_content(documents, buf);
            }
        }
    }

    /// Does the same as [`Documents::encode`] at the end of a message in pieces: bytes that came from the network are added
    /// as they came, and what is before them in `buf` becomes a piece of its own.
    pub(crate) fn encode_pieces(&self, tag: u32, buf: &mut BytesMut, pieces: &mut Chunks) {
        let Content::Encoded(wire) = &self.0 else {
            return self.encode(tag, buf);
        };
        encode_key_and_len(tag, wire.len(), buf);
        pieces.push(buf.split().freeze());
        wire.iter().for_each(|piece| pieces.push(piece.clone()));
    }

    /// Returns the number of bytes that [`Documents::encode`] writes.
    pub(crate) fn encoded_len(&self, tag: u32) -> usize {
        match &self.0 {
            Content::Absent => 0,
            Content::Encoded(wire) => encoding::key_len(tag) + delimited_len(wire.len()),
            Content::Decoded(documents) => {
                encoding::key_len(tag) + delimited_len(content_len(documents))
            }
        }
    }
}

/// `jina.DataRequestProto.DataContentProto`, written by hand like its parent message.
#[derive(Clone, PartialEq, prost::Message)]
struct DataContentProto {
    #[prost(oneof = "ContentField", tags = "1, 2")]
    documents: Option<ContentField>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ContentField {
    #[prost(message, tag = "1")]
    Docs(DocumentArrayProto),
    #[prost(bytes = "bytes", tag = "2")]
    DocsBytes(Bytes),
}

/// The number of the field `docs`, both in `DataContentProto` and in `DocumentArrayProto`.
const DOCS: u32 = 1;

/// Returns the encoded size of a `DataContentProto` with these documents. The message itself is never
/// built, because that would clone every document.
fn content_len(documents: &[DocumentProto]) -> usize {
    encoding::key_len(DOCS) + delimited_len(array_len(documents))
}

/// Whether all documents of an encoded `DataContentProto` have an id.
fn encoded_content_has_ids(mut content: Chunks) -> Result<bool, DecodeError> {
    while let Some(field) = wire::next_field(&mut content)? {
        let (DOCS, Some(mut array)) = (field.number, field.bytes) else {
            continue;
        };
        while let Some(field) = wire::next_field(&mut array)? {
            if let (DOCS, Some(document)) = (field.number, field.bytes)
                && !encoded_document_has_ids(document, 0)?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether an encoded document and the documents nested in it have ids. Levels too deep to be decoded are not
/// inspected.
fn encoded_document_has_ids(mut document: Chunks, depth: usize) -> Result<bool, DecodeError> {
    let mut has_id = false;
    while let Some(field) = wire::next_field(&mut document)? {
        let Some(value) = field.bytes else { continue };
        if field.number == ID {
            has_id = !value.is_empty();
        }
        let is_nested = matches!(field.number, CHUNKS | MATCHES) && depth < MAX_DECODE_DEPTH;
        if is_nested && !encoded_document_has_ids(value, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(has_id)
}

fn has_ids(document: &DocumentProto) -> bool {
    let nested = document.chunks.iter().chain(&document.matches);
    !document.id.is_empty() && nested.into_iter().all(has_ids)
}

/// Generates an id for every document without one, nested ones included. No other field changes.
pub fn assign_missing_ids(documents: &mut [DocumentProto]) {
    for document in documents {
        if document.id.is_empty() {
            document.id = crate::generate_id();
        }
        assign_missing_ids(&mut document.chunks);
        assign_missing_ids(&mut document.matches);
    }
}

/// Field numbers of `DocumentProto`.
const ID: u32 = 1;
const CHUNKS: u32 = 14;
const MATCHES: u32 = 15;

/// prost's own recursion limit.
const MAX_DECODE_DEPTH: usize = 100;

fn array_len(documents: &[DocumentProto]) -> usize {
    encoding::message::encoded_len_repeated(DOCS, documents)
}

fn delimited_len(len: usize) -> usize {
    encoding::encoded_len_varint(len as u64) + len
}

fn encode_key_and_len(tag: u32, len: usize, buf: &mut impl BufMut) {
    encoding::encode_key(tag, WireType::LengthDelimited, buf);
    encoding::encode_varint(len as u64, buf);
}

fn encode_content(documents: &[DocumentProto], buf: &mut impl BufMut) {
    encoding::encode_key(DOCS, WireType::LengthDelimited, buf);
    encoding::encode_varint(array_len(documents) as u64, buf);
    encoding::message::encode_repeated(DOCS, documents, buf);
}

impl From<Vec<DocumentProto>> for Documents {
    fn from(documents: Vec<DocumentProto>) -> Self {
        Arc::new(documents).into()
    }
}

/// Shares the list.
impl From<Arc<Vec<DocumentProto>>> for Documents {
    fn from(documents: Arc<Vec<DocumentProto>>) -> Self {
        Self(Content::Decoded(documents), DecodeLimits::DEFAULT)
    }
}

impl From<DocumentArrayProto> for Documents {
    fn from(array: DocumentArrayProto) -> Self {
        array.docs.into()
    }
}

/// Compares the documents, whether encoded or decoded.
impl PartialEq for Documents {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Content::Absent, Content::Absent) => true,
            (Content::Encoded(left), Content::Encoded(right)) if left == right => true,
            (Content::Absent, _) | (_, Content::Absent) => false,
            _ => {
                matches!((self.decode(), other.decode()), (Ok(left), Ok(right)) if left == right)
            }
        }
    }
}
