//! The words of a command -> those that tell it the port.

/// Stands for the port in a command's words.
const PLACE: &str = "{port}";

/// The word with the port in its place.
pub(super) fn with_port(word: &str, port: &str) -> String {
    word.replace(PLACE, port)
}

/// The words, and `--port {port}` behind a `jina executor` that has none: it would take a random port, whatever the
/// variable `PORT` says.
pub(super) fn with_port_option(mut words: Vec<String>) -> Vec<String> {
    let is_port = |word: &String| {
        let (option, _) = word.split_once('=').unwrap_or((word, ""));
        // Its spellings in Jina 3.13.
        ["--port", "--port-in"].contains(&option)
    };
    if is_jina_executor(&words) && !words.iter().any(is_port) {
        words.extend(["--port".to_owned(), PLACE.to_owned()]);
    }
    words
}

/// `jina executor` or `python -m jina executor`, with any path and version before.
fn is_jina_executor(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or(program);
    match rest {
        ["executor", ..] => program == "jina",
        ["-m", "jina", "executor", ..] => program.starts_with("python"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        let words = line.split(' ').map(str::to_owned).collect();
        with_port_option(words).join(" ")
    }

    #[test]
    fn a_jina_executor_is_told_its_port() {
        for line in [
            "jina executor --uses config.yml",
            "/opt/v/bin/jina executor --uses config.yml",
            "python3.10 -m jina executor --uses config.yml",
        ] {
            assert_eq!(told(line), format!("{line} --port {{port}}"));
        }
    }

    #[test]
    fn whoever_has_a_port_or_is_no_jina_keeps_its_words() {
        for line in [
            "jina executor --uses config.yml --port 1234",
            "jina executor --port={port} --uses config.yml",
            "jina executor --port-in 1234",
            "jina flow --uses flow.yml",
            "python server.py executor",
        ] {
            assert_eq!(told(line), line);
        }
    }

    #[test]
    fn the_port_takes_its_place() {
        assert_eq!(with_port("--listen=:{port}", "80"), "--listen=:80");
    }
}
