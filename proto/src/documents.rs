//! The documents of a request: bytes off the wire until somebody asks, or a decoded list.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use prost::{
    DecodeError, Message as _,
    encoding::{self, WireType},
};

use crate::{
    docarray::{DocumentArrayProto, DocumentProto},
    wire,
};

/// `DataRequestProto.data`. A clone shares the bytes or the list.
#[derive(Clone, Debug, Default)]
pub struct Documents(Content);

#[derive(Clone, Debug, Default)]
enum Content {
    #[default]
    Absent,
    /// An encoded `DataContentProto`.
    Wire(Bytes),
    Decoded(Arc<Vec<DocumentProto>>),
}

/// Why documents could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The bytes are no `DataContentProto`.
    #[error("the documents of the request cannot be decoded")]
    Malformed(#[from] DecodeError),
    /// `docs_bytes`: a Python pickle, which only Python can read safely or at all.
    #[error("the documents are sent as docs_bytes (a Python pickle), which only passes through")]
    Pickled,
}

impl Documents {
    pub(crate) const fn from_wire(wire: Bytes) -> Self {
        Self(Content::Wire(wire))
    }

    /// Whether the request has the field at all.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        !matches!(self.0, Content::Absent)
    }

    /// Whether every document has an id, and every document inside one, found out without decoding. Bytes that cannot be looked through have
    /// nothing that could be given an id either.
    #[must_use]
    pub fn have_ids(&self) -> bool {
        match &self.0 {
            Content::Absent => true,
            Content::Decoded(documents) => documents.iter().all(has_id),
            Content::Wire(wire) => wire_has_ids(wire.clone()).unwrap_or(true),
        }
    }

    /// The documents; none when the field is absent.
    ///
    /// # Errors
    /// When the bytes cannot be decoded, or are a pickle.
    pub fn decode(&self) -> Result<Arc<Vec<DocumentProto>>, DocumentsError> {
        let wire = match &self.0 {
            Content::Absent => return Ok(Arc::default()),
            Content::Decoded(documents) => return Ok(Arc::clone(documents)),
            Content::Wire(wire) => wire.clone(),
        };
        match DataContentProto::decode(wire)?.held {
            None => Ok(Arc::default()),
            Some(Held::Docs(array)) => Ok(Arc::new(array.docs)),
            Some(Held::DocsBytes(_)) => Err(DocumentsError::Pickled),
        }
    }

    /// The documents as a list of the caller's own.
    ///
    /// # Errors
    /// As [`Documents::decode`].
    pub fn into_vec(self) -> Result<Vec<DocumentProto>, DocumentsError> {
        let shared = self.decode()?;
        drop(self);
        Ok(Arc::unwrap_or_clone(shared))
    }

    /// Changes the list of documents, an empty one where the field is absent. Documents that cannot be decoded stay as
    /// they are.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<DocumentProto>)) {
        let Ok(shared) = self.decode() else { return };
        // Without this reference a list that nobody else holds need not be copied.
        *self = Self::default();
        let mut documents = Arc::unwrap_or_clone(shared);
        change(&mut documents);
        *self = documents.into();
    }

    /// The encoded `DataContentProto`, empty when absent.
    pub(crate) fn into_wire(self) -> Bytes {
        match self.0 {
            Content::Absent => Bytes::new(),
            Content::Wire(wire) => wire,
            Content::Decoded(documents) => {
                let mut wire = Vec::with_capacity(content_len(&documents));
                encode_content(&documents, &mut wire);
                wire.into()
            }
        }
    }

    /// Writes the documents as the field `tag` of a message; nothing when absent.
    pub(crate) fn encode(&self, tag: u32, buf: &mut impl BufMut) {
        match &self.0 {
            Content::Absent => {}
            Content::Wire(wire) => encoding::bytes::encode(tag, wire, buf),
            Content::Decoded(documents) => {
                encoding::encode_key(tag, WireType::LengthDelimited, buf);
                encoding::encode_varint(content_len(documents) as u64, buf);
                encode_content(documents, buf);
            }
        }
    }

    /// How many bytes [`Documents::encode`] writes.
    pub(crate) fn encoded_len(&self, tag: u32) -> usize {
        match &self.0 {
            Content::Absent => 0,
            Content::Wire(wire) => encoding::bytes::encoded_len(tag, wire),
            Content::Decoded(documents) => {
                encoding::key_len(tag) + delimited_len(content_len(documents))
            }
        }
    }
}

