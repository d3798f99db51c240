//! Parses a JSON number, as Python's scanner does.

use super::{ALLOCATION_BYTES, ParseError, Parsed, Parser, take};
use crate::json::Json;

/// How many digits an integer may have, as in Python.
const MAX_DIGITS: usize = 4300;

impl Parser<'_, '_> {
    pub(super) fn parse_number(&mut self) -> Parsed<Json> {
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
        if let Ok(n) = text.parse() {
            return Ok(Json::Int(n));
        }
        take(text.len() + ALLOCATION_BYTES, &mut self.budget)?;
        Ok(Json::BigInt(text.into()))
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
