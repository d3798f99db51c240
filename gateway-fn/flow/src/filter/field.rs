//! Reads a field of a condition (`text`, `tags__a__0`, `scores__cosine__value`) from a document.

use flowgate_proto::{
    Struct,
    docarray::{DocumentProto, NdArrayProto, document_proto::Content},
};

use super::operand::Operand;

/// The longest path. Protobuf does not allow documents to nest deeper than 100 messages.
pub(super) const MAX_PATH_PARTS: usize = 100;

/// An attribute of a document, or a path inside one.
#[derive(Debug)]
pub(super) struct Field {
    /// As written in the condition.
    pub(super) text: String,
    attribute: Attribute,
    path: Vec<Segment>,
    /// Whether the text contains `__`. `$exists` treats paths and attributes differently.
    is_path: bool,
}

/// Why a text is not a field.
#[derive(Debug)]
pub(super) enum FieldError {
    /// It begins with an unknown attribute.
    UnknownAttribute(String),
    /// Its path leads into an attribute that has no parts.
    NoParts,
    /// It names a field that scores do not have.
    UnknownScoreField(String),
    /// Its path is longer than documents can nest.
    TooDeep,
}

/// The part of a path that a document does not have. A missing key of an object is not an error.
#[derive(Debug)]
pub(super) struct MissingPart {
    pub(super) found: &'static str,
    pub(super) part: String,
}

#[derive(Debug)]
struct Segment {
    name: String,
    index: Option<i64>,
}

impl Field {
    pub(super) fn parse(text: &str) -> Result<Self, FieldError> {
        let (name, rest) = text.split_once("__").unwrap_or((text, ""));
        let field = Self {
            text: text.to_owned(),
            attribute: Attribute::parse(name)?,
            path: split_path(rest),
            is_path: text.contains("__"),
        };
        if field.path.len() > MAX_PATH_PARTS {
            return Err(FieldError::TooDeep);
        }
        check_path(field.attribute, &field.path)?;
        Ok(field)
    }

    /// Returns the value in a document; null for a missing key.
    pub(super) fn resolve<'a>(
        &self,
        document: &'a DocumentProto,
    ) -> Result<Operand<'a>, MissingPart> {
        let start = self.attribute.value(document);
        self.path.iter().try_fold(start, |value, segment| {
            if value.is_falsy() {
                return Ok(Operand::Null);
            }
            child(value, segment).ok_or_else(|| MissingPart {
                found: value.describe(),
                part: segment.name.clone(),
            })
        })
    }

    /// Evaluates `$exists`: an attribute exists if it is not its default, a path if it is not null.
    pub(super) fn exists(&self, value: Operand<'_>) -> bool {
        let not_null = !matches!(value, Operand::Null);
        not_null && (self.is_path || self.attribute == Attribute::Id || !value.is_falsy())
    }

    /// Whether the field is a tensor or null in every document.
    pub(super) fn is_tensor(&self) -> bool {
        self.path.is_empty() && matches!(self.attribute, Attribute::Tensor | Attribute::Embedding)
    }
}

fn split_path(mut rest: &str) -> Vec<Segment> {
    let mut path = Vec::new();
    while !rest.is_empty() {
        let (name, inner) = rest.split_once("__").unwrap_or((rest, ""));
        path.push(Segment {
            name: name.to_owned(),
            index: name.trim().parse().ok(),
        });
        rest = inner;
    }
    path
}

/// Checks a path as far as possible without a document.
fn check_path(attribute: Attribute, path: &[Segment]) -> Result<(), FieldError> {
    use Attribute as A;
    match (attribute, path) {
        (_, []) | (A::Tags | A::Metadata | A::Location, _) => Ok(()),
        (A::Scores | A::Evaluations, [_, field, ..]) => match field.name.as_str() {
            "value" | "op_name" | "description" | "ref_id" => Ok(()),
            other => Err(FieldError::UnknownScoreField(other.to_owned())),
        },
        (A::Scores | A::Evaluations | A::Chunks | A::Matches, [_]) => Ok(()),
        (A::Chunks | A::Matches, [_, inner, rest @ ..]) => {
            check_path(Attribute::parse(&inner.name)?, rest)
        }
        // An index selects a character of a string.
        (A::Content, [Segment { index: Some(_), .. }]) => Ok(()),
        (attribute, [Segment { index: Some(_), .. }]) if attribute.is_text() => Ok(()),
        _ => Err(FieldError::NoParts),
    }
}

/// Returns the part of a value that a segment names, or `None` if the value has no such part.
fn child<'a>(value: Operand<'a>, segment: &Segment) -> Option<Operand<'a>> {
    let name = segment.name.as_str();
    match value {
        Operand::Object(object) => {
            Some(object.fields.get(name).map_or(Operand::Null, Operand::new))
        }
        Operand::Scores(scores) => Some(scores.get(name).map_or(Operand::Null, Operand::Score)),
        Operand::Score(score) => match name {
            "value" => Some(Operand::Number(score.value.into())),
            "op_name" => Some(Operand::Text(&score.op_name)),
            "description" => Some(Operand::Text(&score.description)),
            "ref_id" => Some(Operand::Text(&score.ref_id)),
            _ => None,
        },
        Operand::Document(document) => Some(Attribute::parse(name).ok()?.value(document)),
        Operand::Documents(documents) if segment.index.is_none() => {
            // Of several documents with the same id the last wins, as in docarray.
            let mut documents = documents.iter().rev();
            documents
                .find(|document| document.id == name)
                .map(Operand::Document)
        }
        _ => value.item(segment.index?),
    }
}

