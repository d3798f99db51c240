//! Starts the command `flowgate`, which [`flowgate::cli`] implements.

use std::process::ExitCode;

fn main() -> ExitCode {
    flowgate::cli::run(std::env::args_os())
}
