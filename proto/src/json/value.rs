//! A JSON value as Python's json module parses it, with NaN and integers of any size.

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without fraction and exponent.
    Int(i64),
    /// An integer that does not fit in 64 bits: its digits, after a sign if it is negative.
    BigInt(String),
    /// Any other number, including `NaN`, `Infinity` and `-Infinity`.
    Float(f64),
    /// A string. A lone escaped surrogate is U+FFFD.
    String(String),
    /// `[...]`.
    List(Vec<Self>),
    /// `{...}` in the order of the text. The last value of a repeated key wins.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Returns the value of a key; `None` when it is missing or this is not an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Returns the text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}
