//! What the programs of both hosts share: their exit status, their lines on standard error, the Flow that they serve,
//! and their log.

use std::process::ExitCode;

use executor_fn::{log, variables};
use flowgate_config::{Config, ConfigErrors, Loaded};

/// The exit status of a command.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or stopped cleanly.
    Clean,
    /// 64 (EX_USAGE): bad arguments or an invalid Flow.
    Usage,
    /// 69 (EX_UNAVAILABLE): a port that is already in use.
    PortTaken,
    /// 1: anything else.
    Failed,
}

impl Exit {
    /// The status for the shell.
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
    reason = "the last words of a command are for the person at the terminal"
)]
pub fn say(message: &str) {
    eprintln!("flowgate: {message}");
}

/// Prints what is wrong with a Flow on standard error, one line a fault.
#[expect(
    clippy::print_stderr,
    reason = "the last words of a command are for the person at the terminal"
)]
pub fn say_faults(faults: &ConfigErrors) {
    for fault in &faults.0 {
        eprintln!("{fault}");
    }
}

/// The Flow that is served when none is named: one Executor inside the Gateway that greets.
const DEFAULT_FLOW: &str = include_str!("../../../infra/flows/default.yml");

/// Reads and checks the Flow at `path`, else the one in `FLOWGATE_FLOW`, else the embedded one. Prints errors.
///
/// # Errors
/// [`Exit::Usage`] when the file cannot be read or the Flow is invalid.
pub fn load_flow(path: Option<&str>) -> Result<Loaded, Exit> {
    let (text, file) = read_flow(path)?;
    Config::from_yaml(&text, &file, &env).map_err(|faults| {
        say_faults(&faults);
        Exit::Usage
    })
}

fn read_flow(path: Option<&str>) -> Result<(String, String), Exit> {
    match path
        .map(str::to_owned)
        .or_else(|| env("FLOWGATE_FLOW").filter(|flow| !flow.is_empty()))
    {
        None => Ok((DEFAULT_FLOW.to_owned(), "the embedded Flow".to_owned())),
        Some(flow) if path.is_none() && is_yaml(&flow) => Ok((flow, "FLOWGATE_FLOW".to_owned())),
        Some(path) => std::fs::read_to_string(&path)
            .map(|text| (text, path.clone()))
            .map_err(|error| {
                say(&format!("{path}: the Flow file cannot be read: {error}"));
                Exit::Usage
            }),
    }
}

/// A Flow's text and not its path: it has lines, or begins as Jina's inline Flows do.
fn is_yaml(flow: &str) -> bool {
    flow.contains('\n') || flow.starts_with("!Flow") || flow.starts_with("jtype:")
}

/// Starts the log, and warns in it of misspelt environment variables.
pub fn start_log() {
    log::start(log::Format::for_environment(&env), &env);
    variables::warn_of_misspelt(std::env::vars_os().map(|(name, _)| name));
}

/// Returns a variable of the process's environment, in the form in which the rest of the code takes it.
#[must_use]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
