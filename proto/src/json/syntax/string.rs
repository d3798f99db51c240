//! Parses a JSON string with its escapes, as Python's scanner does.

use super::{ALLOCATION_BYTES, ParseError, Parsed, Parser, take};

impl Parser<'_, '_> {
    /// Parses a string, whose opening quote is next. A string with half a surrogate pair is invalid: Python reads it, and
    /// then fails to write it into a message.
    pub(super) fn parse_string(&mut self) -> Parsed<String> {
        let begin = self.offset;
        let mut lone_surrogate = None;
        self.offset += 1;
        let mut text = String::new();
        loop {
            let end = self.find_plain_end()?;
            take(end - self.offset + ALLOCATION_BYTES, &mut self.budget)?;
            text.push_str(&self.text[self.offset..end]);
            self.offset = end + 1;
            match self.text.as_bytes().get(end) {
                Some(b'"') => {
                    // Only now: Python reports other errors in the string.
                    let message = "Lone surrogate in \\uXXXX escape";
                    let error = lone_surrogate.map(|escape| ParseError::new(message, escape));
                    return error.map_or(Ok(text), Err);
                }
                Some(_) => text.push(self.parse_escape(begin, &mut lone_surrogate)?),
                None => return Err(ParseError::new("Unterminated string starting at", begin)),
            }
        }
    }

    /// Returns the offset of the next quote or backslash, or of the end of the text.
    fn find_plain_end(&self) -> Parsed<usize> {
        let rest = &self.text.as_bytes()[self.offset..];
        let plain = rest
            .iter()
            .position(|&b| b == b'"' || b == b'\\' || b < b' ');
        match plain.map(|n| (self.offset + n, rest[n])) {
            Some((offset, b'"' | b'\\')) => Ok(offset),
            Some((offset, _)) => Err(ParseError::new("Invalid control character at", offset)),
            None => Ok(self.text.len()),
        }
    }

    /// Parses the escape after the backslash just consumed. Half of a surrogate pair sets `lone_surrogate` to its offset,
    /// unless an earlier one has.
    fn parse_escape(&mut self, begin: usize, lone_surrogate: &mut Option<usize>) -> Parsed<char> {
        let backslash = self.offset - 1;
        let escaped = self.peek();
        self.offset += 1;
        Ok(match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => match self.parse_unicode_escape(backslash)? {
                Some(character) => character,
                None => {
                    lone_surrogate.get_or_insert(backslash);
                    char::REPLACEMENT_CHARACTER
                }
            },
            Some(_) => return Err(ParseError::new("Invalid \\escape", backslash)),
            None => return Err(ParseError::new("Unterminated string starting at", begin)),
        })
    }

    /// Parses `\uXXXX`, or two of them that form a surrogate pair; `None` for half of a pair.
    fn parse_unicode_escape(&mut self, backslash: usize) -> Parsed<Option<char>> {
        let high = self.parse_hex(backslash)?;
        if (0xD800..0xDC00).contains(&high) && self.text[self.offset..].starts_with("\\u") {
            let backslash = self.offset;
            self.offset += 2;
            let low = self.parse_hex(backslash)?;
            if (0xDC00..0xE000).contains(&low) {
                let code_point = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(code_point));
            }
            self.offset = backslash;
        }
        Ok(char::from_u32(high))
    }

    fn parse_hex(&mut self, backslash: usize) -> Parsed<u32> {
        // Python requires a character after the four digits and reports the digits when it is missing.
        let digits = self
            .text
            .as_bytes()
            .get(self.offset..self.offset + 4)
            .filter(|_| self.offset + 4 < self.text.len());
        let error = || ParseError::new("Invalid \\uXXXX escape", backslash + 1);
        let mut value = 0;
        for digit in digits.ok_or_else(error)? {
            let digit = char::from(*digit).to_digit(16);
            value = value * 16 + digit.ok_or_else(error)?;
        }
        self.offset += 4;
        Ok(value)
    }
}
