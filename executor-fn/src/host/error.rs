//! Why an Executor cannot be served: the error of every host, and of its options and environment variables.

use std::{error::Error, net::SocketAddr, num::ParseIntError, time::Duration};

/// Why an Executor cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An argument or environment variable is invalid.
    #[error("the options are invalid")]
    Options(#[from] OptionError),
    /// The address cannot be listened on: the port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address of the options.
        address: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The program could not prepare what it serves, such as a model or an index; see [`ServeError::prepare`].
    #[error("the Executor cannot be prepared")]
    Prepare {
        /// The program's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The loop of Lambda's runtime client failed.
    #[error("the Lambda runtime failed")]
    Lambda {
        /// The runtime client's error.
        source: lambda_runtime::Error,
    },
    /// The command that the function wraps does not run.
    #[error("the command failed")]
    Command(#[from] CommandError),
    /// The handlers for SIGTERM and SIGINT cannot be installed.
    #[error("cannot install the signal handlers")]
    Signals {
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Server {
        /// The server's error.
        source: tonic::transport::Error,
    },
}

impl ServeError {
    /// Wraps an error of the program's own preparations, for [`run_program`](crate::run_program).
    #[must_use]
    pub fn prepare(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = error.into();
        Self::Prepare { source }
    }

    /// The exit status of a program that ends with this error, as sysexits.h defines it: 64 (`EX_USAGE`) for invalid
    /// arguments or variables, 69 (`EX_UNAVAILABLE`) for an address that cannot be listened on, 1 for any other error.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Options(_) => 64,
            Self::Bind { .. } => 69,
            Self::Prepare { .. }
            | Self::Lambda { .. }
            | Self::Command(_)
            | Self::Signals { .. }
            | Self::Server { .. } => 1,
        }
    }

    /// The error type under which Lambda shows that the function does not start.
    pub(super) const fn init_error_type(&self) -> &'static str {
        match self {
            Self::Options(_) => "Flowgate.InvalidSettings",
            Self::Command(_) => "Flowgate.CommandFailed",
            Self::Bind { .. }
            | Self::Prepare { .. }
            | Self::Lambda { .. }
            | Self::Signals { .. }
            | Self::Server { .. } => "Flowgate.StartFailed",
        }
    }
}

/// Which argument or environment variable of a program is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// The argument is not a known option.
    #[error("unexpected argument {argument:?}: expected --port, --name, --help or --version")]
    Unexpected {
        /// The argument found.
        argument: String,
    },
    /// The value of the last option is missing.
    #[error("{option} needs a value")]
    Missing {
        /// The option without a value.
        option: String,
    },
    /// The port is not a number from 0 to 65535.
    #[error("port {value:?} is invalid: expected a number from 0 to 65535")]
    Port {
        /// The value found.
        value: String,
        /// Why it cannot be parsed.
        source: ParseIntError,
    },
    /// A variable that Lambda sets is missing.
    #[error("the environment variable {variable} is missing: Lambda sets it")]
    MissingVariable {
        /// The variable's name.
        variable: &'static str,
    },
    /// The value of a variable starts with `[` and is not a command. It is not shown, because a command may have secrets.
    #[error(
        "the environment variable {variable} is not a command: expected words separated by blanks, or a JSON list of strings, like [\"jina\", \"executor\"]: {reason}"
    )]
    CommandList {
        /// The variable's name.
        variable: &'static str,
        /// Why the list is invalid.
        reason: String,
    },
    /// The value of an environment variable is invalid.
    #[error("the environment variable {variable} has the value {value:?}: {expected}")]
    Variable {
        /// The variable's name.
        variable: &'static str,
        /// The value found.
        value: String,
        /// What is allowed: `expected a port from 0 to 65535`.
        expected: &'static str,
    },
}

/// Why a command cannot be run as an Executor.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command has no program.
    #[error("the command is empty")]
    Empty,
    /// The operating system cannot start the program.
    #[error("cannot start {program:?}")]
    Start {
        /// The first word of the command.
        program: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The operating system has no port for the command.
    #[error("cannot reserve a local port for the command")]
    Port {
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The command did not answer a call within the start timeout.
    #[error("the command was not ready after {} s: {reason}", .timeout.as_secs_f64())]
    NotReady {
        /// The start timeout.
        timeout: Duration,
        /// What is known about the command.
        reason: String,
    },
    /// The command ended too often.
    #[error("the command ended after each of {starts} starts, which is the limit: {reason}")]
    TooManyStarts {
        /// The number of starts in a row.
        starts: u64,
        /// How it ended the last time.
        reason: String,
    },
}
