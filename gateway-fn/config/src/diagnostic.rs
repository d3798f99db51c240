//! What is wrong with a Flow, as lines that a person can act on: file, line, key, what was found, what is expected.
//! All faults of a Flow are collected before any of them is reported.

use std::fmt;

/// One thing that is wrong, or, as a warning, one that has no effect. Displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, or what stands in for it (the command line, a Flow built in Rust).
    pub file: String,
    /// The line, counted from 1; unknown where no file was read.
    pub line: Option<usize>,
    /// The path of the key, like `executors[1].port`; empty when the file as a whole is meant.
    pub key: String,
    /// What stands there. Never the value of an environment variable: that may be a secret.
    pub found: String,
    /// What should stand there; empty in the line that says how many more faults there are.
    pub expected: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        if self.expected.is_empty() {
            return write!(f, ": {}", self.found);
        }
        write!(f, ": found {}, expected {}", self.found, self.expected)
    }
}

/// Everything that is wrong with a Flow, in the order of the file. Displayed as one line a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{fault}")?;
        }
        Ok(())
    }
}

/// Where something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: Option<usize>,
    pub(super) key: String,
}

impl Place {
    pub(super) fn new(key: &str, line: Option<usize>) -> Self {
        Self {
            line,
            key: key.to_owned(),
        }
    }

    /// The place of a key of the map that stands here.
    pub(super) fn key(&self, key: &str, line: Option<usize>) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        let key = format!("{}{dot}{}", self.key, one_line(key));
        Self {
            line: line.or(self.line),
            key,
        }
    }

    /// The place of an item of the list that stands here.
    pub(super) fn item(&self, index: usize, line: Option<usize>) -> Self {
        Self {
            line: line.or(self.line),
            key: format!("{}[{index}]", self.key),
        }
    }
}

/// The faults and warnings of one Flow, while it is read.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    faults: Kept,
    warnings: Kept,
}

/// The first of them; the others are only counted.
#[derive(Debug, Default)]
struct Kept {
    first: Vec<Diagnostic>,
    count: usize,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: one_line(file),
            faults: Kept::default(),
            warnings: Kept::default(),
        }
    }

    pub(super) fn error(
        &mut self,
        place: &Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.faults
            .add(|| entry(&self.file, place, found.into(), expected.into()));
    }

    pub(super) fn warn(
        &mut self,
        place: &Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.warnings
            .add(|| entry(&self.file, place, found.into(), expected.into()));
    }

    /// How many faults there are so far: a check that rests on others asks whether those went well.
    pub(super) const fn count(&self) -> usize {
        self.faults.count
    }

    /// The warnings, if nothing is wrong.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        let Self {
            file,
            faults,
            warnings,
        } = self;
        if faults.count == 0 {
            Ok(warnings.in_order(&file, "warnings"))
        } else {
            Err(ConfigErrors(faults.in_order(&file, "faults")))
        }
    }
}

impl Kept {
    fn add(&mut self, fault: impl FnOnce() -> Diagnostic) {
        self.count += 1;
        if self.first.len() < MAX_DIAGNOSTICS {
            self.first.push(fault());
        }
    }

    /// In the order of the file, and at the end how many more there are.
    fn in_order(mut self, file: &str, what: &str) -> Vec<Diagnostic> {
        self.first.sort_by_key(|fault| fault.line);
        let more = self.count - self.first.len();
        if more > 0 {
            let found = format!("and {more} more {what}");
            let closing = entry(file, &Place::default(), found, String::new());
            self.first.push(closing);
        }
        self.first
    }
}

fn entry(file: &str, place: &Place, found: String, expected: String) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: place.line,
        key: place.key.clone(),
        found,
        expected,
    }
}

/// Text from a file in quotes, on one line and not too long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{start:?}...")
}

/// The nearest of the known words, with a ready-made remark; empty when none is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map_or_else(String::new, |(_, candidate)| {
            format!(" (did you mean `{candidate}`?)")
        })
}

fn one_line(text: &str) -> String {
    text.chars()
        .take(4 * MAX_SHOWN_CHARS)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// More of them help nobody.
const MAX_DIAGNOSTICS: usize = 200;

/// Characters of a value that are shown.
const MAX_SHOWN_CHARS: usize = 60;
