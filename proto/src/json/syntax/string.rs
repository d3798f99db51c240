//! A JSON string with its escapes, as Python's scanner takes them.

use super::{Mistake, Read, Reader};

impl Reader<'_> {
    /// The string whose opening quote is next.
    pub(super) fn string(&mut self) -> Read<String> {
        let begin = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let end = self.plain_end()?;
            text.push_str(&self.text[self.at..end]);
            self.at = end + 1;
            match self.text.as_bytes().get(end) {
                Some(b'"') => return Ok(text),
                Some(_) => text.push(self.escape(begin)?),
                None => return Err(Mistake::new("Unterminated string starting at", begin)),
            }
        }
    }

    /// Where the next quote, backslash or the end of the text is.
    fn plain_end(&self) -> Read<usize> {
        let rest = &self.text.as_bytes()[self.at..];
        let plain = rest
            .iter()
            .position(|&b| b == b'"' || b == b'\\' || b < b' ');
        match plain.map(|n| (self.at + n, rest[n])) {
            Some((at, b'"' | b'\\')) => Ok(at),
            Some((at, _)) => Err(Mistake::new("Invalid control character at", at)),
            None => Ok(self.text.len()),
        }
    }

    /// The escape behind the backslash just taken.
    fn escape(&mut self, begin: usize) -> Read<char> {
        let backslash = self.at - 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(backslash),
            Some(_) => return Err(Mistake::new("Invalid \\escape", backslash)),
            None => return Err(Mistake::new("Unterminated string starting at", begin)),
        })
    }

    /// The character of `\uXXXX`, or of two of them that make a surrogate pair.
    fn unicode(&mut self, backslash: usize) -> Read<char> {
        let high = self.hex(backslash)?;
        if (0xD800..0xDC00).contains(&high) && self.text[self.at..].starts_with("\\u") {
            let backslash = self.at;
            self.at += 2;
            let low = self.hex(backslash)?;
            if (0xDC00..0xE000).contains(&low) {
                let joined = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = backslash;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self, backslash: usize) -> Read<u32> {
        // Python wants a character behind the four digits; without one it points at them.
        let digits = self
            .text
            .as_bytes()
            .get(self.at..self.at + 4)
            .filter(|_| self.at + 4 < self.text.len());
        let mistake = || Mistake::new("Invalid \\uXXXX escape", backslash + 1);
        let mut value = 0;
        for digit in digits.ok_or_else(mistake)? {
            let digit = char::from(*digit).to_digit(16);
            value = value * 16 + digit.ok_or_else(mistake)?;
        }
        self.at += 4;
        Ok(value)
    }
}
