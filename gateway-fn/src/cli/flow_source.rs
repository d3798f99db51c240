//! Where a command's Flow comes from: an argument, `FLOWGATE_FLOW`, or the embedded default.

use super::{Exit, env, exit};
use crate::config::{Config, Loaded};

/// What is served when no Flow is named: one Executor inside the Gateway that greets.
const DEFAULT_FLOW: &str = include_str!("../../../infra/flows/default.yml");

/// Reads and checks the Flow.
pub(super) fn load(path: Option<&str>) -> Result<Loaded, Exit> {
    let (text, file) = read(path)?;
    Config::from_yaml(&text, &file, &env).map_err(|faults| {
        exit::say_faults(&faults);
        Exit::Usage
    })
}

fn read(path: Option<&str>) -> Result<(String, String), Exit> {
    match path
        .map(str::to_owned)
        .or_else(|| env("FLOWGATE_FLOW").filter(|flow| !flow.is_empty()))
    {
        None => Ok((DEFAULT_FLOW.to_owned(), "the embedded Flow".to_owned())),
        Some(flow) if path.is_none() && is_yaml(&flow) => Ok((flow, "FLOWGATE_FLOW".to_owned())),
        Some(path) => std::fs::read_to_string(&path)
            .map(|text| (text, path.clone()))
            .map_err(|error| {
                exit::say(&format!("{path}: the Flow file cannot be read: {error}"));
                Exit::Usage
            }),
    }
}

/// A Flow's text and not its path: it has lines, or begins as Jina's inline Flows do.
fn is_yaml(flow: &str) -> bool {
    flow.contains('\n') || flow.starts_with("!Flow") || flow.starts_with("jtype:")
}
