//! Errors in a request's JSON with their location: the entries of `detail` in FastAPI's response 422.

use serde::Serialize;

use super::{Json, SyntaxError};
use crate::decode_limits::{ALLOCATION_BYTES, Budget, LimitExceeded};

/// One entry of `detail`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldError {
    /// The path of the value, starting with `body`.
    pub loc: Vec<Loc>,
    /// The message, in pydantic's words where it has one.
    pub msg: String,
    /// The kind of error, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// Details of some kinds of errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Context>,
}

/// One step of the path to a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// A key of an object.
    Key(String),
    /// A position in a list, or in the text.
    Index(usize),
}

/// The `ctx` of a [`FieldError`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Context {
    /// For a number out of range.
    Limit {
        /// The smallest or largest allowed value.
        limit_value: f64,
    },
    /// For text that is not valid JSON.
    Syntax {
        /// The message without the position.
        msg: String,
        /// The whole text.
        doc: String,
        /// The position: the number of characters before it.
        pos: usize,
        /// The line, from 1.
        lineno: usize,
        /// The column in characters, from 1.
        colno: usize,
    },
}

impl FieldError {
    /// Creates the entry for a body that is not valid JSON.
    #[must_use]
    pub fn from_syntax_error(error: &SyntaxError, text: &str) -> Self {
        Self {
            loc: vec![Loc::Key("body".to_owned()), Loc::Index(error.pos)],
            msg: error.to_string(),
            kind: "value_error.jsondecode".to_owned(),
            ctx: Some(Context::Syntax {
                msg: error.message.clone(),
                doc: text.to_owned(),
                pos: error.pos,
                lineno: error.line,
                colno: error.column,
            }),
        }
    }
}

/// Why one value is invalid.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ValueError {
    Missing,
    NullNotAllowed,
    NotAString,
    NotAnInteger,
    NotAFloat,
    NotAList,
    NotADict,
    /// Keys that are not strings, of an object given as a list of pairs.
    NonStringKeys,
    /// A number below this minimum.
    BelowMinimum(f64),
    /// A number above this maximum.
    AboveMaximum(f64),
    /// An integer too large for a double.
    IntegerTooLarge,
    InvalidTime,
    /// Messages nested deeper than this.
    TooDeep(usize),
    /// Invalid base64, with binascii's message.
    InvalidBase64(String),
    /// A value of this Python type where an array is expected.
    NotAnArray(&'static str),
    /// Lists that do not form an array, with numpy's message.
    InvalidArray(String),
    /// Array elements that are not numbers, booleans or strings.
    UnsupportedElements,
    /// The documents exceed a limit. The request is not read further.
    TooLarge(LimitExceeded),
}

impl From<LimitExceeded> for ValueError {
    fn from(error: LimitExceeded) -> Self {
        Self::TooLarge(error)
    }
}

impl ValueError {
    fn message(&self) -> String {
        match self {
            Self::Missing => "field required".to_owned(),
            Self::NullNotAllowed => "none is not an allowed value".to_owned(),
            Self::NotAString => "str type expected".to_owned(),
            Self::NotAnInteger => "value is not a valid integer".to_owned(),
            Self::NotAFloat => "value is not a valid float".to_owned(),
            Self::NotAList => "value is not a valid list".to_owned(),
            Self::NotADict => "value is not a valid dict".to_owned(),
            Self::NonStringKeys => "keywords must be strings".to_owned(),
            Self::BelowMinimum(limit) => {
                format!("ensure this value is greater than or equal to {limit}")
            }
            Self::AboveMaximum(limit) => {
                format!("ensure this value is less than or equal to {limit}")
            }
            Self::IntegerTooLarge => "int too large to convert to float".to_owned(),
            Self::InvalidTime => "invalid datetime format".to_owned(),
            Self::TooDeep(limit) => {
                format!("value is nested too deep: at most {limit} levels of protobuf messages")
            }
            Self::InvalidBase64(message) | Self::InvalidArray(message) => message.clone(),
            Self::NotAnArray(class) => {
                format!("can not determine the array type: ['builtins'].{class}")
            }
            Self::UnsupportedElements => {
                "array elements must be numbers, booleans or strings".to_owned()
            }
            Self::TooLarge(exceeded) => exceeded.to_string(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "value_error.missing",
            Self::NullNotAllowed => "type_error.none.not_allowed",
            Self::NotAString => "type_error.str",
            Self::NotAnInteger => "type_error.integer",
            Self::NotAFloat => "type_error.float",
            Self::NotAList => "type_error.list",
            Self::NotADict => "type_error.dict",
            Self::NonStringKeys | Self::NotAnArray(_) | Self::UnsupportedElements => "type_error",
            Self::BelowMinimum(_) => "value_error.number.not_ge",
            Self::AboveMaximum(_) => "value_error.number.not_le",
            Self::InvalidTime => "value_error.datetime",
            Self::InvalidBase64(_) => "value_error.base64",
            Self::IntegerTooLarge
            | Self::TooDeep(_)
            | Self::InvalidArray(_)
            | Self::TooLarge(_) => "value_error",
        }
    }

    const fn context(&self) -> Option<Context> {
        match self {
            Self::BelowMinimum(limit) | Self::AboveMaximum(limit) => Some(Context::Limit {
                limit_value: *limit,
            }),
            _ => None,
        }
    }
}

/// The path of a value, as a linked list on the stack that allocates only when there is an error.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) const BODY: Path<'static> = Path {
        parent: None,
        step: Step::Key("body"),
    };

    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self {
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    fn loc(&self) -> Vec<Loc> {
        let mut loc = self.parent.map(Self::loc).unwrap_or_default();
        loc.push(match self.step {
            Step::Key(key) => Loc::Key(key.to_owned()),
            Step::Index(index) => Loc::Index(index),
        });
        loc
    }
}

