//! Parses JSON text by the rules and with the error messages of Python's json module.

use std::{
    collections::HashSet,
    str::{self, Utf8Error},
};

use super::{Json, SyntaxError, SyntaxErrorKind, request_body::RequestBody};
use crate::decode_limits::{ALLOCATION_BYTES, Budget, DecodeLimits, DecodedMemory, LimitExceeded};

mod list;

mod number;

mod request;

mod string;

use self::list::{List, boxed, push, take};

/// How deep lists and objects may be nested. Python stops near 1000; a protobuf message, into which the
/// values are converted, can contain 33 nested objects.
const MAX_DEPTH: usize = 256;

/// The memory of a key of an object while repeated keys are searched: its place in a hash table, which is at least half full
/// when it has grown, and a flag.
const SEARCHED_KEY_BYTES: usize = 2 * size_of::<&str>() + 3;

/// Objects with up to this many entries are searched for repeated keys without a set of the keys.
const FEW_ENTRIES: usize = 24;

/// Parses text that consists of one JSON value.
///
/// As in Python, `NaN`, `Infinity` and `-Infinity` are numbers, `1e999` is infinite, integers have any
/// size, and a byte order mark is skipped.
///
/// # Errors
/// When the text is not valid JSON, not UTF-8, or nested more than 256 levels deep.
pub fn parse(text: &[u8]) -> Result<Json, SyntaxError> {
    let limits = DecodeLimits::default();
    let mut parser = Parser::new(text, Budget::new(limits))?;
    parser
        .parse_document()
        .map_err(|error| parser.locate(&error))
}

/// Parses the body of a client's request, by the rules of [`parse`]. Valid documents of its `data` are converted one by
/// one as they are parsed, so that no tree of all of them is built.
///
/// # Errors
/// As [`parse`], and when the body exceeds the limits.
pub fn parse_request(
    text: &[u8],
    limits: DecodeLimits,
) -> Result<RequestBody<'static>, SyntaxError> {
    parse_within(text, Budget::new(limits))
}

/// Parses as [`parse_request`]; the memory of what is parsed, and of what [`super::read_request()`] makes of it, is held by
/// `memory` before it is allocated. After [`super::read_request()`] it holds what the documents and parameters take.
///
/// # Errors
/// As [`parse_request`], and with [`LimitExceeded::NoRoom`] when `memory` has no room.
pub fn parse_request_counted<'m>(
    text: &[u8],
    limits: DecodeLimits,
    memory: &'m dyn DecodedMemory,
) -> Result<RequestBody<'m>, SyntaxError> {
    parse_within(text, Budget::counted(limits, memory))
}

fn parse_within<'m>(text: &[u8], budget: Budget<'m>) -> Result<RequestBody<'m>, SyntaxError> {
    let mut parser = Parser::new(text, budget)?;
    parser
        .parse_request()
        .map_err(|error| parser.locate(&error))
}

struct Parser<'a, 'm> {
    text: &'a str,
    /// The position in bytes.
    offset: usize,
    /// The limits for the whole text.
    limits: Budget<'m>,
    /// What the values parsed so far have left of the limits.
    budget: Budget<'m>,
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

    const fn exceeded(error: LimitExceeded) -> Self {
        Self {
            message: "",
            offset: 0,
            kind: SyntaxErrorKind::TooLarge(error),
        }
    }
}

impl<'a, 'm> Parser<'a, 'm> {
    fn new(text: &'a [u8], limits: Budget<'m>) -> Result<Self, SyntaxError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = str::from_utf8(text).map_err(|e| utf8_error(text, e))?;
        Ok(Self {
            text,
            offset: 0,
            limits,
            budget: limits,
        })
    }

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
            Some(b'"') => self.parse_string().map(|text| Json::String(text.into())),
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
            return Ok(Json::Object(entries.into()));
        }
        loop {
            let entry = self.parse_entry(depth)?;
            push(&mut entries, entry, &mut self.budget)?;
            self.skip_whitespace();
            if self.eat(b'}') {
                return self.finish_object(entries);
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }

    fn finish_object(&mut self, entries: Vec<Entry>) -> Parsed<Json> {
        let searched = match entries.len() {
            ..=FEW_ENTRIES => 0,
            many => many * SEARCHED_KEY_BYTES,
        };
        take(searched, &mut self.budget)?;
        let entries = keep_last_of_each_key(entries);
        self.budget.give_back(searched);
        Ok(Json::Object(boxed(entries, &mut self.budget)))
    }

    fn parse_entry(&mut self, depth: usize) -> Parsed<(Box<str>, Json)> {
        let key = self.parse_key()?;
        Ok((key, self.parse_value(depth + 1)?))
    }

    /// Parses a key with its colon.
    fn parse_key(&mut self) -> Parsed<Box<str>> {
        if self.peek() != Some(b'"') {
            let message = "Expecting property name enclosed in double quotes";
            return Err(ParseError::new(message, self.offset));
        }
        let key = self.parse_string()?;
        self.skip_whitespace();
        self.expect(b':', "Expecting ':' delimiter")?;
        self.skip_whitespace();
        Ok(key.into())
    }

    fn parse_list(&mut self, depth: usize) -> Parsed<Json> {
        self.offset += 1;
        self.skip_whitespace();
        let mut items = List::new(self.count_numbers());
        if self.eat(b']') {
            return Ok(items.into_json(&mut self.budget));
        }
        loop {
            let item = self.parse_value(depth + 1)?;
            items.push(item, &mut self.budget)?;
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(items.into_json(&mut self.budget));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }

    /// Returns the number of items of a list of numbers, whose first item is next, so that it gets its room at once; at
    /// least 1.
    fn count_numbers(&self) -> usize {
        let rest = &self.text.as_bytes()[self.offset..];
        if !matches!(rest.first(), Some(b'0'..=b'9' | b'-')) {
            return 1;
        }
        let mut bytes = rest.iter();
        let end = bytes.position(|b| matches!(b, b']' | b'[' | b'{' | b'"'));
        let numbers = &rest[..end.unwrap_or(rest.len())];
        1 + numbers.iter().filter(|b| **b == b',').count()
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
            message: match error.kind {
                SyntaxErrorKind::TooLarge(exceeded) => exceeded.to_string(),
                _ => error.message.to_owned(),
            },
            pos: before.chars().count(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            kind: error.kind,
        }
    }
}

/// An entry of an object.
type Entry = (Box<str>, Json);

/// Removes all but the last entry of each key.
fn keep_last_of_each_key(mut entries: Vec<Entry>) -> Vec<Entry> {
    if entries.len() <= FEW_ENTRIES {
        // The usual object has few keys, and none twice.
        let mut keys = entries.iter().enumerate();
        if keys.all(|(at, (key, _))| entries[..at].iter().all(|(earlier, _)| earlier != key)) {
            return entries;
        }
    }
    let mut seen = HashSet::with_capacity(entries.len());
    let is_last: Vec<bool> = entries
        .iter()
        .rev()
        .map(|(key, _)| seen.insert(&**key))
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