/// An attribute of a document that a condition can use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attribute {
    Id,
    ParentId,
    Granularity,
    Adjacency,
    Blob,
    Tensor,
    MimeType,
    Text,
    Content,
    ContentType,
    Weight,
    Uri,
    Tags,
    Metadata,
    Offset,
    Location,
    Embedding,
    Modality,
    Evaluations,
    Scores,
    Chunks,
    Matches,
}

const ATTRIBUTES: [(&str, Attribute); 22] = [
    ("id", Attribute::Id),
    ("text", Attribute::Text),
    ("blob", Attribute::Blob),
    ("tensor", Attribute::Tensor),
    ("content", Attribute::Content),
    ("content_type", Attribute::ContentType),
    ("uri", Attribute::Uri),
    ("mime_type", Attribute::MimeType),
    ("modality", Attribute::Modality),
    ("tags", Attribute::Tags),
    ("weight", Attribute::Weight),
    ("granularity", Attribute::Granularity),
    ("adjacency", Attribute::Adjacency),
    ("parent_id", Attribute::ParentId),
    ("offset", Attribute::Offset),
    ("location", Attribute::Location),
    ("embedding", Attribute::Embedding),
    ("scores", Attribute::Scores),
    ("evaluations", Attribute::Evaluations),
    ("chunks", Attribute::Chunks),
    ("matches", Attribute::Matches),
    ("_metadata", Attribute::Metadata),
];

/// Returns the names of all attributes, for messages.
pub(super) fn attribute_names() -> impl Iterator<Item = &'static str> {
    ATTRIBUTES.iter().map(|(name, _)| *name)
}

impl Attribute {
    fn parse(name: &str) -> Result<Self, FieldError> {
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
        let unknown = || FieldError::UnknownAttribute(name.to_owned());
        known.map(|(_, attribute)| *attribute).ok_or_else(unknown)
    }

    const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Id | Self::ParentId | Self::MimeType | Self::Text | Self::Uri | Self::Modality
        )
    }

    /// Returns the value in a document, or docarray's default if it is unset.
    fn value(self, document: &DocumentProto) -> Operand<'_> {
        match self {
            Self::Id => Operand::Text(&document.id),
            Self::ParentId => Operand::Text(&document.parent_id),
            Self::Granularity => Operand::Number(document.granularity.into()),
            Self::Adjacency => Operand::Number(document.adjacency.into()),
            Self::MimeType => Operand::Text(&document.mime_type),
            Self::Weight => Operand::Number(document.weight.into()),
            Self::Uri => Operand::Text(&document.uri),
            Self::Tags => object(document.tags.as_ref()),
            Self::Metadata => object(document.metadata.as_ref()),
            Self::Offset => Operand::Number(document.offset.into()),
            Self::Location => Operand::Numbers(&document.location),
            Self::Embedding => tensor(document.embedding.as_deref()),
            Self::Modality => Operand::Text(&document.modality),
            Self::Evaluations => Operand::Scores(&document.evaluations),
            Self::Scores => Operand::Scores(&document.scores),
            Self::Chunks => Operand::Documents(&document.chunks),
            Self::Matches => Operand::Documents(&document.matches),
            Self::Blob | Self::Text | Self::Tensor | Self::Content | Self::ContentType => {
                self.content_value(document.content.as_ref())
            }
        }
    }

    /// Returns the value of an attribute that depends on the content of a document.
    fn content_value(self, content: Option<&Content>) -> Operand<'_> {
        let value = match content {
            Some(Content::Text(text)) => Operand::Text(text),
            Some(Content::Blob(blob)) => Operand::Blob(blob),
            Some(Content::Tensor(array)) => tensor(Some(array)),
            None => Operand::Null,
        };
        match (self, value) {
            (Self::Text, Operand::Text(_))
            | (Self::Blob, Operand::Blob(_))
            | (Self::Tensor, Operand::Tensor(_)) => value,
            (Self::Text, _) => Operand::Text(""),
            (Self::Blob, _) => Operand::Blob(&[]),
            (Self::Content, value) if !value.is_falsy() => value,
            (Self::ContentType, value) if !value.is_falsy() => Operand::Text(match value {
                Operand::Text(_) => "text",
                Operand::Blob(_) => "blob",
                _ => "tensor",
            }),
            _ => Operand::Null,
        }
    }
}

fn object(object: Option<&Struct>) -> Operand<'_> {
    static EMPTY: Struct = Struct {
        fields: std::collections::BTreeMap::new(),
    };
    Operand::Object(object.unwrap_or(&EMPTY))
}

fn tensor(array: Option<&NdArrayProto>) -> Operand<'_> {
    array
        .filter(|array| array.content.is_some())
        .map_or(Operand::Null, Operand::Tensor)
}