/// The most errors that are reported for one reading of `data`. Jina reports all of them, which makes a response up to fifty
/// times as large as its request.
const MAX_FIELD_ERRORS: usize = 1000;

/// The errors found in a request or a response, and what is left of the limits for reading it. [`FieldErrors::add`] drops
/// the errors after the first [`MAX_FIELD_ERRORS`]; `data` is read in two ways, whose errors are appended.
pub(super) struct FieldErrors<'m> {
    entries: Vec<FieldError>,
    budget: Budget<'m>,
    exceeded: Option<LimitExceeded>,
}

impl<'m> FieldErrors<'m> {
    pub(super) const fn new(budget: Budget<'m>) -> Self {
        Self {
            entries: Vec::new(),
            budget,
            exceeded: None,
        }
    }

    /// The limit that the documents exceed. What has been read is then incomplete.
    pub(super) const fn exceeded(&self) -> Option<LimitExceeded> {
        self.exceeded
    }

    pub(super) const fn budget(&self) -> Budget<'m> {
        self.budget
    }

    pub(super) const fn budget_mut(&mut self) -> &mut Budget<'m> {
        &mut self.budget
    }

    pub(super) fn add(&mut self, path: &Path<'_>, error: &ValueError) {
        if let ValueError::TooLarge(exceeded) = error {
            self.exceeded.get_or_insert(*exceeded);
        }
        if self.entries.len() < MAX_FIELD_ERRORS {
            self.entries.push(FieldError {
                loc: path.loc(),
                msg: error.message(),
                kind: error.kind().to_owned(),
                ctx: error.context(),
            });
        }
    }

    /// Returns the value, or adds the error and returns `None`.
    pub(super) fn check<T>(&mut self, path: &Path<'_>, result: Result<T, ValueError>) -> Option<T> {
        result.map_err(|error| self.add(path, &error)).ok()
    }

    /// Calls `read` with what is left of the limits; returns its value, or adds its error and returns `None`.
    pub(super) fn check_with<T>(
        &mut self,
        path: &Path<'_>,
        read: impl FnOnce(&mut Budget<'m>) -> Result<T, ValueError>,
    ) -> Option<T> {
        let result = read(&mut self.budget);
        self.check(path, result)
    }

    /// Reads the value of a key, if there is one. Takes the memory of a copy of its text from the limits.
    pub(super) fn read_field<T>(
        &mut self,
        (parent, key): (&Path<'_>, &str),
        value: Option<&Json>,
        read: impl FnOnce(&Json) -> Result<T, ValueError>,
    ) -> Option<T> {
        let value = value?;
        self.check_with(&parent.key(key), |budget| {
            let text = value.as_str().map_or(0, str::len);
            budget.take_bytes(text.saturating_add(ALLOCATION_BYTES))?;
            read(value)
        })
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.entries.append(&mut others.entries);
        self.exceeded = self.exceeded.or(others.exceeded);
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<FieldError> {
        self.entries
    }
}
