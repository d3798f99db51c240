//! An error with what caused it -> one line for a person.

use std::error::Error;

/// An error, and what is behind it.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// `error: cause: cause`, where a text that already ends with its cause is left as it is.
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
    fn every_cause_is_said_once() {
        let caused = |text, source: Option<Caused>| Caused {
            text,
            source: source.map(Box::new),
        };
        let end = caused("no such file", None);
        let middle = caused("the roots cannot be read", Some(end));
        let error = caused("executor a: the roots cannot be read", Some(middle));
        assert_eq!(
            with_causes(&error),
            "executor a: the roots cannot be read: no such file"
        );
    }
}
