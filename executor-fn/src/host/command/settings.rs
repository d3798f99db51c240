//! Reads from the environment how a command is started, restarted and stopped.

use std::time::Duration;

use crate::host::{environment::number, error::OptionError};

/// How a command is started, restarted and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandSettings {
    /// The port that it listens on; 0 chooses a free one at each start.
    pub(super) port: u16,
    pub(super) start_mode: StartMode,
    /// How long a start may take.
    pub(super) start_timeout: Duration,
    /// The number of starts in a row after which the function ends.
    pub(super) max_starts: u64,
    /// The time between SIGTERM and SIGKILL.
    pub(super) stop_timeout: Duration,
}

/// When the command has to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartMode {
    /// Before the function asks for its first invocation.
    DuringInit,
    /// At any time; invocations wait for it.
    Later,
}

impl CommandSettings {
    /// Reads the variables
    /// - `FLOWGATE_COMMAND_PORT`: the fixed port of a command that reads neither `{port}` nor `PORT`; by default a free
    ///   port at each start.
    /// - `FLOWGATE_COMMAND_START`: `init` (the default: ready within Lambda's INIT phase) or `later`.
    /// - `FLOWGATE_COMMAND_START_TIMEOUT`: seconds; by default 9 with `init`, because the INIT phase may take 10, and 120
    ///   with `later`, enough to load a large model.
    /// - `FLOWGATE_COMMAND_STARTS`: starts in a row without a stable run, after which the function ends and Lambda
    ///   replaces it; default 5. A run is stable a minute after the start timeout.
    /// - `FLOWGATE_COMMAND_STOP_TIMEOUT`: milliseconds; default 400, because Lambda kills the process after 500.
    pub(super) fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, OptionError> {
        let port = number(
            env,
            "FLOWGATE_COMMAND_PORT",
            0,
            0..=65535,
            "expected a port from 0 to 65535",
        )?;
        let start_mode = start_mode(env)?;
        let default_timeout = match start_mode {
            StartMode::DuringInit => 9,
            StartMode::Later => 120,
        };
        let seconds = "expected seconds from 1 to 900";
        let variable = "FLOWGATE_COMMAND_START_TIMEOUT";
        let start_timeout = number(env, variable, default_timeout, 1..=900, seconds)?;
        let starts = "expected a number from 1 to 1000";
        let max_starts = number(env, "FLOWGATE_COMMAND_STARTS", 5, 1..=1000, starts)?;
        let milliseconds = "expected milliseconds from 1 to 60000";
        let variable = "FLOWGATE_COMMAND_STOP_TIMEOUT";
        let stop_timeout = number(env, variable, 400, 1..=60_000, milliseconds)?;
        Ok(Self {
            port: u16::try_from(port).unwrap_or_default(),
            start_mode,
            start_timeout: Duration::from_secs(start_timeout),
            max_starts,
            stop_timeout: Duration::from_millis(stop_timeout),
        })
    }
}

fn start_mode(env: &dyn Fn(&str) -> Option<String>) -> Result<StartMode, OptionError> {
    let variable = "FLOWGATE_COMMAND_START";
    match env(variable).as_deref() {
        None | Some("" | "init") => Ok(StartMode::DuringInit),
        Some("later") => Ok(StartMode::Later),
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

    fn settings(own: &[(&str, &str)]) -> Result<CommandSettings, OptionError> {
        CommandSettings::from_env(&|key| {
            let variable = own.iter().find(|(name, _)| *name == key)?;
            Some(variable.1.to_owned())
        })
    }

    #[test]
    fn the_start_timeout_fits_into_init_unless_the_start_is_later() {
        let init = settings(&[]).expect("settings");
        assert_eq!(init.start_mode, StartMode::DuringInit);
        assert_eq!(init.start_timeout, Duration::from_secs(9));
        let later = settings(&[("FLOWGATE_COMMAND_START", "later")]).expect("settings");
        assert_eq!(later.start_mode, StartMode::Later);
        assert_eq!(later.start_timeout, Duration::from_secs(120));
    }

    #[test]
    fn an_error_reports_the_invalid_variable() {
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
