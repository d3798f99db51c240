//! `target_executor` of a request -> which nodes it asks for.

use super::pyregex::{PyRegex, RegexError};

/// A compiled `target_executor`.
#[derive(Debug)]
pub struct TargetExecutor(Pattern);

/// A `target_executor` that is no regular expression. Reads as `str(re.error)` does in Python, which is
/// what Jina tells the client (recording `grpc/14-bad_target_regex`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(RegexError);

#[derive(Debug)]
enum Pattern {
    /// The usual case, a name: without any metacharacter.
    Prefix(String),
    Regex(PyRegex),
}

impl TargetExecutor {
    /// Compiles the pattern; an empty one selects every node.
    ///
    /// # Errors
    /// When it is no regular expression of Python, or one that is too large.
    pub fn compile(pattern: &str) -> Result<Self, TargetError> {
        if pattern.contains(is_meta) {
            let regex = PyRegex::anchored(pattern).map_err(TargetError)?;
            return Ok(Self(Pattern::Regex(regex)));
        }
        Ok(Self(Pattern::Prefix(pattern.to_owned())))
    }

    /// Whether the node of this name is asked for: the pattern matches from the start of the name on, as
    /// `re.match` has it, so `exec` selects `exec0` as well. A pattern that takes too long selects nothing.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        match &self.0 {
            Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Pattern::Regex(regex) => regex.search(name).unwrap_or(false),
        }
    }
}

const fn is_meta(char: char) -> bool {
    matches!(
        char,
        '.' | '^' | '$' | '*' | '+' | '?' | '{' | '}' | '[' | ']' | '\\' | '|' | '(' | ')'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(pattern: &str, name: &str) -> bool {
        TargetExecutor::compile(pattern)
            .expect("a valid pattern")
            .selects(name)
    }

    #[test]
    fn a_pattern_is_anchored_at_the_start_only() {
        assert!(selects("", "exec0"));
        assert!(selects("exec", "exec0"));
        assert!(selects("exec[01]", "exec0"));
        assert!(!selects("xec", "exec0"));
        assert!(!selects("xec.", "exec0"));
        assert!(selects("a|exec0", "exec0") && selects("a|exec0", "abc"));
    }

    #[test]
    fn a_whole_name_is_asked_for_with_both_anchors() {
        assert!(selects("^exec$", "exec"));
        assert!(!selects("^exec$", "exec0"));
    }

    #[test]
    fn a_name_needs_no_regular_expression() {
        let name = TargetExecutor::compile("exec-0/rep_1").expect("a valid pattern");
        assert!(matches!(name.0, Pattern::Prefix(_)));
    }

    /// Recording `grpc/14-bad_target_regex`.
    #[test]
    fn a_bad_pattern_is_told_in_pythons_words() {
        let error = TargetExecutor::compile("(").expect_err("no pattern");
        assert_eq!(
            error.to_string(),
            "missing ), unterminated subpattern at position 0"
        );
    }

    #[test]
    fn a_pattern_that_takes_too_long_selects_nothing() {
        assert!(!selects(r"(a*)*\1b", &"a".repeat(60)));
    }
}
