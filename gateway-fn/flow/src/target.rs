//! Selects nodes by the `target_executor` of a request.

use super::pyregex::{PyRegex, RegexError};

/// A compiled `target_executor`.
#[derive(Debug)]
pub struct TargetExecutor(Pattern);

/// A `target_executor` that is not a valid pattern. The text equals Python's `str(re.error)`, which Jina returns to the
/// client (recording `grpc/14-bad_target_regex`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(RegexError);

#[derive(Debug)]
enum Pattern {
    /// A pattern without metacharacters, which is the usual case.
    Prefix(String),
    Regex(PyRegex),
}

impl TargetExecutor {
    /// Compiles a pattern. An empty one selects every node.
    ///
    /// # Errors
    /// When it is not a valid Python regular expression, or too large.
    pub fn compile(pattern: &str) -> Result<Self, TargetError> {
        if pattern.contains(is_metacharacter) {
            let regex = PyRegex::anchored(pattern).map_err(TargetError)?;
            return Ok(Self(Pattern::Regex(regex)));
        }
        Ok(Self(Pattern::Prefix(pattern.to_owned())))
    }

    /// Whether the pattern selects the node of this name. It must match at the start of the name, as with Python's
    /// `re.match`, so that `exec` also selects `exec0`. A pattern that takes too long selects nothing.
    #[must_use]
    pub fn selects(&self, name: &str) -> bool {
        match &self.0 {
            Pattern::Prefix(prefix) => name.starts_with(prefix.as_str()),
            Pattern::Regex(regex) => regex.search(name).unwrap_or(false),
        }
    }
}

const fn is_metacharacter(char: char) -> bool {
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
    fn two_anchors_select_a_whole_name() {
        assert!(selects("^exec$", "exec"));
        assert!(!selects("^exec$", "exec0"));
    }

    #[test]
    fn a_plain_name_is_not_compiled_as_a_regular_expression() {
        let name = TargetExecutor::compile("exec-0/rep_1").expect("a valid pattern");
        assert!(matches!(name.0, Pattern::Prefix(_)));
    }

    /// Recording `grpc/14-bad_target_regex`.
    #[test]
    fn an_invalid_pattern_is_reported_as_by_python() {
        let error = TargetExecutor::compile("(").expect_err("an invalid pattern");
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
