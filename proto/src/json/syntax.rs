//! JSON text becomes a [`Json`], by the rules and with the complaints of Python's json module.

use std::{
    collections::HashSet,
    fmt,
    str::{self, Utf8Error},
};

use super::{FieldError, Json};

mod string;

/// How deep lists and objects may lie in one another. Python stops near 1000; a protobuf message,
/// which is what the values go into, takes 33 objects.
const MAX_DEPTH: usize = 256;

/// How many digits an integer may have: Python's own limit.
const MAX_DIGITS: usize = 4300;

/// Text that is no JSON, in the words of Python's `JSONDecodeError`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong, without the place.
    pub message: String,
    /// The place: characters (not bytes) before it in the text.
    pub pos: usize,
    /// The line of the place, from 1.
    pub line: usize,
    /// The column of the place in characters, from 1.
    pub column: usize,
    /// Of what sort it is.
    pub fault: Fault,
}

/// The sorts of [`SyntaxError`]: Jina answers them differently over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It breaks JSON's grammar: 422 with [`SyntaxError::field_error`].
    Grammar,
    /// It cannot be read at all, being no UTF-8, too deep, or with an integer too long: 400
    /// `There was an error parsing the body`.
    Unreadable,
}

impl SyntaxError {
    /// The entry of `detail` with which FastAPI answers; `text` is the whole body.
    #[must_use]
    pub fn field_error(&self, text: &str) -> FieldError {
        FieldError::syntax(self, text)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            message,
            pos,
            line,
            column,
            fault,
        } = self;
        match fault {
            Fault::Grammar => write!(f, "{message}: line {line} column {column} (char {pos})"),
            Fault::Unreadable => f.write_str(message),
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reads one JSON value, which has to be all that the text holds.
///
/// As in Python, `NaN`, `Infinity`, `-Infinity` are numbers, `1e999` is infinite, integers have any
/// size, and a byte order mark is passed over.
///
/// # Errors
/// When the text is no JSON, no UTF-8, or nested more than 256 levels deep.
pub fn parse(text: &[u8]) -> Result<Json, SyntaxError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let text = str::from_utf8(text).map_err(|e| not_utf8(text, e))?;
    let mut reader = Reader { text, at: 0 };
    reader
        .document()
        .map_err(|mistake| reader.explain(&mistake))
}

struct Reader<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
}

/// What is wrong, and at which byte.
struct Mistake {
    message: &'static str,
    at: usize,
    fault: Fault,
}

type Read<T> = Result<T, Mistake>;

impl Mistake {
    const fn new(message: &'static str, at: usize) -> Self {
        Self {
            message,
            at,
            fault: Fault::Grammar,
        }
    }

    const fn unreadable(message: &'static str, at: usize) -> Self {
        Self {
            message,
            at,
            fault: Fault::Unreadable,
        }
    }
}

impl Reader<'_> {
    fn document(&mut self) -> Read<Json> {
        self.blanks();
        let value = self.value(0)?;
        self.blanks();
        if self.at < self.text.len() {
            return Err(Mistake::new("Extra data", self.at));
        }
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Read<Json> {
        if depth > MAX_DEPTH {
            return Err(Mistake::unreadable("nested too deep", self.at));
        }
        match self.peek() {
            Some(b'"') => self.string().map(Json::String),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Read<Json> {
        self.at += 1;
        self.blanks();
        let mut entries = Vec::new();
        if self.took(b'}') {
            return Ok(Json::Object(entries));
        }
        loop {
            entries.push(self.entry(depth)?);
            self.blanks();
            if self.took(b'}') {
                return Ok(Json::Object(last_wins(entries)));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.blanks();
        }
    }

    fn entry(&mut self, depth: usize) -> Read<(String, Json)> {
        if self.peek() != Some(b'"') {
            let message = "Expecting property name enclosed in double quotes";
            return Err(Mistake::new(message, self.at));
        }
        let key = self.string()?;
        self.blanks();
        self.expect(b':', "Expecting ':' delimiter")?;
        self.blanks();
        Ok((key, self.value(depth + 1)?))
    }

    fn list(&mut self, depth: usize) -> Read<Json> {
        self.at += 1;
        self.blanks();
        let mut items = Vec::new();
        if self.took(b']') {
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.took(b']') {
                return Ok(Json::List(items));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.blanks();
        }
    }

    fn literal(&mut self) -> Read<Json> {
        let rest = &self.text.as_bytes()[self.at..];
        match rest.first() {
            Some(b'0'..=b'9') => return self.number(),
            Some(b'-') if rest.get(1) != Some(&b'I') => return self.number(),
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
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(Mistake::new("Expecting value", self.at))
    }

    fn number(&mut self) -> Read<Json> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let first = start + usize::from(bytes[start] == b'-');
        let mut end = match bytes.get(first) {
            Some(b'0') => first + 1,
            Some(b'1'..=b'9') => digits_end(bytes, first),
            _ => return Err(Mistake::new("Expecting value", start)),
        };
        let whole = end;
        if bytes.get(end) == Some(&b'.') {
            // A point without digits is not part of the number: it is extra data behind it.
            end = some_digits_end(bytes, end + 1).unwrap_or(end);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            end = some_digits_end(bytes, end + 1 + sign).unwrap_or(end);
        }
        self.at = end;
        let text = &self.text[start..end];
        if end > whole {
            return Ok(Json::Float(text.parse().unwrap_or(f64::NAN)));
        }
        if whole - first > MAX_DIGITS {
            return Err(Mistake::unreadable("an integer has too many digits", start));
        }
        Ok(text
            .parse()
            .map_or_else(|_| Json::BigInt(text.to_owned()), Json::Int))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn took(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, message: &'static str) -> Read<()> {
        if self.took(byte) {
            return Ok(());
        }
        Err(Mistake::new(message, self.at))
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn explain(&self, mistake: &Mistake) -> SyntaxError {
        let before = self.text.get(..mistake.at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        SyntaxError {
            message: mistake.message.to_owned(),
            pos: before.chars().count(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            fault: mistake.fault,
        }
    }
}

/// Where the digits from `start` on end.
fn digits_end(bytes: &[u8], start: usize) -> usize {
    let digits = bytes[start..].iter().take_while(|b| b.is_ascii_digit());
    start + digits.count()
}

/// The same, if there is one digit at least.
fn some_digits_end(bytes: &[u8], start: usize) -> Option<usize> {
    bytes
        .get(start)?
        .is_ascii_digit()
        .then(|| digits_end(bytes, start))
}

/// Of entries with the same key, the last.
fn last_wins(mut entries: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut seen = HashSet::with_capacity(entries.len());
    let last: Vec<bool> = entries
        .iter()
        .rev()
        .map(|(key, _)| seen.insert(key.as_str()))
        .collect();
    if seen.len() < entries.len() {
        let mut last = last.into_iter().rev();
        entries.retain(|_| last.next().unwrap_or(true));
    }
    entries
}

fn not_utf8(text: &[u8], error: Utf8Error) -> SyntaxError {
    let at = error.valid_up_to();
    let byte = text.get(at).copied().unwrap_or_default();
    SyntaxError {
        message: format!("'utf-8' codec can't decode byte {byte:#04x} in position {at}"),
        pos: 0,
        line: 1,
        column: 1,
        fault: Fault::Unreadable,
    }
}
