//! A field of a condition (`text`, `tags__a__0`, `scores__cosine__value`) -> its value in a document.

use flowgate_proto::{
    Struct,
    docarray::{DocumentProto, NdArrayProto, document_proto::Content},
};

use super::operand::Operand;

/// Steps of a path. Protobuf itself lets a document nest no deeper than 100 messages.
const MAX_PATH: usize = 100;

/// A document's attribute, or a path from one of them inwards.
#[derive(Debug)]
pub(super) struct Field {
    /// As it stands in the condition.
    pub(super) text: String,
    attribute: Attribute,
    path: Vec<Segment>,
    /// Whether `__` is in the text; `$exists` asks something else of a path than of an attribute.
    is_path: bool,
}

/// Why a text names no field.
#[derive(Debug)]
pub(super) enum FieldFault {
    /// It starts with a name that no document has.
    UnknownAttribute(String),
    /// It goes inside an attribute that has no inside.
    NoParts,
    /// It asks a score for something else than its four fields.
    UnknownScoreField(String),
    /// It goes deeper than any document.
    TooDeep,
}

/// A path that this document does not have, and that is not just a missing key.
#[derive(Debug)]
pub(super) struct DeadEnd {
    pub(super) found: &'static str,
    pub(super) part: String,
}

#[derive(Debug)]
struct Segment {
    name: String,
    index: Option<i64>,
}

impl Field {
    pub(super) fn parse(text: &str) -> Result<Self, FieldFault> {
        let (name, rest) = text.split_once("__").unwrap_or((text, ""));
        let field = Self {
            text: text.to_owned(),
            attribute: Attribute::parse(name)?,
            path: segments(rest),
            is_path: text.contains("__"),
        };
        if field.path.len() > MAX_PATH {
            return Err(FieldFault::TooDeep);
        }
        check(field.attribute, &field.path)?;
        Ok(field)
    }

    /// The value in this document; null for a key that is missing.
    pub(super) fn resolve<'a>(&self, document: &'a DocumentProto) -> Result<Operand<'a>, DeadEnd> {
        let start = self.attribute.of(document);
        self.path.iter().try_fold(start, |value, segment| {
            if value.is_falsy() {
                return Ok(Operand::Null);
            }
            step(value, segment).ok_or_else(|| DeadEnd {
                found: value.describe(),
                part: segment.name.clone(),
            })
        })
    }

    /// `$exists`: an attribute is there when it is not its default, a path when it is not null.
    pub(super) fn exists(&self, value: Operand<'_>) -> bool {
        let not_null = !matches!(value, Operand::Null);
        not_null && (self.is_path || self.attribute == Attribute::Id || !value.is_falsy())
    }

    /// Whether the field is always a tensor or nothing.
    pub(super) fn is_tensor(&self) -> bool {
        self.path.is_empty() && matches!(self.attribute, Attribute::Tensor | Attribute::Embedding)
    }
}

fn segments(mut rest: &str) -> Vec<Segment> {
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

/// What can be known about a path before there is a document.
fn check(attribute: Attribute, path: &[Segment]) -> Result<(), FieldFault> {
    use Attribute as A;
    match (attribute, path) {
        (_, []) | (A::Tags | A::Metadata | A::Location, _) => Ok(()),
        (A::Scores | A::Evaluations, [_, field, ..]) => match field.name.as_str() {
            "value" | "op_name" | "description" | "ref_id" => Ok(()),
            other => Err(FieldFault::UnknownScoreField(other.to_owned())),
        },
        (A::Scores | A::Evaluations | A::Chunks | A::Matches, [_]) => Ok(()),
        (A::Chunks | A::Matches, [_, inner, rest @ ..]) => {
            check(Attribute::parse(&inner.name)?, rest)
        }
        // A character of a string.
        (A::Content, [Segment { index: Some(_), .. }]) => Ok(()),
        (attribute, [Segment { index: Some(_), .. }]) if attribute.is_text() => Ok(()),
        _ => Err(FieldFault::NoParts),
    }
}

/// One step inwards; `None` when there is no way.
fn step<'a>(value: Operand<'a>, segment: &Segment) -> Option<Operand<'a>> {
    let name = segment.name.as_str();
    match value {
        Operand::Object(object) => Some(object.fields.get(name).map_or(Operand::Null, Operand::of)),
        Operand::Scores(scores) => Some(scores.get(name).map_or(Operand::Null, Operand::Score)),
        Operand::Score(score) => match name {
            "value" => Some(Operand::Number(score.value.into())),
            "op_name" => Some(Operand::Text(&score.op_name)),
            "description" => Some(Operand::Text(&score.description)),
            "ref_id" => Some(Operand::Text(&score.ref_id)),
            _ => None,
        },
        Operand::Document(document) => Some(Attribute::parse(name).ok()?.of(document)),
        Operand::Documents(documents) if segment.index.is_none() => {
            let mut from_last = documents.iter().rev();
            from_last
                .find(|document| document.id == name)
                .map(Operand::Document)
        }
        _ => value.item(segment.index?),
    }
}

/// What a condition can ask a document for.
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

/// The names of all attributes, for messages.
pub(super) fn attribute_names() -> impl Iterator<Item = &'static str> {
    ATTRIBUTES.iter().map(|(name, _)| *name)
}

impl Attribute {
    fn parse(name: &str) -> Result<Self, FieldFault> {
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
        let unknown = || FieldFault::UnknownAttribute(name.to_owned());
        known.map(|(_, attribute)| *attribute).ok_or_else(unknown)
    }

    const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Id | Self::ParentId | Self::MimeType | Self::Text | Self::Uri | Self::Modality
        )
    }

    /// The attribute's value; the default that docarray gives it when it is unset.
    fn of(self, document: &DocumentProto) -> Operand<'_> {
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
            Self::Embedding => tensor(document.embedding.as_ref()),
            Self::Modality => Operand::Text(&document.modality),
            Self::Evaluations => Operand::Scores(&document.evaluations),
            Self::Scores => Operand::Scores(&document.scores),
            Self::Chunks => Operand::Documents(&document.chunks),
            Self::Matches => Operand::Documents(&document.matches),
            Self::Blob | Self::Text | Self::Tensor | Self::Content | Self::ContentType => {
                self.of_content(document.content.as_ref())
            }
        }
    }

    /// The attributes that look at the one content a document has.
    fn of_content(self, content: Option<&Content>) -> Operand<'_> {
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
