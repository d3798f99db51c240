//! A value in a condition, borrowed from the document or from the condition itself, with Python's comparisons: docarray
//! 0.21 leaves them to Python.

use std::{cmp::Ordering, collections::BTreeMap};

use flowgate_proto::{
    Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, nd_array_proto},
};

/// A value. It borrows from the document.
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

/// Python cannot compare the two values in this way.
#[derive(Debug, PartialEq)]
pub(super) struct Incomparable;

impl<'a> Operand<'a> {
    /// Borrows a value from `tags`, `_metadata` or a condition.
    pub(super) fn new(value: &'a Value) -> Self {
        match &value.kind {
            None | Some(Kind::NullValue(_)) => Self::Null,
            Some(Kind::BoolValue(truth)) => Self::Bool(*truth),
            Some(Kind::NumberValue(number)) => Self::number(*number),
            Some(Kind::StringValue(text)) => Self::Text(text),
            Some(Kind::ListValue(list)) => Self::List(&list.values),
            Some(Kind::StructValue(object)) => Self::Object(object),
        }
    }

    /// Python converts a `Struct` to JSON first, in which these three numbers are strings.
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

    /// Whether the value is false in Python: null, zero or empty.
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

    /// Returns Python's `len()`: the characters of a string, the first dimension of a tensor.
    pub(super) fn len(self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.chars().count()),
            Self::Blob(blob) => Some(blob.len()),
            Self::List(list) => Some(list.len()),
            Self::Numbers(numbers) => Some(numbers.len()),
            Self::Object(object) => Some(object.fields.len()),
            Self::Documents(documents) => Some(documents.len()),
            Self::Scores(scores) => Some(scores.len()),
            Self::Tensor(tensor) => first_dimension(tensor),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Document(_) | Self::Score(_) => {
                None
            }
        }
    }

    /// Returns the element at `index`, counted from the end if it is negative.
    pub(super) fn item(self, index: i64) -> Option<Self> {
        let position = if index < 0 {
            let from_end = usize::try_from(index.unsigned_abs()).ok()?;
            self.len()?.checked_sub(from_end)?
        } else {
            usize::try_from(index).ok()?
        };
        match self {
            Self::List(list) => list.get(position).map(Self::new),
            Self::Numbers(numbers) => numbers.get(position).map(|n| Self::Number((*n).into())),
            Self::Documents(documents) => documents.get(position).map(Self::Document),
            Self::Text(text) => text
                .char_indices()
                .nth(position)
                .map(|(at, char)| Self::Text(&text[at..at + char.len_utf8()])),
            _ => None,
        }
    }

    /// Compares as Python's `==`. Values of different types are not equal.
    pub(super) fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Blob(a), Self::Blob(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => are_objects_equal(a, b),
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

    /// Compares as Python's `<`, `<=`, `>` and `>=`. Returns `Ok(None)` if NaN is involved.
    pub(super) fn order(self, other: Self) -> Result<Option<Ordering>, Incomparable> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => return Ok(Some(a.cmp(b))),
            (Self::Blob(a), Self::Blob(b)) => return Ok(Some(a.cmp(b))),
            _ => {}
        }
        if let (Some(a), Some(b)) = (self.as_number(), other.as_number()) {
            return Ok(a.partial_cmp(&b));
        }
        let (Some(a), Some(b)) = (self.items(), other.items()) else {
            return Err(Incomparable);
        };
        match a.zip(b).find(|(a, b)| !a.equals(*b)) {
            Some((a, b)) => a.order(b),
            None => Ok(self.len().partial_cmp(&other.len())),
        }
    }

    /// Evaluates Python's `needle in self`: an element of a list, a substring, or a key of an object.
    pub(super) fn contains(self, needle: Self) -> Result<bool, Incomparable> {
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
            // Keys are strings. Python can look up other hashable values, but never finds them.
            (
                Self::Object(_) | Self::Scores(_),
                Self::Null | Self::Bool(_) | Self::Number(_) | Self::Blob(_),
            ) => Ok(false),
            _ => Err(Incomparable),
        }
    }

    /// Names the type of the value, for messages.
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

    /// Returns a number or a boolean as a number, as Python treats both.
    const fn as_number(self) -> Option<f64> {
        match self {
            Self::Bool(truth) => Some(if truth { 1.0 } else { 0.0 }),
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the elements of a value that is a list in Python.
    fn items(self) -> Option<impl Iterator<Item = Self>> {
        let (values, numbers): (&[Value], &[f32]) = match self {
            Self::List(list) => (list, &[]),
            Self::Numbers(numbers) => (&[], numbers),
            _ => return None,
        };
        let numbers = numbers.iter().map(|number| Self::Number((*number).into()));
        Some(values.iter().map(Self::new).chain(numbers))
    }
}

fn are_objects_equal(a: &Struct, b: &Struct) -> bool {
    let are_equal = |(a, b): (&Value, &Value)| Operand::new(a).equals(Operand::new(b));
    a.fields.keys().eq(b.fields.keys()) && a.fields.values().zip(b.fields.values()).all(are_equal)
}

fn first_dimension(tensor: &NdArrayProto) -> Option<usize> {
    let shape = match tensor.content.as_ref()? {
        nd_array_proto::Content::Dense(dense) => &dense.shape,
        nd_array_proto::Content::Sparse(sparse) => &sparse.shape,
    };
    usize::try_from(*shape.first()?).ok()
}
