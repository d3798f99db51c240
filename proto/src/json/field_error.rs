//! What is wrong with a request's JSON, and where: the entries of `detail` in FastAPI's 422.

use serde::Serialize;

use super::SyntaxError;

/// One entry of `detail`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldError {
    /// The way to the value, from `body` on.
    pub loc: Vec<Loc>,
    /// A sentence for people, pydantic's own where it has one.
    pub msg: String,
    /// The sort of mistake, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the message is about; not all have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctx: Option<Context>,
}

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// A key of an object.
    Key(String),
    /// A place in a list, or in the text.
    Index(usize),
}

/// The `ctx` of a [`FieldError`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Context {
    /// Of a number out of range.
    Limit {
        /// The least or greatest that is allowed.
        limit_value: f64,
    },
    /// Of a text that is no JSON.
    Syntax {
        /// What is wrong, without the place.
        msg: String,
        /// The whole text.
        doc: String,
        /// Characters before the place.
        pos: usize,
        /// Line, from 1.
        lineno: usize,
        /// Column in characters, from 1.
        colno: usize,
    },
}

impl FieldError {
    /// The entry for a text that is no JSON.
    pub(super) fn syntax(error: &SyntaxError, text: &str) -> Self {
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

/// What can be wrong with one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Flaw {
    Missing,
    Null,
    Str,
    Integer,
    Float,
    List,
    Dict,
    /// Keys of an object (made of a list of pairs) that are no strings.
    Keywords,
    AtLeast(f64),
    AtMost(f64),
    /// An integer beyond what a double holds.
    Huge,
    Time,
    TooDeep,
    /// What binascii says of a text that is no base64.
    Base64(String),
    /// A value of this Python type where an array is wanted.
    NoArray(&'static str),
    /// What numpy says of lists that make no array.
    Array(String),
    /// An array of things that no array can hold.
    Elements,
}

impl Flaw {
    fn msg(&self) -> String {
        match self {
            Self::Missing => "field required".to_owned(),
            Self::Null => "none is not an allowed value".to_owned(),
            Self::Str => "str type expected".to_owned(),
            Self::Integer => "value is not a valid integer".to_owned(),
            Self::Float => "value is not a valid float".to_owned(),
            Self::List => "value is not a valid list".to_owned(),
            Self::Dict => "value is not a valid dict".to_owned(),
            Self::Keywords => "keywords must be strings".to_owned(),
            Self::AtLeast(limit) => {
                format!("ensure this value is greater than or equal to {limit}")
            }
            Self::AtMost(limit) => format!("ensure this value is less than or equal to {limit}"),
            Self::Huge => "int too large to convert to float".to_owned(),
            Self::Time => "invalid datetime format".to_owned(),
            Self::TooDeep => "value is nested too deep for a protobuf message".to_owned(),
            Self::Base64(said) | Self::Array(said) => said.clone(),
            Self::NoArray(class) => {
                format!("can not determine the array type: ['builtins'].{class}")
            }
            Self::Elements => "elements of an array are numbers, booleans or strings".to_owned(),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "value_error.missing",
            Self::Null => "type_error.none.not_allowed",
            Self::Str => "type_error.str",
            Self::Integer => "type_error.integer",
            Self::Float => "type_error.float",
            Self::List => "type_error.list",
            Self::Dict => "type_error.dict",
            Self::Keywords | Self::NoArray(_) | Self::Elements => "type_error",
            Self::AtLeast(_) => "value_error.number.not_ge",
            Self::AtMost(_) => "value_error.number.not_le",
            Self::Time => "value_error.datetime",
            Self::Base64(_) => "value_error.base64",
            Self::Huge | Self::TooDeep | Self::Array(_) => "value_error",
        }
    }

    const fn context(&self) -> Option<Context> {
        match self {
            Self::AtLeast(limit) | Self::AtMost(limit) => Some(Context::Limit {
                limit_value: *limit,
            }),
            _ => None,
        }
    }
}

/// The way to a value, as a list on the stack: it costs nothing until something is wrong.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    before: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) const BODY: Path<'static> = Path {
        before: None,
        step: Step::Key("body"),
    };

    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self {
            before: Some(self),
            step: Step::Key(key),
        }
    }

    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self {
            before: Some(self),
            step: Step::Index(index),
        }
    }

    fn loc(&self) -> Vec<Loc> {
        let mut loc = self.before.map(Self::loc).unwrap_or_default();
        loc.push(match self.step {
            Step::Key(key) => Loc::Key(key.to_owned()),
            Step::Index(index) => Loc::Index(index),
        });
        loc
    }
}

/// How many entries are told. Jina tells all, a hundred bytes for each two of a request's.
const MAX_TOLD: usize = 1000;

/// All that is wrong with a request.
#[derive(Default)]
pub(super) struct Flaws {
    told: Vec<FieldError>,
}

impl Flaws {
    pub(super) fn add(&mut self, path: &Path<'_>, flaw: &Flaw) {
        if self.told.len() < MAX_TOLD {
            self.told.push(FieldError {
                loc: path.loc(),
                msg: flaw.msg(),
                kind: flaw.kind().to_owned(),
                ctx: flaw.context(),
            });
        }
    }

    /// The value, or nothing and one more entry.
    pub(super) fn take<T>(&mut self, path: &Path<'_>, read: Result<T, Flaw>) -> Option<T> {
        read.map_err(|flaw| self.add(path, &flaw)).ok()
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.told.append(&mut others.told);
    }

    pub(super) const fn len(&self) -> usize {
        self.told.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<FieldError> {
        self.told
    }
}
