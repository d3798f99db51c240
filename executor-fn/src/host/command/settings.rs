//! The environment's variables -> how a command is kept running.

use std::time::Duration;

use crate::host::{lambda::number, program::OptionError};

/// How a command is kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Where it listens; 0 is a free port at each start.
    pub(super) port: u16,
    pub(super) start: Start,
    /// How long a start may take.
    pub(super) start_timeout: Duration,
    /// Starts in a row after which the function ends itself.
    pub(super) starts: u64,
    /// How long the command has between SIGTERM and SIGKILL.
    pub(super) stop_timeout: Duration,
}

/// When the command has to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Before the function takes its first invocation.
    DuringInit,
    /// Whenever it is; invocations wait for it.
    Later,
}

impl Settings {
    /// - `FLOWGATE_COMMAND_PORT`: a free port at each start; for commands that cannot be told one.
    /// - `FLOWGATE_COMMAND_START`: `init` or `later`; `init`, whose time is counted as the function's start.
    /// - `FLOWGATE_COMMAND_START_TIMEOUT`: seconds; 9 with `init`, as Lambda gives that phase 10; 120 with
    ///   `later`, in which a large model is loaded.
    /// - `FLOWGATE_COMMAND_STARTS`: starts in a row, none of which lasted a minute, after which the function
    ///   ends and Lambda makes a fresh one; 5.
    /// - `FLOWGATE_COMMAND_STOP_TIMEOUT`: milliseconds; 400, as Lambda kills after 500.
    pub(super) fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, OptionError> {
        let port = number(
            env,
            "FLOWGATE_COMMAND_PORT",
            0,
            0..=65535,
            "expected a port",
        )?;
        let start = start(env)?;
        let patience = match start {
            Start::DuringInit => 9,
            Start::Later => 120,
        };
        let seconds = "expected seconds from 1 to 900";
        let variable = "FLOWGATE_COMMAND_START_TIMEOUT";
        let patience = number(env, variable, patience, 1..=900, seconds)?;
        let times = "expected a number from 1 to 1000";
        let starts = number(env, "FLOWGATE_COMMAND_STARTS", 5, 1..=1000, times)?;
        let milliseconds = "expected milliseconds from 1 to 60000";
        let variable = "FLOWGATE_COMMAND_STOP_TIMEOUT";
        let stop = number(env, variable, 400, 1..=60_000, milliseconds)?;
        Ok(Self {
            port: u16::try_from(port).unwrap_or_default(),
            start,
            start_timeout: Duration::from_secs(patience),
            starts,
            stop_timeout: Duration::from_millis(stop),
        })
    }
}

fn start(env: &dyn Fn(&str) -> Option<String>) -> Result<Start, OptionError> {
    let variable = "FLOWGATE_COMMAND_START";
    match env(variable).as_deref() {
        None | Some("" | "init") => Ok(Start::DuringInit),
        Some("later") => Ok(Start::Later),
        Some(value) => Err(OptionError::Variable {
            variable,
            value: value.to_owned(),
            expected: "expected init or later",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(own: &[(&str, &str)]) -> Result<Settings, OptionError> {
        Settings::from_env(&|key| {
            let found = own.iter().find(|(name, _)| *name == key)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn a_start_fits_into_lambdas_init_unless_it_may_come_later() {
        let read = settings(&[]).expect("settings");
        assert_eq!(read.start, Start::DuringInit);
        assert_eq!(read.start_timeout, Duration::from_secs(9));
        let read = settings(&[("FLOWGATE_COMMAND_START", "later")]).expect("settings");
        assert_eq!(read.start, Start::Later);
        assert_eq!(read.start_timeout, Duration::from_secs(120));
    }

    #[test]
    fn a_variable_that_does_not_hold_is_named() {
        for (variable, value) in [
            ("FLOWGATE_COMMAND_PORT", "70000"),
            ("FLOWGATE_COMMAND_START", "never"),
            ("FLOWGATE_COMMAND_START_TIMEOUT", "0"),
            ("FLOWGATE_COMMAND_STARTS", "0"),
            ("FLOWGATE_COMMAND_STOP_TIMEOUT", "soon"),
        ] {
            let error = settings(&[(variable, value)]).expect_err(variable);
            let text = error.to_string();
            assert!(text.contains(variable) && text.contains(value), "{text}");
        }
    }
}
