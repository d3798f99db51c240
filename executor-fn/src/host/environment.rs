//! Reads the process's environment variables: whether this is a Lambda function, and numbers within a range.

use std::{ops::RangeInclusive, str::FromStr};

use super::error::OptionError;

/// Whether this process is a Lambda function.
pub(super) fn is_lambda(env: &dyn Fn(&str) -> Option<String>) -> bool {
    non_empty(env, "AWS_LAMBDA_RUNTIME_API").is_some()
}

/// Returns the value of a variable; `None` where it is missing or empty.
pub(super) fn non_empty(env: &dyn Fn(&str) -> Option<String>, variable: &str) -> Option<String> {
    env(variable).filter(|value| !value.is_empty())
}

/// Returns the value of a variable that Lambda sets.
pub(super) fn required(
    env: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
) -> Result<String, OptionError> {
    env(variable).ok_or(OptionError::MissingVariable { variable })
}

/// Parses the value of a variable. `expected` says in the error what is allowed.
pub(super) fn parse<T: FromStr>(
    variable: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, OptionError> {
    value.parse().map_err(|_| OptionError::Variable {
        variable,
        value,
        expected,
    })
}

/// Returns a whole number within `range`; `default` where the variable is missing or empty. `expected` says in the
/// error what is allowed.
pub(super) fn number(
    env: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
    default: u64,
    range: RangeInclusive<u64>,
    expected: &'static str,
) -> Result<u64, OptionError> {
    let Some(value) = non_empty(env, variable) else {
        return Ok(default);
    };
    let number = parse(variable, value.clone(), expected)?;
    if range.contains(&number) {
        return Ok(number);
    }
    Err(OptionError::Variable {
        variable,
        value,
        expected,
    })
}
