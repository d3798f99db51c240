//! Formats an error together with its chain of causes on one line, for logs and error messages.

use std::error::Error;

/// Iterates over the error and its causes, outermost first.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Formats an error as `error: cause: cause`. A cause with which the text already ends is not repeated.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Caused {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn each_cause_is_printed_once() {
        let caused = |text, source: Option<Caused>| Caused {
            text,
            source: source.map(Box::new),
        };
        let root = caused("no such file", None);
        let middle = caused("cannot read the root certificates", Some(root));
        let error = caused(
            "executor `a`: cannot read the root certificates",
            Some(middle),
        );
        assert_eq!(
            with_causes(&error),
            "executor `a`: cannot read the root certificates: no such file"
        );
    }
}
