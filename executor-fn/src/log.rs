//! Sets up a program's log: text on a terminal, JSON on Lambda, filtered by `FLOWGATE_LOG` or Jina's `JINA_LOG_LEVEL`.
//! Errors and names that come from peers may contain anything, so control characters are escaped in every line.

mod escape;

use std::io::IsTerminal as _;

use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::escape::{EscapedFields, EscapedJson};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON object per line, for a log service.
    Json,
}

impl Format {
    /// Returns JSON on Lambda and text elsewhere.
    #[must_use]
    pub fn for_environment(env: &dyn Fn(&str) -> Option<String>) -> Self {
        match env("AWS_LAMBDA_FUNCTION_NAME") {
            Some(_) => Self::Json,
            None => Self::Human,
        }
    }
}

/// Starts the log on standard error. `env` looks up an environment variable. A second call changes nothing.
pub fn start(format: Format, env: &dyn Fn(&str) -> Option<String>) {
    let (filter, warning) = filter(env);
    if let Some(warning) = warning {
        print_warning(&warning);
    }
    let log = tracing_subscriber::registry().with(filter);
    // Fails when a log is already set up, by a test for example; that one stays.
    let _ = match format {
        Format::Human => {
            let is_coloured = use_colours(std::io::stderr().is_terminal(), env);
            log.with(text_lines(std::io::stderr, is_coloured))
                .try_init()
        }
        Format::Json => log.with(json_lines(std::io::stderr)).try_init(),
    };
}

fn text_lines<S>(
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    is_coloured: bool,
) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_ansi(is_coloured)
        .fmt_fields(EscapedFields)
        .with_writer(writer)
}

fn json_lines<S>(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fmt::layer()
        .with_ansi(false)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(EscapedJson(writer))
}

/// Whether to colour log lines: on a terminal, unless `JINA_LOG_NO_COLOR` or `NO_COLOR` is set.
fn use_colours(is_terminal: bool, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| env(name).is_some_and(|value| !value.is_empty());
    is_terminal && !["JINA_LOG_NO_COLOR", "NO_COLOR"].into_iter().any(is_set)
}

/// Parses `FLOWGATE_LOG`: levels and `target=level`, separated by commas. If it is invalid, returns the level `info`
/// and a warning.
fn filter(env: &dyn Fn(&str) -> Option<String>) -> (Targets, Option<String>) {
    let is_set = |name| env(name).filter(|value| value.contains(|letter| !" ,".contains(letter)));
    let directives = is_set("FLOWGATE_LOG").unwrap_or_else(|| {
        let jina_level = is_set("JINA_LOG_LEVEL");
        jina_level.as_deref().map_or("info", level).to_owned()
    });
    // The parser would take an empty directive for the level `error`.
    let parts = directives.split(',').map(str::trim);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    match parts.join(",").parse() {
        Ok(filter) => (without_warnings_of_h2(filter, &parts), None),
        Err(error) => {
            let warning = format!(
                "FLOWGATE_LOG: {directives:?} is not a valid filter ({error}); the level is info"
            );
            (Targets::new().with_default(Level::INFO), Some(warning))
        }
    }
}

/// Leaves out warnings of the HTTP/2 library, unless its messages are asked for: they do not name the client, and the server
/// logs the same events with its address.
fn without_warnings_of_h2(filter: Targets, parts: &[&str]) -> Targets {
    let level = filter.default_level();
    let is_ordinary = matches!(level, Some(LevelFilter::INFO | LevelFilter::WARN));
    if !is_ordinary || parts.iter().any(|part| part.starts_with("h2")) {
        return filter;
    }
    filter.with_target("h2", LevelFilter::ERROR)
}

#[expect(clippy::print_stderr, reason = "the log is not set up yet")]
fn print_warning(warning: &str) {
    eprintln!("{warning}");
}

/// Maps Jina's level names, which are Python's and `SUCCESS`, to tracing's.
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
    fn jinas_level_applies_unless_flowgate_log_is_set() {
        assert_eq!(filter_of(&[]), "h2=error,info");
        assert_eq!(filter_of(&[("JINA_LOG_LEVEL", "WARNING")]), "h2=error,warn");
        assert_eq!(
            filter_of(&[
                ("JINA_LOG_LEVEL", "DEBUG"),
                ("FLOWGATE_LOG", "gateway=trace")
            ]),
            "gateway=trace"
        );
        assert_eq!(filter_of(&[("FLOWGATE_LOG", "")]), "h2=error,info");
        assert_eq!(filter_of(&[("FLOWGATE_LOG", " ,")]), "h2=error,info");
        assert_eq!(
            filter_of(&[("FLOWGATE_LOG", "info,h2=warn")]),
            "h2=warn,info"
        );
        assert_eq!(filter_of(&[("FLOWGATE_LOG", "debug,")]), "debug");
        assert_eq!(
            filter_of(&[("FLOWGATE_LOG", "warn, a=DEBUG")]),
            "h2=error,a=debug,warn"
        );
    }

    #[test]
    fn an_invalid_filter_falls_back_to_info_with_a_warning() {
        let env = |value: &'static str| {
            move |name: &str| (name == "FLOWGATE_LOG").then(|| value.to_owned())
        };
        let (fallback, warning) = filter(&env("gateway=loud"));
        assert_eq!(fallback.to_string(), "info");
        let warning = warning.expect("a warning");
        assert!(
            warning.contains("FLOWGATE_LOG") && !warning.contains('\n'),
            "{warning}"
        );
        assert_eq!(filter(&env("debug")).1, None);
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(use_colours(true, &|_| None));
        assert!(!use_colours(false, &|_| None));
        for variable in ["NO_COLOR", "JINA_LOG_NO_COLOR"] {
            let env = |name: &str| (name == variable).then(|| "1".to_owned());
            assert!(!use_colours(true, &env), "{variable}");
        }
    }
}
