//! Translates character classes, `[…]`. In Python they have no nesting, no `&&` and no `[:alpha:]`.

use super::{
    RegexError, Translator,
    escape::{Escape, push_member},
    syntax,
};

impl Translator<'_> {
    /// Translates a class whose `[` is at `position`.
    pub(super) fn class(&mut self, position: usize) -> Result<(), RegexError> {
        let mut out = String::from("[");
        if self.skip('^') {
            out.push('^');
        }
        let first = self.at;
        while self.at == first || !self.skip(']') {
            let start = self.at;
            let low = self.member(position)?;
            if !self.skip('-') {
                push_member(&mut out, &low);
                continue;
            }
            push_member(&mut out, &low);
            if self.skip(']') {
                push_member(&mut out, &Escape::Char('-'));
                break;
            }
            let high = self.member(position)?;
            match (&low, &high) {
                (Escape::Char(low), Escape::Char(high)) if low <= high => {}
                _ => {
                    let range = self.text_from(start);
                    return Err(syntax(format!("bad character range {range}"), start));
                }
            }
            out.push('-');
            push_member(&mut out, &high);
        }
        out.push(']');
        self.atom(&out);
        Ok(())
    }

    fn member(&mut self, class: usize) -> Result<Escape, RegexError> {
        let position = self.at;
        let unterminated = || syntax("unterminated character set", class);
        match self.next().ok_or_else(unterminated)? {
            '\\' => match self.peek() {
                None => Err(syntax("bad escape (end of pattern)", position)),
                Some('b') => {
                    self.at += 1;
                    Ok(Escape::Char('\x08'))
                }
                Some('0'..='7') => self.octal(3, position).map(Escape::Char),
                Some(_) => self.any_escape(position),
            },
            literal => Ok(Escape::Char(literal)),
        }
    }
}
