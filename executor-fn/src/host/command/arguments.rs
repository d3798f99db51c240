//! Puts the port and the name into the words of a command.

use crate::Identity;

/// The placeholder for the port in a command.
const PORT_PLACEHOLDER: &str = "{port}";

/// Replaces the placeholder in a word by the port.
pub(super) fn substitute_port(word: &str, port: &str) -> String {
    word.replace(PORT_PLACEHOLDER, port)
}

/// A command with the options that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CompleteCommand {
    /// The program and its arguments.
    pub(super) words: Vec<String>,
    /// The name that the command has only because it needs one.
    pub(super) default_identity: Option<Identity>,
}

/// The name of a `jina executor` that has no other.
const DEFAULT_NAME: &str = "executor";

/// Appends the options that a `jina executor` lacks: `--port {port}`, because it would take a random port and ignore the
/// variable `PORT`; and `--name`, without which every request fails whose handler returns results (Jina 3.13). `chosen` is
/// the name that was chosen for the process.
pub(super) fn complete(mut words: Vec<String>, chosen: Option<Identity>) -> CompleteCommand {
    let mut default_identity = None;
    if is_jina_executor(&words) {
        // The spellings of Jina 3.13.
        if !has_option(&words, &["--port", "--port-in"]) {
            words.extend(["--port".to_owned(), PORT_PLACEHOLDER.to_owned()]);
        }
        if !has_option(&words, &["--name"]) {
            let identity = chosen.unwrap_or_else(|| {
                let default = Identity::first_replica(DEFAULT_NAME);
                default_identity.insert(default).clone()
            });
            words.extend(["--name".to_owned(), identity.runtime]);
        }
    }
    CompleteCommand {
        words,
        default_identity,
    }
}

fn has_option(words: &[String], spellings: &[&str]) -> bool {
    words.iter().any(|word| {
        let (option, _) = word.split_once('=').unwrap_or((word, ""));
        spellings.contains(&option)
    })
}

/// Whether the command is `jina executor` or `python -m jina executor`, with any path and any version of Python.
fn is_jina_executor(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let Some((program, arguments)) = words.split_first() else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or(program);
    match arguments {
        ["executor", ..] => program == "jina",
        ["-m", "jina", "executor", ..] => program.starts_with("python"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str, chosen: Option<Identity>) -> (String, Option<Identity>) {
        let words = line.split(' ').map(str::to_owned).collect();
        let command = complete(words, chosen);
        (command.words.join(" "), command.default_identity)
    }

    #[test]
    fn a_jina_executor_gets_a_port_and_a_name() {
        let default = Identity::first_replica("executor");
        for line in [
            "jina executor --uses config.yml",
            "/opt/v/bin/jina executor --uses config.yml",
            "python3.10 -m jina executor --uses config.yml",
        ] {
            let expected = format!("{line} --port {{port}} --name executor/rep-0");
            let default = Some(default.clone());
            assert_eq!(completed(line, None), (expected, default));
            let chosen = Identity {
                deployment: "enc".to_owned(),
                runtime: "enc/rep-1".to_owned(),
            };
            let expected = format!("{line} --port {{port}} --name enc/rep-1");
            assert_eq!(completed(line, Some(chosen)), (expected, None));
        }
    }

    #[test]
    fn other_commands_and_options_are_unchanged() {
        for line in [
            "jina executor --uses config.yml --port 1234 --name e",
            "jina executor --port={port} --uses config.yml --name=e",
            "jina executor --name e --port-in 1234",
            "jina flow --uses flow.yml",
            "python server.py executor",
        ] {
            assert_eq!(completed(line, None), (line.to_owned(), None));
        }
    }

    #[test]
    fn the_port_replaces_its_placeholder() {
        assert_eq!(substitute_port("--listen=:{port}", "80"), "--listen=:80");
    }
}
