//! The log: human text on a terminal, JSON on Lambda, filtered by `FLOWGATE_LOG` or Jina's own `JINA_LOG_LEVEL`.

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person to read.
    Human,
    /// For a log service to read: one JSON object a line.
    Json,
}

impl LogFormat {
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
pub fn start(format: LogFormat, env: &dyn Fn(&str) -> Option<String>) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(env))
        .with_writer(std::io::stderr);
    // A log that is already there, a test's for example, stays.
    let _ = match format {
        LogFormat::Human => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// `FLOWGATE_LOG` takes tracing's filter syntax; a filter that does not parse falls back to the level `info`.
fn filter(env: &dyn Fn(&str) -> Option<String>) -> EnvFilter {
    let directives = env("FLOWGATE_LOG").unwrap_or_else(|| {
        env("JINA_LOG_LEVEL")
            .as_deref()
            .map_or("info", level)
            .to_owned()
    });
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"))
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
        assert_eq!(filter_of(&[("FLOWGATE_LOG", "=,=")]), "info");
    }
}
