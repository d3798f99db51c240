//! Errors in JSON text.

use std::fmt;

use crate::decode_limits::LimitExceeded;

/// An error in JSON text, with the message of Python's `JSONDecodeError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The message without the position.
    pub message: String,
    /// The position: the number of characters (not bytes) before it.
    pub pos: usize,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The kind of error.
    pub kind: SyntaxErrorKind,
}

/// The kinds of [`SyntaxError`], which have different HTTP responses in Jina.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    /// Invalid JSON, or an escape of half a surrogate pair: 422 with
    /// [`FieldError::from_syntax_error`](super::FieldError::from_syntax_error).
    Grammar,
    /// Not UTF-8, nested too deep, or an integer that is too long: 400 `There was an error parsing the body`.
    Unreadable,
    /// The values would take more memory than the limits allow: 413.
    TooLarge(LimitExceeded),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            pos,
            line,
            column,
            kind,
        } = self;
        match kind {
            SyntaxErrorKind::Grammar => {
                write!(f, "{message}: line {line} column {column} (char {pos})")
            }
            SyntaxErrorKind::Unreadable | SyntaxErrorKind::TooLarge(_) => f.write_str(message),
        }
    }
}

impl std::error::Error for SyntaxError {}
