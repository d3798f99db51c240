//! Reads a function's limits from Lambda's environment variables and Flowgate's own.

use std::time::Duration;

use crate::{
    host::{
        environment::{number, parse, required},
        error::OptionError,
    },
    inbound::invoke::InvokeLimits,
    report::ReportLines,
};

/// About an eighth of the function's memory, because a request takes about eight times its size in memory: its payload,
/// its message, documents of two to three times the size, and the answer's message and payload.
const DEFAULT_MEMORY_PERCENT: u64 = 12;

/// Long enough to encode and return an error, even with the CPU share of the smallest function.
const DEFAULT_MARGIN_MILLISECONDS: u64 = 200;

/// The limit of concurrent invocations in one process, each of which is a task and a connection of the runtime client.
/// Lambda's own limit is far below it.
const MAX_CONCURRENCY: u64 = 10_000;

/// The limits of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::host) struct FunctionSettings {
    /// The limits of each invocation.
    pub(in crate::host) limits: InvokeLimits,
    /// Concurrent invocations: more than one only on Managed Instances.
    pub(in crate::host) max_concurrency: u32,
    /// The lines about invocations, where the function itself writes them.
    pub(in crate::host) report: Option<ReportLines>,
}

impl FunctionSettings {
    /// Reads Lambda's own variables and two of Flowgate:
    /// - `FLOWGATE_MEMORY_PERCENT` (default 12): the percentage of the function's memory for decompressed requests. Each
    ///   concurrent invocation gets an equal share of it.
    /// - `FLOWGATE_DEADLINE_MARGIN` (default 200): how many milliseconds before the function's timeout an invocation that
    ///   is still unanswered gets an error.
    pub(in crate::host) fn from_env(
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        // The runtime client panics without them.
        for variable in ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION"] {
            required(env, variable)?;
        }
        let variable = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
        let memory = required(env, variable)?;
        let memory: i32 = parse(variable, memory, "expected the function's memory in MB")?;
        let percent = number(
            env,
            "FLOWGATE_MEMORY_PERCENT",
            DEFAULT_MEMORY_PERCENT,
            1..=100,
            "expected a percentage from 1 to 100",
        )?;
        let margin = number(
            env,
            "FLOWGATE_DEADLINE_MARGIN",
            DEFAULT_MARGIN_MILLISECONDS,
            0..=60_000,
            "expected milliseconds from 0 to 60000",
        )?;
        let max_concurrency = number(
            env,
            "AWS_LAMBDA_MAX_CONCURRENCY",
            1,
            0..=MAX_CONCURRENCY,
            "expected a number of invocations from 0 to 10000",
        )?;
        // The runtime client treats 0 as 1 too.
        let max_concurrency = u32::try_from(max_concurrency).unwrap_or(1).max(1);
        let memory_bytes = u64::try_from(memory).unwrap_or_default() << 20;
        let max_request_bytes = memory_bytes * percent / 100 / u64::from(max_concurrency);
        Ok(Self {
            limits: InvokeLimits {
                max_request_bytes: usize::try_from(max_request_bytes).unwrap_or(usize::MAX),
                margin: Duration::from_millis(margin),
            },
            max_concurrency,
            report: ReportLines::for_environment(env),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(own: &[(&str, &str)]) -> Result<FunctionSettings, OptionError> {
        let lambda_variables = [
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1000"),
        ];
        FunctionSettings::from_env(&|key| {
            let all = own.iter().chain(&lambda_variables);
            let variable = all.clone().find(|(name, _)| *name == key)?;
            Some(variable.1.to_owned())
        })
    }

    #[test]
    fn by_default_an_eighth_of_the_memory_is_for_requests() {
        let settings = settings(&[]).expect("settings");
        assert_eq!(settings.limits.max_request_bytes, 120 << 20);
        assert_eq!(settings.limits.margin, Duration::from_millis(200));
        assert_eq!(settings.max_concurrency, 1);
    }

    #[test]
    fn concurrent_invocations_share_the_memory() {
        let own = [
            ("AWS_LAMBDA_MAX_CONCURRENCY", "10"),
            ("FLOWGATE_MEMORY_PERCENT", "50"),
            ("FLOWGATE_DEADLINE_MARGIN", "0"),
        ];
        let settings = settings(&own).expect("settings");
        assert_eq!(settings.limits.max_request_bytes, 50 << 20);
        assert_eq!(settings.limits.margin, Duration::ZERO);
        assert_eq!(settings.max_concurrency, 10);
    }

    #[test]
    fn an_error_reports_the_invalid_variable() {
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
