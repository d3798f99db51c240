//! Translates Python's regular expression syntax into the syntax of fancy_regex, with Python's error messages.
//!
//! Named groups become numbered ones, punctuation is written as code points, and `$` and `\Z` get Python's meaning. Python
//! 3.11's atomic groups and possessive repeats are accepted too.

use std::collections::HashMap;

use super::RegexError;

mod class;

mod escape;

mod group;

/// Python's `$`: the end of the text, or before a newline at the end.
const DOLLAR: &str = r"(?=\n?\z)";

/// The largest count of a repeat. The limit on the compiled size is usually reached earlier.
const MAX_REPEAT: u32 = 65_535;

pub(super) fn translate(pattern: &str) -> Result<String, RegexError> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut flags = Flags::default();
    loop {
        match Translator::new(&chars, flags).run() {
            Ok(translated) => return Ok(format!("{}{translated}", flags.prefix())),
            Err(Stop::Error(error)) => return Err(error),
            // `(?x)` applies to the whole pattern wherever it occurs. There are four flags, so the loop ends.
            Err(Stop::Restart(found)) => flags = found,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Flags {
    ignore_case: bool,
    multiline: bool,
    dot_all: bool,
    verbose: bool,
}

/// Why a translation ends early.
enum Stop {
    Error(RegexError),
    /// Global flags were found, with which the translation must start again.
    Restart(Flags),
}

/// The item before the current position, to which a repeat would apply.
#[derive(Clone, Copy)]
enum Item {
    Nothing,
    Assertion,
    /// An atom that starts at this position of the output.
    Atom(usize),
    Repeated,
}

/// A group that is not closed yet.
struct Open {
    /// The position in the pattern.
    position: usize,
    /// The position in the output.
    start: usize,
    outer_flags: Flags,
    /// The number of a capturing group.
    group: Option<usize>,
    /// For a conditional `(?(1)…`, how many `|` may still follow.
    branches_left: Option<u8>,
}

struct Translator<'p> {
    chars: &'p [char],
    at: usize,
    out: String,
    globals: Flags,
    flags: Flags,
    item: Item,
    open: Vec<Open>,
    /// For each group from 1 on, whether it is closed.
    closed: Vec<bool>,
    names: HashMap<String, usize>,
}

impl<'p> Translator<'p> {
    fn new(chars: &'p [char], flags: Flags) -> Self {
        Self {
            chars,
            at: 0,
            out: String::with_capacity(chars.len() * 2),
            globals: flags,
            flags,
            item: Item::Nothing,
            open: Vec::new(),
            closed: Vec::new(),
            names: HashMap::new(),
        }
    }

    fn run(mut self) -> Result<String, Stop> {
        while let Some(char) = self.next() {
            let position = self.at - 1;
            match char {
                '\\' => self.escape(position)?,
                '[' => self.class(position)?,
                '(' => self.open_group(position)?,
                ')' => self.close_group(position)?,
                '|' => self.branch(position)?,
                '*' | '+' | '?' => self.repeat(&char.to_string(), position)?,
                '{' => self.brace(position)?,
                '^' => self.assertion("^"),
                '$' if self.flags.multiline => self.assertion("$"),
                '$' => self.assertion(DOLLAR),
                '.' => self.atom("."),
                space if self.flags.verbose && space.is_whitespace() => {}
                '#' if self.flags.verbose => while self.next().is_some_and(|char| char != '\n') {},
                literal => self.literal(literal),
            }
        }
        match self.open.last() {
            Some(open) => Err(syntax("missing ), unterminated subpattern", open.position).into()),
            None => Ok(self.out),
        }
    }

    fn next(&mut self) -> Option<char> {
        let char = self.peek()?;
        self.at += 1;
        Some(char)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn skip(&mut self, expected: char) -> bool {
        let is_next = self.peek() == Some(expected);
        self.at += usize::from(is_next);
        is_next
    }

    /// Returns the pattern from `from` up to the current position.
    fn text_from(&self, from: usize) -> String {
        self.chars[from..self.at].iter().collect()
    }

    fn atom(&mut self, text: &str) {
        self.item = Item::Atom(self.out.len());
        self.out.push_str(text);
    }

    fn literal(&mut self, char: char) {
        self.item = Item::Atom(self.out.len());
        push_literal(&mut self.out, char);
    }

    fn assertion(&mut self, text: &str) {
        self.item = Item::Assertion;
        self.out.push_str(text);
    }

    fn branch(&mut self, position: usize) -> Result<(), RegexError> {
        if let Some(left) = self
            .open
            .last_mut()
            .and_then(|open| open.branches_left.as_mut())
        {
            let message = "conditional backref with more than two branches";
            *left = left
                .checked_sub(1)
                .ok_or_else(|| syntax(message, position))?;
        }
        self.item = Item::Nothing;
        self.out.push('|');
        Ok(())
    }

    /// Translates `{2}`, `{2,}`, `{,2}` and `{2,3}`. Any other `{` is a literal brace.
    fn brace(&mut self, position: usize) -> Result<(), RegexError> {
        let after = self.at;
        let low = self.digits();
        let comma = self.skip(',');
        let high = if comma { self.digits() } else { low.clone() };
        if !self.skip('}') || (low.is_empty() && !comma) {
            self.at = after;
            self.literal('{');
            return Ok(());
        }
        let low = parse_count(&low)?.unwrap_or(0);
        let quantifier = match parse_count(&high)? {
            Some(high) if high < low => {
                return Err(syntax("min repeat greater than max repeat", after));
            }
            Some(high) => format!("{{{low},{high}}}"),
            None => format!("{{{low},}}"),
        };
        self.repeat(&quantifier, position)
    }

    fn digits(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|char| char.is_ascii_digit()) {
            self.at += 1;
        }
        self.text_from(start)
    }

    fn repeat(&mut self, quantifier: &str, position: usize) -> Result<(), RegexError> {
        let start = match self.item {
            Item::Nothing | Item::Assertion => return Err(syntax("nothing to repeat", position)),
            Item::Repeated => return Err(syntax("multiple repeat", position)),
            Item::Atom(start) => start,
        };
        self.out.push_str(quantifier);
        if self.skip('?') {
            self.out.push('?');
        } else if self.skip('+') {
            self.out.insert_str(start, "(?>");
            self.out.push(')');
        }
        self.item = Item::Repeated;
        Ok(())
    }
}

impl Flags {
    fn prefix(self) -> String {
        let letters: String = [
            (self.ignore_case, 'i'),
            (self.multiline, 'm'),
            (self.dot_all, 's'),
        ]
        .iter()
        .filter_map(|(on, letter)| on.then_some(*letter))
        .collect();
        if letters.is_empty() {
            letters
        } else {
            format!("(?{letters})")
        }
    }
}

impl From<RegexError> for Stop {
    fn from(error: RegexError) -> Self {
        Self::Error(error)
    }
}

fn syntax(message: impl Into<String>, position: usize) -> RegexError {
    RegexError::Syntax {
        message: message.into(),
        position,
    }
}

fn parse_count(digits: &str) -> Result<Option<u32>, RegexError> {
    if digits.is_empty() {
        return Ok(None);
    }
    let count = digits.parse().ok().filter(|count| *count <= MAX_REPEAT);
    count.map(Some).ok_or(RegexError::Unsupported)
}

/// Writes a literal. Punctuation is written as a code point, because more of it has a meaning in fancy_regex than in
/// Python.
fn push_literal(out: &mut String, char: char) {
    if char.is_ascii_punctuation() && char != '_' {
        out.push_str(&format!("\\x{{{:x}}}", u32::from(char)));
    } else {
        out.push(char);
    }
}
