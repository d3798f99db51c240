//! Lambda's environment and our variables in it -> how a function serves.

use std::{str::FromStr, time::Duration};

use crate::{host::program::OptionError, inbound::invoke::Limits};

/// An eighth of the memory: a request of n bytes is in memory as its payload, as its message and as documents
/// of two to three times the size, and the answer once more as message and payload.
const MEMORY_PERCENT: u64 = 12;

/// Enough to write an error and hand it over also on the slowest function.
const MARGIN_MILLISECONDS: u64 = 200;

/// Of one process; each is a task and a connection of the runtime. Lambda's own bound is far below it.
const MOST_AT_ONCE: u64 = 10_000;

/// How a function serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) struct Settings {
    /// What bounds each invocation.
    pub(in crate::host) limits: Limits,
    /// Invocations at once: more than one on Managed Instances.
    pub(in crate::host) at_once: u32,
}

impl Settings {
    /// From Lambda's own variables, and
    /// - `FLOWGATE_MEMORY_PERCENT`: how much of the function's memory the decompressed requests of one
    ///   invocation may be, or of all at once on Managed Instances; 12;
    /// - `FLOWGATE_DEADLINE_MARGIN`: milliseconds before Lambda's end of an invocation at which it is answered
    ///   with an error; 200.
    pub(in crate::host) fn from_env(
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        // The runtime panics without them.
        for variable in ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"] {
            required(env, variable)?;
        }
        let variable = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
        let memory = required(env, variable)?;
        let memory: i32 = parse(variable, memory, "expected the megabytes of the function")?;
        let percent = "expected a percentage from 1 to 100";
        let share = number(
            env,
            "FLOWGATE_MEMORY_PERCENT",
            MEMORY_PERCENT,
            1..=100,
            percent,
        )?;
        let margin = "expected milliseconds from 0 to 60000";
        let margin = number(
            env,
            "FLOWGATE_DEADLINE_MARGIN",
            MARGIN_MILLISECONDS,
            0..=60_000,
            margin,
        )?;
        let at_once = number(
            env,
            "AWS_LAMBDA_MAX_CONCURRENCY",
            1,
            0..=MOST_AT_ONCE,
            "expected a number of invocations",
        )?;
        // The runtime takes 0 for 1 too.
        let at_once = u32::try_from(at_once).unwrap_or(1).max(1);
        let bytes =
            (u64::try_from(memory).unwrap_or_default() << 20) * share / 100 / u64::from(at_once);
        Ok(Self {
            limits: Limits {
                body_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
                margin: Duration::from_millis(margin),
            },
            at_once,
        })
    }
}

fn required(
    env: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
) -> Result<String, OptionError> {
    env(variable).ok_or(OptionError::Variable {
        variable,
        value: String::new(),
        expected: "Lambda sets it",
    })
}

fn parse<T: FromStr>(
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

/// A whole number of the environment; `default` where it is unset or empty.
pub(in crate::host) fn number(
    env: &dyn Fn(&str) -> Option<String>,
    variable: &'static str,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<u64, OptionError> {
    let Some(value) = env(variable).filter(|value| !value.is_empty()) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(own: &[(&str, &str)]) -> Result<Settings, OptionError> {
        let lambdas = [
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1000"),
        ];
        Settings::from_env(&|key| {
            let all = own.iter().chain(&lambdas);
            let found = all.clone().find(|(name, _)| *name == key)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn an_eighth_of_the_memory_is_for_requests() {
        let read = settings(&[]).expect("settings");
        assert_eq!(read.limits.body_bytes, 120 << 20);
        assert_eq!(read.limits.margin, Duration::from_millis(200));
        assert_eq!(read.at_once, 1);
    }

    #[test]
    fn requests_at_once_share_the_memory() {
        let own = [
            ("AWS_LAMBDA_MAX_CONCURRENCY", "10"),
            ("FLOWGATE_MEMORY_PERCENT", "50"),
            ("FLOWGATE_DEADLINE_MARGIN", "0"),
        ];
        let read = settings(&own).expect("settings");
        assert_eq!(read.limits.body_bytes, 50 << 20);
        assert_eq!(read.limits.margin, Duration::ZERO);
        assert_eq!(read.at_once, 10);
    }

    #[test]
    fn a_variable_that_does_not_hold_is_named() {
        for (variable, value) in [
            ("FLOWGATE_MEMORY_PERCENT", "0"),
            ("FLOWGATE_DEADLINE_MARGIN", "1s"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "some"),
        ] {
            let error = settings(&[(variable, value)]).expect_err(variable);
            let text = error.to_string();
            assert!(text.contains(variable) && text.contains(value), "{text}");
        }
    }
}
