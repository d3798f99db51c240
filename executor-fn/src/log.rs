//! The log of a program: human text on a terminal, JSON on Lambda, filtered by `FLOWGATE_LOG` or Jina's own
//! `JINA_LOG_LEVEL`.

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a person to read.
    Human,
    /// For a log service to read: one JSON object a line.
    Json,
}

impl Format {
    /// JSON on Lambda, where nobody looks at a terminal.
    #[must_use]
    pub fn for_environment(env: &dyn Fn(&str) -> Option<String>) -> Self {
        match env("AWS_LAMBDA_FUNCTION_NAME") {
            Some(_) => Self::Json,
            None => Self::Human,
        }
    }
}

/// Starts the log on standard error. A second call changes nothing.
pub fn start(format: Format, env: &dyn Fn(&str) -> Option<String>) {
    let (filter, complaint) = filter(env);
    if let Some(complaint) = complaint {
        complain(&complaint);
    }
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_ansi(colours(std::io::stderr().is_terminal(), env))
        .with_writer(std::io::stderr);
    // A log that is already there, a test's for example, stays.
    let _ = match format {
        Format::Human => log.with(lines).try_init(),
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            log.with(lines).try_init()
        }
    };
}

/// Colours are for a terminal whose owner has not turned them off, by Jina's variable or by everybody's.
fn colours(is_terminal: bool, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
    is_terminal && !["JINA_LOG_NO_COLOR", "NO_COLOR"].into_iter().any(is_set)
}

/// `FLOWGATE_LOG` takes levels and `target=level`, between commas. One that does not parse falls back to the level
/// `info`, and what to say about it comes along.
fn filter(env: &dyn Fn(&str) -> Option<String>) -> (Targets, Option<String>) {
    let is_set = |name| env(name).filter(|value| value.contains(|letter| !" ,".contains(letter)));
    let directives = is_set("FLOWGATE_LOG").unwrap_or_else(|| {
        let jinas = is_set("JINA_LOG_LEVEL");
        jinas.as_deref().map_or("info", level).to_owned()
    });
    // To the parser an empty directive is the level `error`.
    let parts = directives.split(',').map(str::trim);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    match parts.join(",").parse() {
        Ok(filter) => (filter, None),
        Err(error) => {
            let complaint =
                format!("FLOWGATE_LOG: {directives:?} is no filter ({error}); the level is info");
            (Targets::new().with_default(Level::INFO), Some(complaint))
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "there is no log yet that it could be said in"
)]
fn complain(complaint: &str) {
    eprintln!("{complaint}");
}

/// Jina's level names, which are Python's and a `SUCCESS` of its own, as tracing's.
fn level(jina: &str) -> &'static str {
    match jina.to_ascii_uppercase().as_str() {
        "DEBUG" => "debug",
        "WARNING" | "WARN" => "warn",
        "ERROR" | "CRITICAL" | "FATAL" => "error",
        _ => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter_of(variables: &[(&str, &str)]) -> String {
        filter(&|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
        .0
        .to_string()
    }

    #[test]
    fn jinas_level_counts_unless_ours_is_set() {
        assert_eq!(filter_of(&[]), "info");
        assert_eq!(filter_of(&[("JINA_LOG_LEVEL", "WARNING")]), "warn");
        assert_eq!(
            filter_of(&[
                ("JINA_LOG_LEVEL", "DEBUG"),
                ("FLOWGATE_LOG", "gateway=trace")
            ]),
            "gateway=trace"
        );
        assert_eq!(filter_of(&[("FLOWGATE_LOG", "")]), "info");
        assert_eq!(filter_of(&[("FLOWGATE_LOG", " ,")]), "info");
        assert_eq!(filter_of(&[("FLOWGATE_LOG", "debug,")]), "debug");
        assert_eq!(
            filter_of(&[("FLOWGATE_LOG", "warn, a=DEBUG")]),
            "a=debug,warn"
        );
    }

    #[test]
    fn a_filter_that_does_not_parse_is_complained_about() {
        let env = |value: &'static str| {
            move |name: &str| (name == "FLOWGATE_LOG").then(|| value.to_owned())
        };
        let (fallen_back, complaint) = filter(&env("gateway=loud"));
        assert_eq!(fallen_back.to_string(), "info");
        let complaint = complaint.expect("a complaint");
        assert!(
            complaint.contains("FLOWGATE_LOG") && !complaint.contains('\n'),
            "{complaint}"
        );
        assert_eq!(filter(&env("debug")).1, None);
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(colours(true, &|_| None));
        assert!(!colours(false, &|_| None));
        for variable in ["NO_COLOR", "JINA_LOG_NO_COLOR"] {
            let env = |name: &str| (name == variable).then(|| "1".to_owned());
            assert!(!colours(true, &env), "{variable}");
        }
    }
}
