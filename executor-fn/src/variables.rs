//! Warns about misspelled `FLOWGATE_*` environment variables, which would silently leave a setting at its default.

use std::ffi::OsString;

const PREFIX: &str = "FLOWGATE_";

/// The largest Damerau-Levenshtein distance from a known name (letters added, removed, changed, or swapped with the next
/// one) at which a name is taken for a misspelled one.
const MAX_EDITS: usize = 2;

/// The variables of the Gateway and the Executor alike: one SAM template may set all of them for all functions.
const KNOWN: [&str; 11] = [
    "FLOWGATE_COMMAND_PORT",
    "FLOWGATE_COMMAND_START",
    "FLOWGATE_COMMAND_STARTS",
    "FLOWGATE_COMMAND_START_TIMEOUT",
    "FLOWGATE_COMMAND_STOP_TIMEOUT",
    "FLOWGATE_DEADLINE_MARGIN",
    "FLOWGATE_EXECUTOR",
    "FLOWGATE_EXECUTOR_COMMAND",
    "FLOWGATE_FLOW",
    "FLOWGATE_LOG",
    "FLOWGATE_MEMORY_PERCENT",
];

/// Logs a warning for each of `names` that is within two edits of a known variable. Other names with the prefix are
/// valid: a Flow may refer to any variable, and Kubernetes sets `FLOWGATE_PORT_8080_TCP` and others for a Service
/// named `flowgate`.
pub fn warn_about_misspelled(names: impl IntoIterator<Item = OsString>) {
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    for (name, known) in misspelled(names) {
        tracing::warn!(
            variable = name,
            did_you_mean = known,
            "unknown environment variable (ignored)"
        );
    }
}

fn misspelled(
    names: impl IntoIterator<Item = String>,
) -> impl Iterator<Item = (String, &'static str)> {
    let prefixed = names.into_iter().filter(|name| name.starts_with(PREFIX));
    // Known names are filtered out first: computing distances would take longer than the rest of the start.
    let unknown = prefixed.filter(|name| !KNOWN.contains(&name.as_str()));
    unknown.filter_map(|name| {
        let distances = KNOWN.map(|known| (strsim::damerau_levenshtein(known, &name), known));
        let (distance, known) = distances.into_iter().min()?;
        (1..=MAX_EDITS).contains(&distance).then_some((name, known))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_close_to_a_known_one_are_misspelled() {
        let names = [
            "FLOWGATE_COMAND_START",
            "FLOWGATE_FLOW",
            "FLOWGATE_PORT",
            "FLOWGATE_SERVICE_HOST",
            "PATH",
        ];
        let found: Vec<_> = misspelled(names.map(str::to_owned)).collect();
        let expected = ("FLOWGATE_COMAND_START".to_owned(), "FLOWGATE_COMMAND_START");
        assert_eq!(found, [expected]);
    }
}
