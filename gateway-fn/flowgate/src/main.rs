//! Starts the command `flowgate`, which [`flowgate::cli`] implements.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flowgate::cli::run(std::env::args_os())
}
