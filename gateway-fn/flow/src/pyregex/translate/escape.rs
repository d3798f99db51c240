//! Translates backslash escapes, outside and inside of `[…]`.

use super::{RegexError, Translator, push_literal, syntax};

/// The meaning of an escape that is the same in both contexts.
pub(super) enum Escape {
    Char(char),
    /// `\d`, `\s`, `\w` and their negations, which mean the same in fancy_regex.
    Category(char),
}

impl Translator<'_> {
    /// Translates an escape outside of a class, whose backslash is at `position`.
    pub(super) fn escape(&mut self, position: usize) -> Result<(), RegexError> {
        match self.peek() {
            Some(anchor @ ('A' | 'b' | 'B')) => {
                self.at += 1;
                self.assertion(&format!("\\{anchor}"));
            }
            Some('Z') => {
                self.at += 1;
                self.assertion(r"\z");
            }
            Some('1'..='9') => self.reference(position)?,
            _ => match self.any_escape(position)? {
                Escape::Char(char) => self.literal(char),
                Escape::Category(letter) => self.atom(&format!("\\{letter}")),
            },
        }
        Ok(())
    }

    /// Parses an escape that means the same inside and outside of a class.
    pub(super) fn any_escape(&mut self, position: usize) -> Result<Escape, RegexError> {
        let end = || syntax("bad escape (end of pattern)", position);
        let char = self.next().ok_or_else(end)?;
        Ok(Escape::Char(match char {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => return Ok(Escape::Category(char)),
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.hex(2, position)?,
            'u' => self.hex(4, position)?,
            'U' => self.hex(8, position)?,
            '0' => self.octal(2, position)?,
            letter if letter.is_ascii_alphanumeric() => {
                return Err(syntax(format!("bad escape \\{letter}"), position));
            }
            literal => literal,
        }))
    }

    /// Translates an octal number of three digits, or a reference to a group such as `\12`.
    fn reference(&mut self, position: usize) -> Result<(), RegexError> {
        let start = self.at;
        let is_octal = |at: usize| matches!(self.chars.get(at), Some('0'..='7'));
        if (start..start + 3).all(is_octal) {
            let char = self.octal(3, position)?;
            self.literal(char);
            return Ok(());
        }
        let is_digit = |at: usize| self.chars.get(at).is_some_and(char::is_ascii_digit);
        self.at += 1 + usize::from(is_digit(start + 1));
        let number = self.text_from(start);
        let group = number.parse().unwrap_or(usize::MAX);
        self.refer(group, &number, start, position)
    }

    /// Writes a reference to a group, which is written as `text` at `at` in the pattern.
    pub(super) fn refer(
        &mut self,
        group: usize,
        text: &str,
        at: usize,
        position: usize,
    ) -> Result<(), RegexError> {
        match group
            .checked_sub(1)
            .and_then(|index| self.closed.get(index))
        {
            None => Err(syntax(format!("invalid group reference {text}"), at)),
            Some(false) => Err(syntax("cannot refer to an open group", position)),
            Some(true) => {
                self.atom(&format!("(?:\\{group})"));
                Ok(())
            }
        }
    }

    fn hex(&mut self, digits: usize, position: usize) -> Result<char, RegexError> {
        let start = self.at;
        while self.at < start + digits && self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
            self.at += 1;
        }
        let number = self.text_from(start);
        if number.len() < digits {
            let escape = self.text_from(position);
            return Err(syntax(format!("incomplete escape {escape}"), position));
        }
        let invalid = || syntax(format!("bad escape {}", self.text_from(position)), position);
        let code = u32::from_str_radix(&number, 16).map_err(|_| invalid())?;
        char::from_u32(code).ok_or_else(invalid)
    }

    /// Parses up to `digits` octal digits. No digit means zero.
    pub(super) fn octal(&mut self, digits: usize, position: usize) -> Result<char, RegexError> {
        let start = self.at;
        while self.at < start + digits && matches!(self.peek(), Some('0'..='7')) {
            self.at += 1;
        }
        let number = self.text_from(start);
        match u8::from_str_radix(&number, 8) {
            Ok(code) => Ok(code.into()),
            Err(_) if number.is_empty() => Ok('\0'),
            Err(_) => {
                let escape = self.text_from(position);
                let message = format!("octal escape value {escape} outside of range 0-0o377");
                Err(syntax(message, position))
            }
        }
    }
}

/// Writes a member of a class.
pub(super) fn push_member(out: &mut String, member: &Escape) {
    match member {
        Escape::Char(char) => push_literal(out, *char),
        Escape::Category(letter) => {
            out.push('\\');
            out.push(*letter);
        }
    }
}
