//! How a command ended -> the exit status and the lines on standard error that scripts rely on.

use std::{io, process::ExitCode};

use flowgate_proto::with_causes;

use crate::{config::Faults, host::container::ContainerError};

/// The end of a command.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or stopped cleanly.
    Clean,
    /// 64 (EX_USAGE): bad arguments or a Flow that does not hold.
    Usage,
    /// 69 (EX_UNAVAILABLE): a port that is taken.
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

    /// A Gateway that does not come up: says why, with every cause.
    pub(super) fn container(error: &ContainerError) -> Self {
        say(&with_causes(error));
        match error {
            ContainerError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Self::PortTaken
            }
            ContainerError::Start(_) | ContainerError::Tls(_) => Self::Usage,
            ContainerError::Bind { .. } => Self::Failed,
        }
    }

    /// Help and version are asked for; anything else is a mistake in the arguments.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        // Where standard output is closed there is nobody to tell.
        let _ = error.print();
        if error.use_stderr() {
            Self::Usage
        } else {
            Self::Clean
        }
    }
}

/// Tells the person at the terminal something in one line.
#[expect(
    clippy::print_stderr,
    reason = "what a command ends with is for the person at the terminal"
)]
pub(super) fn say(message: &str) {
    eprintln!("flowgate: {message}");
}

/// Says what is wrong with a Flow, one line a fault.
#[expect(
    clippy::print_stderr,
    reason = "what a command ends with is for the person at the terminal"
)]
pub(super) fn say_faults(faults: &Faults) {
    for fault in &faults.0 {
        eprintln!("{fault}");
    }
}
