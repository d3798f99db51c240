//! A value that a condition compares, borrowed from the document or from the condition itself, and
//! the comparisons that Python has for it (docarray 0.21 leaves them to Python).

use std::{cmp::Ordering, collections::BTreeMap};

use flowgate_proto::{
    Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, nd_array_proto},
};

/// One value. Nothing is copied out of a document.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    Blob(&'a [u8]),
    List(&'a [Value]),
    Numbers(&'a [f32]),
    Object(&'a Struct),
    Documents(&'a [DocumentProto]),
    Document(&'a DocumentProto),
    Scores(&'a BTreeMap<String, NamedScoreProto>),
    Score(&'a NamedScoreProto),
    Tensor(&'a NdArrayProto),
}

/// Two values for which Python has no such comparison.
#[derive(Debug, PartialEq)]
pub(super) struct Mismatch;

impl<'a> Operand<'a> {
    /// A value out of `tags`, `_metadata` or a condition.
    pub(super) fn of(value: &'a Value) -> Self {
        match &value.kind {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::BoolValue(truth)) => Self::Bool(*truth),
            Some(Kind::NumberValue(number)) => Self::number(*number),
            Some(Kind::StringValue(text)) => Self::Text(text),
            Some(Kind::ListValue(list)) => Self::List(&list.values),
            Some(Kind::StructValue(object)) => Self::Object(object),
        }
    }

    /// Python reads a `Struct` by way of JSON, where these three are strings.
    const fn number(number: f64) -> Self {
        if number.is_nan() {
            Self::Text("NaN")
        } else if number == f64::INFINITY {
            Self::Text("Infinity")
        } else if number == f64::NEG_INFINITY {
            Self::Text("-Infinity")
        } else {
            Self::Number(number)
        }
    }

    /// Whether Python takes the value for false: null, zero or empty.
    pub(super) fn is_falsy(self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(truth) => !truth,
            Self::Number(number) => number == 0.0,
            Self::Document(_) | Self::Score(_) | Self::Tensor(_) => false,
            Self::Text(text) => text.is_empty(),
            Self::Blob(_)
            | Self::List(_)
            | Self::Numbers(_)
            | Self::Object(_)
            | Self::Documents(_)
            | Self::Scores(_) => self.len() == Some(0),
        }
    }

    /// Python's `len()`; characters of a string, first dimension of a tensor.
    pub(super) fn len(self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.chars().count()),
            Self::Blob(blob) => Some(blob.len()),
            Self::List(list) => Some(list.len()),
            Self::Numbers(numbers) => Some(numbers.len()),
            Self::Object(object) => Some(object.fields.len()),
            Self::Documents(documents) => Some(documents.len()),
            Self::Scores(scores) => Some(scores.len()),
            Self::Tensor(tensor) => rows(tensor),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Document(_) | Self::Score(_) => {
                None
            }
        }
    }

    /// The element at `index`, from the end when negative; `None` when there is none.
    pub(super) fn item(self, index: i64) -> Option<Self> {
        let place = if index < 0 {
            let back = usize::try_from(index.unsigned_abs()).ok()?;
            self.len()?.checked_sub(back)?
        } else {
            usize::try_from(index).ok()?
        };
        match self {
            Self::List(list) => list.get(place).map(Self::of),
            Self::Numbers(numbers) => numbers.get(place).map(|n| Self::Number((*n).into())),
            Self::Documents(documents) => documents.get(place).map(Self::Document),
            Self::Text(text) => text
                .char_indices()
                .nth(place)
                .map(|(at, char)| Self::Text(&text[at..at + char.len_utf8()])),
            _ => None,
        }
    }

    /// Python's `==`; values of different types are just not equal.
    pub(super) fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => equal_objects(a, b),
            (Self::Scores(a), Self::Scores(b)) => a == b,
            (Self::Scores(a), Self::Object(b)) | (Self::Object(b), Self::Scores(a)) => {
                a.is_empty() && b.fields.is_empty()
            }
            (Self::Score(a), Self::Score(b)) => a == b,
            (Self::Documents(a), Self::Documents(b)) => a == b,
            (Self::Document(a), Self::Document(b)) => a == b,
            _ => match (self.as_number(), other.as_number()) {
                (Some(a), Some(b)) => a == b,
                _ => match (self.items(), other.items()) {
                    (Some(a), Some(b)) => {
                        self.len() == other.len() && a.zip(b).all(|(a, b)| a.equals(b))
                    }
                    _ => false,
                },
            },
        }
    }

    /// Python's `<` and its kin; `Ok(None)` when NaN is in play.
    pub(super) fn order(self, other: Self) -> Result<Option<Ordering>, Mismatch> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => return Ok(Some(a.cmp(b))),
            (Self::Blob(a), Self::Blob(b)) => return Ok(Some(a.cmp(b))),
            _ => {}
        }
        if let (Some(a), Some(b)) = (self.as_number(), other.as_number()) {
            return Ok(a.partial_cmp(&b));
        }
        let (Some(a), Some(b)) = (self.items(), other.items()) else {
            return Err(Mismatch);
        };
        match a.zip(b).find(|(a, b)| !a.equals(*b)) {
            Some((a, b)) => a.order(b),
            None => Ok(self.len().partial_cmp(&other.len())),
        }
    }

    /// Python's `needle in self`: an element of a list, a part of a string, a key of an object.
    pub(super) fn contains(self, needle: Self) -> Result<bool, Mismatch> {
        if let Some(mut items) = self.items() {
            return Ok(items.any(|item| item.equals(needle)));
        }
        match (self, needle) {
            (Self::Text(text), Self::Text(part)) => Ok(text.contains(part)),
            (Self::Object(object), Self::Text(key)) => Ok(object.fields.contains_key(key)),
            (Self::Scores(scores), Self::Text(key)) => Ok(scores.contains_key(key)),
            (Self::Documents(documents), Self::Text(id)) => {
                Ok(documents.iter().any(|document| document.id == id))
            }
            // A key is a string; what else Python can look up is just not there.
            (
                Self::Object(_) | Self::Scores(_),
                Self::Null | Self::Bool(_) | Self::Number(_) | Self::Blob(_),
            ) => Ok(false),
            _ => Err(Mismatch),
        }
    }

    /// What the value is, for a person.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Blob(_) => "bytes",
            Self::List(_) | Self::Numbers(_) => "a list",
            Self::Object(_) => "an object",
            Self::Documents(_) => "a list of documents",
            Self::Document(_) => "a document",
            Self::Scores(_) => "scores",
            Self::Score(_) => "a score",
            Self::Tensor(_) => "a tensor",
        }
    }

    /// Python counts booleans among the numbers.
    const fn as_number(self) -> Option<f64> {
        match self {
            Self::Bool(truth) => Some(if truth { 1.0 } else { 0.0 }),
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The elements of what is a list in Python.
    fn items(self) -> Option<impl Iterator<Item = Self>> {
        let (values, numbers): (&[Value], &[f32]) = match self {
            Self::List(list) => (list, &[]),
            Self::Numbers(numbers) => (&[], numbers),
            _ => return None,
        };
        let numbers = numbers.iter().map(|number| Self::Number((*number).into()));
        Some(values.iter().map(Self::of).chain(numbers))
    }
}

fn equal_objects(a: &Struct, b: &Struct) -> bool {
    let equal_values = |(a, b): (&Value, &Value)| Operand::of(a).equals(Operand::of(b));
    a.fields.keys().eq(b.fields.keys())
        && a.fields.values().zip(b.fields.values()).all(equal_values)
}

fn rows(tensor: &NdArrayProto) -> Option<usize> {
    let shape = match tensor.content.as_ref()? {
        nd_array_proto::Content::Dense(dense) => &dense.shape,
        nd_array_proto::Content::Sparse(sparse) => &sparse.shape,
    };
    usize::try_from(*shape.first()?).ok()
}
