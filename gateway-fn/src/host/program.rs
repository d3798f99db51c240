//! What the programs `flowgate` and `gateway-fn` share: exit statuses, messages on standard error, loading the Flow, and
//! the log.

use std::{io, process::ExitCode};

use executor_fn::{log, variables};
use flowgate_config::{Config, ConfigErrors, Loaded};

/// The exit status of a command.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: finished, or stopped cleanly.
    Clean,
    /// 64 (`EX_USAGE`): invalid arguments or an invalid Flow.
    Usage,
    /// 69 (`EX_UNAVAILABLE`): a port is already in use.
    PortTaken,
    /// 1: any other error.
    Failed,
}

impl Exit {
    /// Returns the status for the shell.
    #[must_use]
    pub fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Usage => 64,
            Self::PortTaken => 69,
        })
    }
}

/// Prints one line on standard error.
#[expect(
    clippy::print_stderr,
    reason = "the user at the terminal reads it, and the log may be off"
)]
pub fn print_error(message: &str) {
    eprintln!("flowgate: {message}");
}

/// Prints the errors of a Flow on standard error, one line for each.
#[expect(
    clippy::print_stderr,
    reason = "the user at the terminal reads it, and the log may be off"
)]
pub fn print_config_errors(errors: &ConfigErrors) {
    for error in &errors.0 {
        eprintln!("{error}");
    }
}

/// The Flow for a program that is started without one: an Executor inside the Gateway that appends a greeting.
const DEFAULT_FLOW: &str = include_str!("../../../infra/flows/default.yml");

/// Why a Flow cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The file cannot be read.
    #[error("{path}: cannot read the Flow file: {source}")]
    Unreadable {
        /// The path of the file.
        path: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The Flow is invalid.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

impl FlowError {
    /// Prints the error on standard error, and returns the exit status.
    pub fn print(&self) -> Exit {
        match self {
            Self::Unreadable { .. } => print_error(&self.to_string()),
            Self::Invalid(errors) => print_config_errors(errors),
        }
        Exit::Usage
    }
}

/// Loads the Flow at `path`, else the one in `FLOWGATE_FLOW`, else the embedded one.
///
/// # Errors
/// When the file cannot be read or the Flow is invalid.
pub fn load_flow(path: Option<&str>) -> Result<Loaded, FlowError> {
    let (text, file) = read_flow(path)?;
    Ok(Config::from_yaml(&text, &file, &env)?)
}

/// Returns the text of the Flow that [`load_flow`] loads, and its name in errors.
///
/// # Errors
/// When the file cannot be read.
pub fn read_flow(path: Option<&str>) -> Result<(String, String), FlowError> {
    match path
        .map(str::to_owned)
        .or_else(|| env("FLOWGATE_FLOW").filter(|flow| !flow.is_empty()))
    {
        None => Ok((DEFAULT_FLOW.to_owned(), "the embedded Flow".to_owned())),
        Some(flow) if path.is_none() && is_yaml(&flow) => Ok((flow, "FLOWGATE_FLOW".to_owned())),
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(text) => Ok((text, path)),
            Err(source) => Err(FlowError::Unreadable { path, source }),
        },
    }
}

/// Whether this value of `FLOWGATE_FLOW` is the YAML of a Flow and not a path: it has several lines, or begins as a Flow
/// does.
#[must_use]
pub fn is_yaml(flow: &str) -> bool {
    flow.contains('\n') || flow.starts_with("!Flow") || flow.starts_with("jtype:")
}

/// Starts the log, and logs warnings about misspelled environment variables.
pub fn start_log() {
    log::start(log::Format::for_environment(&env), &env);
    variables::warn_about_misspelled(std::env::vars_os().map(|(name, _)| name));
}

/// Returns a variable of the process's environment. Other code takes the environment as a parameter, which this
/// function can be.
#[must_use]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
