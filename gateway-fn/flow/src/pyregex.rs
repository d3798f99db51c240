//! A regular expression in Python's syntax -> one that can be asked here, with Python 3.10's meaning and
//! its words for what is wrong. Size and time are bounded, since a client may have written it.

use fancy_regex::{Regex, RegexBuilder};

mod translate;

#[cfg(test)]
mod tests;

/// Bytes of text that a client's pattern may be held against: a lookaround goes over all of it at each step.
const MAX_CLIENT_TEXT: usize = 8192;

/// How much one pattern may take.
struct Limits {
    /// Bytes of the pattern.
    pattern: usize,
    /// Bytes of each part of the compiled pattern.
    compiled: usize,
    /// Steps back while it searches; every character of the text may be one.
    steps: usize,
}

/// For the author of the Flow: what the regex crate allows by itself.
const AUTHOR: Limits = Limits {
    pattern: 4096,
    compiled: 10 << 20,
    steps: 1_000_000,
};

/// For a client: some milliseconds.
const CLIENT: Limits = Limits {
    pattern: 512,
    compiled: 1 << 20,
    steps: 50_000,
};

/// For a client's pattern at first: enough where nothing is tried again and again.
const QUICK: Limits = Limits {
    steps: 100,
    ..CLIENT
};

/// Steps of all searches by the patterns of one request: a second or so when everything is as bad as can be.
const BUDGET: u64 = 20_000_000;

/// A compiled pattern of the largest size takes as long as so many steps.
const COMPILING: u64 = 40_000;

/// What makes `re.search` a `re.match`.
const ANCHOR: &str = r"\A";

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct PyRegex(Regex);

/// Why there is no answer. The first reads as `str(re.error)` does in Python.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexError {
    #[error("{message} at position {position}")]
    Syntax { message: String, position: usize },
    #[error("the pattern is too long")]
    PatternTooLong,
    #[error("the text is too long for a pattern that comes with the request")]
    TextTooLong,
    #[error("the pattern is too large or uses what is not supported here")]
    Unsupported,
    #[error("the pattern takes too many steps")]
    TooManySteps,
    #[error("the patterns of the request take too many steps together")]
    BudgetSpent,
}

/// The patterns that come with one request, and what they may take together. The latest is kept compiled: as a rule all
/// documents have the same.
#[derive(Debug)]
pub(super) struct ClientPatterns {
    left: u64,
    latest: Option<ClientPattern>,
}

#[derive(Debug)]
struct ClientPattern {
    text: String,
    /// Gives up soon, so that it costs little.
    quick: PyRegex,
    /// Compiled when the quick one has given up.
    patient: Option<PyRegex>,
}

impl PyRegex {
    /// A pattern that the author of the Flow wrote.
    pub(super) fn new(pattern: &str) -> Result<Self, RegexError> {
        Self::compile("", pattern, &AUTHOR)
    }

    /// A client's pattern that has to match from the start of a text on, as `re.match` has it.
    pub(super) fn anchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(ANCHOR, pattern, &CLIENT)
    }

    /// Whether the pattern is found in the text, as by `re.search`.
    pub(super) fn search(&self, text: &str) -> Result<bool, RegexError> {
        self.0.is_match(text).map_err(|_| RegexError::TooManySteps)
    }

    fn compile(anchor: &str, pattern: &str, limits: &Limits) -> Result<Self, RegexError> {
        if pattern.len() > limits.pattern {
            return Err(RegexError::PatternTooLong);
        }
        let pattern = format!("{anchor}(?:{})", translate::translate(pattern)?);
        let built = RegexBuilder::new(&pattern)
            .backtrack_limit(limits.steps)
            .delegate_size_limit(limits.compiled)
            .delegate_dfa_size_limit(limits.compiled)
            .max_prog_size(limits.compiled / 64)
            .build();
        built.map(Self).map_err(|_| RegexError::Unsupported)
    }
}

impl Default for ClientPatterns {
    fn default() -> Self {
        Self {
            left: BUDGET,
            latest: None,
        }
    }
}

impl ClientPatterns {
    /// As [`PyRegex::search`], with a client's pattern.
    pub(super) fn search(&mut self, pattern: &str, text: &str) -> Result<bool, RegexError> {
        if text.len() > MAX_CLIENT_TEXT {
            return Err(RegexError::TextTooLong);
        }
        let mut latest = match self.latest.take().filter(|latest| latest.text == pattern) {
            Some(latest) => latest,
            None => self.compile(pattern)?,
        };
        let found = self.search_by(&mut latest, text);
        self.latest = Some(latest);
        found
    }

    fn compile(&mut self, pattern: &str) -> Result<ClientPattern, RegexError> {
        self.spend(COMPILING)?;
        Ok(ClientPattern {
            text: pattern.to_owned(),
            quick: PyRegex::compile("", pattern, &QUICK)?,
            patient: None,
        })
    }

    fn search_by(&mut self, pattern: &mut ClientPattern, text: &str) -> Result<bool, RegexError> {
        self.spend(cost(&QUICK, text))?;
        if let Ok(found) = pattern.quick.search(text) {
            return Ok(found);
        }
        let patient = match &mut pattern.patient {
            Some(patient) => patient,
            absent => {
                self.spend(COMPILING)?;
                absent.insert(PyRegex::compile("", &pattern.text, &CLIENT)?)
            }
        };
        self.spend(cost(&CLIENT, text))?;
        patient.search(text)
    }

    /// The last that is paid for may cost more than is left, so that a single search is never refused.
    fn spend(&mut self, steps: u64) -> Result<(), RegexError> {
        if self.left == 0 {
            return Err(RegexError::BudgetSpent);
        }
        self.left = self.left.saturating_sub(steps);
        Ok(())
    }
}

/// The steps that a search may take at most: how many it took is not told. A lookaround goes over the text at each.
const fn cost(limits: &Limits, text: &str) -> u64 {
    (limits.steps * (1 + text.len() / 64)) as u64
}
