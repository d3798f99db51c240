//! A JSON value as Python's json module sees it, NaN and integers of any size included.

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number with neither fraction nor exponent.
    Int(i64),
    /// The same, where 64 bits do not hold it: its digits, a sign before them.
    BigInt(String),
    /// Any other number, and `NaN`, `Infinity`, `-Infinity`.
    Float(f64),
    /// A string. An escaped surrogate without its other half is U+FFFD.
    String(String),
    /// `[...]`.
    List(Vec<Self>),
    /// `{...}` in the order of the text. Of a key that comes twice the last is kept.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The value of a key of an object; `None` also where this is no object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}