/// `jina.DataRequestProto.DataContentProto`, by hand because its parent is.
#[derive(Clone, PartialEq, prost::Message)]
struct DataContentProto {
    #[prost(oneof = "Held", tags = "1, 2")]
    held: Option<Held>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Held {
    #[prost(message, tag = "1")]
    Docs(DocumentArrayProto),
    #[prost(bytes = "bytes", tag = "2")]
    DocsBytes(Bytes),
}

/// The field `docs` of `DataContentProto` and the field `docs` of `DocumentArrayProto`: both are 1.
const DOCS: u32 = 1;

/// Bytes of a `DataContentProto` that holds these documents. It is written without building the
/// message, which would clone every document.
fn content_len(documents: &[DocumentProto]) -> usize {
    encoding::key_len(DOCS) + delimited_len(array_len(documents))
}

/// Looks through a `DataContentProto` for documents without an id.
fn wire_has_ids(mut content: Bytes) -> Result<bool, DecodeError> {
    while let Some(field) = wire::next_field(&mut content)? {
        let (DOCS, Some(mut array)) = (field.number, field.bytes) else {
            continue;
        };
        while let Some(field) = wire::next_field(&mut array)? {
            if let (DOCS, Some(document)) = (field.number, field.bytes)
                && !document_has_id(document, 0)?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether a document has an id, and every document inside it. What is nested deeper than any document that can be
/// decoded is left alone.
fn document_has_id(mut document: Bytes, depth: usize) -> Result<bool, DecodeError> {
    let mut has_id = false;
    while let Some(field) = wire::next_field(&mut document)? {
        let Some(value) = field.bytes else { continue };
        if field.number == ID {
            has_id = !value.is_empty();
        }
        let is_nested = matches!(field.number, CHUNKS | MATCHES) && depth < DEEPEST;
        if is_nested && !document_has_id(value, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(has_id)
}

fn has_id(document: &DocumentProto) -> bool {
    let nested = document.chunks.iter().chain(&document.matches);
    !document.id.is_empty() && nested.into_iter().all(has_id)
}

/// Gives a fresh id to every document that has none, inside others too. No other field changes.
pub fn give_ids(documents: &mut [DocumentProto]) {
    for document in documents {
        if document.id.is_empty() {
            document.id = crate::fresh_id();
        }
        give_ids(&mut document.chunks);
        give_ids(&mut document.matches);
    }
}

/// Fields of `DocumentProto`.
const ID: u32 = 1;
const CHUNKS: u32 = 14;
const MATCHES: u32 = 15;

/// prost decodes no deeper.
const DEEPEST: usize = 100;

fn array_len(documents: &[DocumentProto]) -> usize {
    encoding::message::encoded_len_repeated(DOCS, documents)
}

fn delimited_len(len: usize) -> usize {
    encoding::encoded_len_varint(len as u64) + len
}

fn encode_content(documents: &[DocumentProto], buf: &mut impl BufMut) {
    encoding::encode_key(DOCS, WireType::LengthDelimited, buf);
    encoding::encode_varint(array_len(documents) as u64, buf);
    encoding::message::encode_repeated(DOCS, documents, buf);
}

impl From<Vec<DocumentProto>> for Documents {
    fn from(documents: Vec<DocumentProto>) -> Self {
        Self(Content::Decoded(Arc::new(documents)))
    }
}

impl From<DocumentArrayProto> for Documents {
    fn from(array: DocumentArrayProto) -> Self {
        array.docs.into()
    }
}

/// Equal when they hold the same documents, encoded or not.
impl PartialEq for Documents {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Content::Absent, Content::Absent) => true,
            (Content::Wire(ours), Content::Wire(theirs)) if ours == theirs => true,
            (Content::Absent, _) | (_, Content::Absent) => false,
            _ => {
                matches!((self.decode(), other.decode()), (Ok(ours), Ok(theirs)) if ours == theirs)
            }
        }
    }
}
