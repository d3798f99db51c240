//! `flowgate check`: a Flow read and judged, nothing served.

use clap::Args;

use super::{Exit, flow_source};

/// Arguments of `flowgate check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The Flow YAML
    #[arg(value_name = "FLOW.yml")]
    flow: String,
    /// Take what Jina would only warn about or ignore for a fault
    #[arg(long)]
    strict: bool,
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the verdict is what the command is for"
)]
pub(super) fn run(args: &CheckArgs) -> Exit {
    let loaded = match flow_source::load(Some(&args.flow)) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    for warning in &loaded.warnings {
        eprintln!("{}{warning}", if args.strict { "" } else { "warning: " });
    }
    if args.strict && !loaded.warnings.is_empty() {
        return Exit::Usage;
    }
    println!(
        "{}: the Flow holds: {}",
        args.flow,
        super::banner::graph(&loaded.config)
    );
    Exit::Clean
}
