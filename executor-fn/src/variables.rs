//! Variables with our prefix -> a warning for each that is misspelt: a slip of the pen would be taken for the default.

use std::ffi::OsString;

const PREFIX: &str = "FLOWGATE_";

/// Those of both programs, so that one template may set them for all of its functions.
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

/// Warns of names that are nearly one of them. Others are somebody's: a Flow may refer to any, and Kubernetes makes
/// `FLOWGATE_PORT_8080_TCP` and more for a Service of the name `flowgate`.
pub fn warn_of_misspelt(names: impl IntoIterator<Item = OsString>) {
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    for (name, meant) in misspelt(names) {
        tracing::warn!("{name} is read by nothing here: did you mean {meant}?");
    }
}

fn misspelt(
    names: impl IntoIterator<Item = String>,
) -> impl Iterator<Item = (String, &'static str)> {
    let ours = names.into_iter().filter(|name| name.starts_with(PREFIX));
    // Measuring how far names are apart takes longer than all else that a start reads.
    let others = ours.filter(|name| !KNOWN.contains(&name.as_str()));
    others.filter_map(|name| {
        let distances = KNOWN.map(|known| (strsim::damerau_levenshtein(known, &name), known));
        let (distance, meant) = distances.into_iter().min()?;
        (1..=MOST_SLIPS)
            .contains(&distance)
            .then_some((name, meant))
    })
}

/// Letters left out, added, changed or exchanged.
const MOST_SLIPS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nearly_ours_is_misspelt() {
        let names = [
            "FLOWGATE_COMAND_START",
            "FLOWGATE_FLOW",
            "FLOWGATE_PORT",
            "FLOWGATE_SERVICE_HOST",
            "PATH",
        ];
        let found: Vec<_> = misspelt(names.map(str::to_owned)).collect();
        let expected = ("FLOWGATE_COMAND_START".to_owned(), "FLOWGATE_COMMAND_START");
        assert_eq!(found, [expected]);
    }
}
