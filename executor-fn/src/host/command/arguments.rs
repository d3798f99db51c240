//! Puts the port into the words of a command.

/// The placeholder for the port in a command.
const PORT_PLACEHOLDER: &str = "{port}";

/// Replaces the placeholder in a word by the port.
pub(super) fn substitute_port(word: &str, port: &str) -> String {
    word.replace(PORT_PLACEHOLDER, port)
}

/// Appends `--port {port}` to a `jina executor` without a port option: it would take a random port and ignore the
/// variable `PORT`.
pub(super) fn add_port_option(mut command: Vec<String>) -> Vec<String> {
    let is_port_option = |word: &String| {
        let (option, _) = word.split_once('=').unwrap_or((word, ""));
        // The spellings of Jina 3.13.
        ["--port", "--port-in"].contains(&option)
    };
    if is_jina_executor(&command) && !command.iter().any(is_port_option) {
        command.extend(["--port".to_owned(), PORT_PLACEHOLDER.to_owned()]);
    }
    command
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

    fn with_port_option(line: &str) -> String {
        let command = line.split(' ').map(str::to_owned).collect();
        add_port_option(command).join(" ")
    }

    #[test]
    fn a_jina_executor_gets_a_port_option() {
        for line in [
            "jina executor --uses config.yml",
            "/opt/v/bin/jina executor --uses config.yml",
            "python3.10 -m jina executor --uses config.yml",
        ] {
            assert_eq!(with_port_option(line), format!("{line} --port {{port}}"));
        }
    }

    #[test]
    fn other_commands_and_those_with_a_port_are_unchanged() {
        for line in [
            "jina executor --uses config.yml --port 1234",
            "jina executor --port={port} --uses config.yml",
            "jina executor --port-in 1234",
            "jina flow --uses flow.yml",
            "python server.py executor",
        ] {
            assert_eq!(with_port_option(line), line);
        }
    }

    #[test]
    fn the_port_replaces_its_placeholder() {
        assert_eq!(substitute_port("--listen=:{port}", "80"), "--listen=:80");
    }
}
