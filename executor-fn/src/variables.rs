//! Variables with our prefix -> a warning for each that nothing reads: a slip of the pen would be taken for the default.

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

/// Warns of the names that are nobody's. A Flow may refer to a variable of any name, so that it is no error.
pub fn warn_of_unknown(names: impl IntoIterator<Item = String>) {
    for name in unknown(names) {
        tracing::warn!(
            "{name} is read by nothing here: there are {}",
            KNOWN.join(", ")
        );
    }
}

fn unknown(names: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    let ours = names.into_iter().filter(|name| name.starts_with(PREFIX));
    ours.filter(|name| !KNOWN.contains(&name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_look_like_ours_and_are_not_are_unknown() {
        let names = ["FLOWGATE_COMAND_START", "FLOWGATE_FLOW", "PATH", "FLOWGATE"];
        let found: Vec<_> = unknown(names.map(str::to_owned)).collect();
        assert_eq!(found, ["FLOWGATE_COMAND_START"]);
    }
}
