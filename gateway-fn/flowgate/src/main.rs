//! The command `flowgate`: see [`flowgate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    flowgate::cli::run(std::env::args_os())
}
