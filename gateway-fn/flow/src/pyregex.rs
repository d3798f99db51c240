//! Regular expressions with the syntax, meaning and error messages of Python 3.10. Their size and time are limited,
//! because clients may send them.

use fancy_regex::{Regex, RegexBuilder};

mod translate;

#[cfg(test)]
mod tests;

/// The longest text that a client's pattern may search: a lookaround may scan all of it at each step.
const MAX_CLIENT_TEXT_BYTES: usize = 8192;

/// The limits of one pattern.
struct Limits {
    pattern_bytes: usize,
    /// For each part of the compiled pattern.
    compiled_bytes: usize,
    /// Backtracking steps of a search; each character of the text may need one.
    steps: usize,
}

/// The limits of patterns in the Flow file: the defaults of the regex crate.
const FLOW_LIMITS: Limits = Limits {
    pattern_bytes: 4096,
    compiled_bytes: 10 << 20,
    steps: 1_000_000,
};

/// The limits of a client's pattern: a search takes some milliseconds.
const CLIENT_LIMITS: Limits = Limits {
    pattern_bytes: 512,
    compiled_bytes: 1 << 20,
    steps: 50_000,
};

/// The limits of the first attempt with a client's pattern: enough for patterns that hardly backtrack.
const QUICK_LIMITS: Limits = Limits {
    steps: 100,
    ..CLIENT_LIMITS
};

/// The steps that all patterns of one request may take together: about a second in the worst case.
const MAX_REQUEST_STEPS: u64 = 20_000_000;

/// The steps that compiling a pattern takes from the budget: compiling the largest takes about as long.
const COMPILE_STEPS: u64 = 40_000;

/// Turns `re.search` into `re.match`.
const ANCHOR: &str = r"\A";

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct PyRegex {
    regex: Regex,
    /// The backtracking steps after which a search fails.
    max_steps: usize,
}

/// Why a pattern cannot be used. The text of `Syntax` equals Python's `str(re.error)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RegexError {
    #[error("{message} at position {position}")]
    Syntax { message: String, position: usize },
    #[error("the pattern has {bytes} bytes, more than the {max_bytes} allowed")]
    PatternTooLong { bytes: usize, max_bytes: usize },
    #[error(
        "the text to search has {bytes} bytes, more than the {max_bytes} allowed for a pattern that comes with the request"
    )]
    TextTooLong { bytes: usize, max_bytes: usize },
    #[error(
        "the pattern takes too much memory when compiled, or uses a feature that is not supported (such as the flag `a`, or a count above 65535)"
    )]
    Unsupported,
    #[error("the pattern takes more than {max_steps} steps to search the text")]
    TooManySteps { max_steps: usize },
    #[error(
        "the patterns of the request take more than {} million steps together",
        MAX_REQUEST_STEPS / 1_000_000
    )]
    BudgetSpent,
}

/// The patterns of one request, which share a budget of steps. The last one stays compiled, because usually all documents
/// have the same.
#[derive(Debug)]
pub(super) struct ClientPatterns {
    remaining_steps: u64,
    last: Option<ClientPattern>,
}

#[derive(Debug)]
struct ClientPattern {
    text: String,
    /// Has a low limit, so that a search costs little of the budget.
    quick: PyRegex,
    /// Compiled once `quick` has reached its limit.
    full: Option<PyRegex>,
}

impl PyRegex {
    /// Compiles a pattern of the Flow file.
    pub(super) fn new(pattern: &str) -> Result<Self, RegexError> {
        Self::compile("", pattern, &FLOW_LIMITS)
    }

    /// Compiles a client's pattern that must match at the start of the text, as with `re.match`.
    pub(super) fn anchored(pattern: &str) -> Result<Self, RegexError> {
        Self::compile(ANCHOR, pattern, &CLIENT_LIMITS)
    }

    /// Whether the pattern occurs in the text, as with `re.search`.
    pub(super) fn search(&self, text: &str) -> Result<bool, RegexError> {
        let max_steps = self.max_steps;
        self.regex
            .is_match(text)
            .map_err(|_| RegexError::TooManySteps { max_steps })
    }

    fn compile(anchor: &str, pattern: &str, limits: &Limits) -> Result<Self, RegexError> {
        if pattern.len() > limits.pattern_bytes {
            return Err(RegexError::PatternTooLong {
                bytes: pattern.len(),
                max_bytes: limits.pattern_bytes,
            });
        }
        let pattern = format!("{anchor}(?:{})", translate::translate(pattern)?);
        let regex = RegexBuilder::new(&pattern)
            .backtrack_limit(limits.steps)
            .delegate_size_limit(limits.compiled_bytes)
            .delegate_dfa_size_limit(limits.compiled_bytes)
            .max_prog_size(limits.compiled_bytes / 64)
            .build();
        Ok(Self {
            regex: regex.map_err(|_| RegexError::Unsupported)?,
            max_steps: limits.steps,
        })
    }
}

impl Default for ClientPatterns {
    fn default() -> Self {
        Self {
            remaining_steps: MAX_REQUEST_STEPS,
            last: None,
        }
    }
}

impl ClientPatterns {
    /// Does the same as [`PyRegex::search`] with a client's pattern.
    pub(super) fn search(&mut self, pattern: &str, text: &str) -> Result<bool, RegexError> {
        if text.len() > MAX_CLIENT_TEXT_BYTES {
            return Err(RegexError::TextTooLong {
                bytes: text.len(),
                max_bytes: MAX_CLIENT_TEXT_BYTES,
            });
        }
        let mut compiled = match self.last.take().filter(|last| last.text == pattern) {
            Some(last) => last,
            None => self.compile(pattern)?,
        };
        let result = self.search_with(&mut compiled, text);
        self.last = Some(compiled);
        result
    }

    fn compile(&mut self, pattern: &str) -> Result<ClientPattern, RegexError> {
        self.spend(COMPILE_STEPS)?;
        Ok(ClientPattern {
            text: pattern.to_owned(),
            quick: PyRegex::compile("", pattern, &QUICK_LIMITS)?,
            full: None,
        })
    }

    fn search_with(&mut self, pattern: &mut ClientPattern, text: &str) -> Result<bool, RegexError> {
        self.spend(max_steps(&QUICK_LIMITS, text))?;
        if let Ok(found) = pattern.quick.search(text) {
            return Ok(found);
        }
        let full = match &mut pattern.full {
            Some(full) => full,
            missing => {
                self.spend(COMPILE_STEPS)?;
                missing.insert(PyRegex::compile("", &pattern.text, &CLIENT_LIMITS)?)
            }
        };
        self.spend(max_steps(&CLIENT_LIMITS, text))?;
        full.search(text)
    }

    /// Takes steps from the budget. Fails only if the budget is empty: the last operation may exceed it, so that a single
    /// search is never rejected.
    fn spend(&mut self, steps: u64) -> Result<(), RegexError> {
        if self.remaining_steps == 0 {
            return Err(RegexError::BudgetSpent);
        }
        self.remaining_steps = self.remaining_steps.saturating_sub(steps);
        Ok(())
    }
}

/// Returns the most steps that a search may take; the regex crate does not report how many it took. A lookaround may scan
/// the text at each step.
const fn max_steps(limits: &Limits, text: &str) -> u64 {
    (limits.steps * (1 + text.len() / 64)) as u64
}
