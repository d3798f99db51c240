//! What is wrong with a Flow, one line each: file, line, key, what was found, what is expected. A [`Report`] collects
//! all errors and warnings of a Flow before any of them is shown.

use std::fmt;

/// One error or warning about a Flow. Displayed as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, or another name of the source (the command line, a Flow built in Rust).
    pub file: String,
    /// The line, counted from 1; unknown where no file was read.
    pub line: Option<usize>,
    /// The path of the key, like `executors[1].port`; empty for the file as a whole.
    pub key: String,
    /// What the key has now. Never the value of an environment variable, which may be a secret.
    pub found: String,
    /// What the key should have; empty in the closing line that counts further errors.
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

/// All errors of a Flow, in the order of the file. Displayed as one line per error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

/// The line and key of a value.
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

    /// The place of a key of the map at this place.
    pub(super) fn key(&self, key: &str, line: Option<usize>) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        let key = format!("{}{dot}{}", self.key, one_line(key));
        Self {
            line: line.or(self.line),
            key,
        }
    }

    /// The place of an item of the list at this place.
    pub(super) fn item(&self, index: usize, line: Option<usize>) -> Self {
        Self {
            line: line.or(self.line),
            key: format!("{}[{index}]", self.key),
        }
    }
}

/// A setting with its place in the Flow, for errors that appear only when the setting is used, as when a file cannot be
/// read. Two of them are equal if their values are.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    value: T,
    file: String,
    place: Place,
}

impl<T> Placed<T> {
    /// Returns the setting.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// Returns an error about this setting, with its line and key.
    pub fn error(&self, found: impl Into<String>, expected: impl Into<String>) -> Diagnostic {
        diagnostic(&self.file, &self.place, found.into(), expected.into())
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed {
            value: change(self.value),
            file: self.file,
            place: self.place,
        }
    }
}

impl<T: PartialEq> PartialEq for Placed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Collects the errors and warnings of one Flow while it is read.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    errors: Collected,
    warnings: Collected,
}

/// The first [`MAX_DIAGNOSTICS`] of them, and how many there are in all.
#[derive(Debug, Default)]
struct Collected {
    first: Vec<Diagnostic>,
    count: usize,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: one_line(file),
            errors: Collected::default(),
            warnings: Collected::default(),
        }
    }

    pub(super) fn error(
        &mut self,
        place: &Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.errors
            .add(|| diagnostic(&self.file, place, found.into(), expected.into()));
    }

    pub(super) fn warn(
        &mut self,
        place: &Place,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.warnings
            .add(|| diagnostic(&self.file, place, found.into(), expected.into()));
    }

    /// Returns a setting with its place, for errors that appear later.
    pub(super) fn placed<T>(&self, place: Place, value: T) -> Placed<T> {
        Placed {
            value,
            file: self.file.clone(),
            place,
        }
    }

    /// The number of errors so far. A check that depends on earlier ones compares it before and after them.
    pub(super) const fn error_count(&self) -> usize {
        self.errors.count
    }

    /// Returns the warnings if there are no errors.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        let Self {
            file,
            errors,
            warnings,
        } = self;
        if errors.count == 0 {
            Ok(warnings.in_order(&file, "warnings"))
        } else {
            Err(ConfigErrors(errors.in_order(&file, "errors")))
        }
    }
}

impl Collected {
    fn add(&mut self, diagnostic: impl FnOnce() -> Diagnostic) {
        self.count += 1;
        if self.first.len() < MAX_DIAGNOSTICS {
            self.first.push(diagnostic());
        }
    }

    /// Sorts by line, and appends how many more there are.
    fn in_order(mut self, file: &str, what: &str) -> Vec<Diagnostic> {
        self.first.sort_by_key(|diagnostic| diagnostic.line);
        let more = self.count - self.first.len();
        if more > 0 {
            let found = format!("and {more} more {what}");
            let closing = diagnostic(file, &Place::default(), found, String::new());
            self.first.push(closing);
        }
        self.first
    }
}

fn diagnostic(file: &str, place: &Place, found: String, expected: String) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: place.line,
        key: place.key.clone(),
        found,
        expected,
    }
}

/// Quotes text from a file, on one line and at most [`MAX_QUOTED_CHARS`] long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_QUOTED_CHARS {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    format!("{start:?}...")
}

/// Returns ` (did you mean ...?)` with the known word that is most like `word`; empty if none is similar.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
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
        .take(4 * MAX_QUOTED_CHARS)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// More lines than this are only counted.
const MAX_DIAGNOSTICS: usize = 200;

/// Characters of a value that are shown.
const MAX_QUOTED_CHARS: usize = 60;
