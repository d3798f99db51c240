//! Parses JSON text by the rules and with the error messages of Python's json module.

use std::{
    collections::HashSet,
    fmt,
    str::{self, Utf8Error},
};

use super::Json;

mod string;

/// How deep lists and objects may be nested. Python stops near 1000; a protobuf message, into which the
/// values are converted, can contain 33 nested objects.
const MAX_DEPTH: usize = 256;

/// How many digits an integer may have, as in Python.
const MAX_DIGITS: usize = 4300;

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
    /// Invalid JSON: 422 with [`FieldError::from_syntax_error`](super::FieldError::from_syntax_error).
    Grammar,
    /// Not UTF-8, nested too deep, or an integer that is too long: 400 `There was an error parsing the body`.
    Unreadable,
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
            SyntaxErrorKind::Unreadable => f.write_str(message),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Parses text that consists of one JSON value.
///
/// As in Python, `NaN`, `Infinity` and `-Infinity` are numbers, `1e999` is infinite, integers have any
/// size, and a byte order mark is skipped.
///
/// # Errors
/// When the text is not valid JSON, not UTF-8, or nested more than 256 levels deep.
pub fn parse(text: &[u8]) -> Result<Json, SyntaxError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = str::from_utf8(text).map_err(|e| utf8_error(text, e))?;
    let mut parser = Parser { text, offset: 0 };
    parser
        .parse_document()
        .map_err(|error| parser.locate(&error))
}

struct Parser<'a> {
    text: &'a str,
    /// The position in bytes.
    offset: usize,
}

/// An error at a byte offset, before line and column are determined.
struct ParseError {
    message: &'static str,
    offset: usize,
    kind: SyntaxErrorKind,
}

type Parsed<T> = Result<T, ParseError>;

impl ParseError {
    const fn new(message: &'static str, offset: usize) -> Self {
        Self {
            message,
            offset,
            kind: SyntaxErrorKind::Grammar,
        }
    }

    const fn unreadable(message: &'static str, offset: usize) -> Self {
        Self {
            message,
            offset,
            kind: SyntaxErrorKind::Unreadable,
        }
    }
}

impl Parser<'_> {
    fn parse_document(&mut self) -> Parsed<Json> {
        self.skip_whitespace();
        let value = self.parse_value(0)?;
        self.skip_whitespace();
        if self.offset < self.text.len() {
            return Err(ParseError::new("Extra data", self.offset));
        }
        Ok(value)
    }

    fn parse_value(&mut self, depth: usize) -> Parsed<Json> {
        if depth > MAX_DEPTH {
            return Err(ParseError::unreadable("nested too deep", self.offset));
        }
        match self.peek() {
            Some(b'"') => self.parse_string().map(Json::String),
            Some(b'{') => self.parse_object(depth),
            Some(b'[') => self.parse_list(depth),
            _ => self.parse_literal(),
        }
    }

    fn parse_object(&mut self, depth: usize) -> Parsed<Json> {
        self.offset += 1;
        self.skip_whitespace();
        let mut entries = Vec::new();
        if self.eat(b'}') {
            return Ok(Json::Object(entries));
        }
        loop {
            entries.push(self.parse_entry(depth)?);
            self.skip_whitespace();
            if self.eat(b'}') {
                return Ok(Json::Object(keep_last_of_each_key(entries)));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }

    fn parse_entry(&mut self, depth: usize) -> Parsed<(String, Json)> {
        if self.peek() != Some(b'"') {
            let message = "Expecting property name enclosed in double quotes";
            return Err(ParseError::new(message, self.offset));
        }
        let key = self.parse_string()?;
        self.skip_whitespace();
        self.expect(b':', "Expecting ':' delimiter")?;
        self.skip_whitespace();
        Ok((key, self.parse_value(depth + 1)?))
    }

    fn parse_list(&mut self, depth: usize) -> Parsed<Json> {
        self.offset += 1;
        self.skip_whitespace();
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.parse_value(depth + 1)?);
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(Json::List(items));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }

    fn parse_literal(&mut self) -> Parsed<Json> {
        let rest = &self.text.as_bytes()[self.offset..];
        match rest.first() {
            Some(b'0'..=b'9') => return self.parse_number(),
            Some(b'-') if rest.get(1) != Some(&b'I') => return self.parse_number(),
            _ => {}
        }
        let known = [
            ("null", Json::Null),
            ("true", Json::Bool(true)),
            ("false", Json::Bool(false)),
            ("NaN", Json::Float(f64::NAN)),
            ("Infinity", Json::Float(f64::INFINITY)),
            ("-Infinity", Json::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in known {
            if rest.starts_with(word.as_bytes()) {
                self.offset += word.len();
                return Ok(value);
            }
        }
        Err(ParseError::new("Expecting value", self.offset))
    }

    fn parse_number(&mut self) -> Parsed<Json> {
        let bytes = self.text.as_bytes();
        let start = self.offset;
        let first = start + usize::from(bytes[start] == b'-');
        let mut end = match bytes.get(first) {
            Some(b'0') => first + 1,
            Some(b'1'..=b'9') => end_of_digits(bytes, first),
            _ => return Err(ParseError::new("Expecting value", start)),
        };
        let integer_end = end;
        if bytes.get(end) == Some(&b'.') {
            // A point without digits is not part of the number but extra data after it.
            end = end_of_some_digits(bytes, end + 1).unwrap_or(end);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = end_of_some_digits(bytes, end + 1 + sign).unwrap_or(end);
        }
        self.offset = end;
        let text = &self.text[start..end];
        if end > integer_end {
            return Ok(Json::Float(text.parse().unwrap_or(f64::NAN)));
        }
        if integer_end - first > MAX_DIGITS {
            return Err(ParseError::unreadable(
                "an integer has too many digits",
                start,
            ));
        }
        Ok(text
            .parse()
            .map_or_else(|_| Json::BigInt(text.to_owned()), Json::Int))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.offset += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, message: &'static str) -> Parsed<()> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(ParseError::new(message, self.offset))
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
        }
    }

    fn locate(&self, error: &ParseError) -> SyntaxError {
        let before = self.text.get(..error.offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        SyntaxError {
            message: error.message.to_owned(),
            pos: before.chars().count(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            kind: error.kind,
        }
    }
}

/// Returns the end of the digits that begin at `start`.
fn end_of_digits(bytes: &[u8], start: usize) -> usize {
    let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit());
    start + digits.count()
}

/// Returns the end of the digits that begin at `start`, if there is at least one.
fn end_of_some_digits(bytes: &[u8], start: usize) -> Option<usize> {
    bytes
        .get(start)?
        .is_ascii_digit()
        .then(|| end_of_digits(bytes, start))
}

/// Removes all but the last entry of each key.
fn keep_last_of_each_key(mut entries: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut seen = HashSet::with_capacity(entries.len());
    let is_last: Vec<bool> = entries
        .iter()
        .rev()
        .map(|(key, _)| seen.insert(key.as_str()))
        .collect();
    if seen.len() < entries.len() {
        let mut is_last = is_last.into_iter().rev();
        entries.retain(|_| is_last.next().unwrap_or(true));
    }
    entries
}

fn utf8_error(text: &[u8], error: Utf8Error) -> SyntaxError {
    let offset = error.valid_up_to();
    let byte = text.get(offset).copied().unwrap_or_default();
    SyntaxError {
        message: format!("'utf-8' codec can't decode byte {byte:#04x} in position {offset}"),
        pos: 0,
        line: 1,
        column: 1,
        kind: SyntaxErrorKind::Unreadable,
    }
}
