//! The command line of `jina gateway` -> [`GatewayArgs`], parsed as Python's argparse does.

use std::fmt;

use crate::jina_keys::{ArgumentKind, GATEWAY_ARGUMENTS};

/// The arguments of a `jina gateway` command line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GatewayArgs {
    pub(super) arguments: Vec<Argument>,
    unknown: Vec<String>,
}

/// One argument with its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    /// The first of its names.
    pub(super) name: &'static str,
    pub(super) kind: ArgumentKind,
    pub(super) values: Vec<String>,
}

/// A command line that Python's argparse rejects as well.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Its value is missing.
    #[error("argument --{0}: expected one argument")]
    MissingValue(String),
    /// Its values are missing.
    #[error("argument --{0}: expected at least one argument")]
    MissingValues(String),
    /// A flag with a value.
    #[error("argument --{0}: it takes no value")]
    UnexpectedValue(String),
}

impl GatewayArgs {
    /// Parses `--name value ...`, `--name=value` and unambiguous abbreviations of names. A repeated argument replaces
    /// the earlier one.
    ///
    /// # Errors
    /// If an argument has too few or too many values.
    pub fn parse(command_line: &[String]) -> Result<Self, ArgumentError> {
        let mut args = Self::default();
        let mut words = command_line.iter().peekable();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                continue;
            };
            let (name, value) = option
                .split_once('=')
                .map_or((option, None), |(name, value)| (name, Some(value)));
            let mut values: Vec<String> = value.map(str::to_owned).into_iter().collect();
            while let Some(word) = words.next_if(|word| !word.starts_with("--")) {
                // With `=` there is only one value.
                if value.is_none() {
                    values.push(word.clone());
                }
            }
            match find(name) {
                Some((_, ArgumentKind::Flag)) if value.is_some() => {
                    return Err(ArgumentError::UnexpectedValue(name.to_owned()));
                }
                Some((known, kind)) => args.set(known, kind, name, values)?,
                None => args.unknown.push(format!("--{name}")),
            }
        }
        Ok(args)
    }

    /// The arguments that Jina does not have; they have no effect.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Returns the value of an argument.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let argument = self.arguments.iter().find(|found| found.name == name)?;
        argument.values.first().map(String::as_str)
    }

    fn set(
        &mut self,
        name: &'static str,
        kind: ArgumentKind,
        name_as_given: &str,
        mut values: Vec<String>,
    ) -> Result<(), ArgumentError> {
        match kind {
            ArgumentKind::Text | ArgumentKind::Json if values.is_empty() => {
                return Err(ArgumentError::MissingValue(name_as_given.to_owned()));
            }
            ArgumentKind::List if values.is_empty() => {
                return Err(ArgumentError::MissingValues(name_as_given.to_owned()));
            }
            ArgumentKind::Ignored => return Ok(()),
            ArgumentKind::Text | ArgumentKind::Json => values.truncate(1),
            ArgumentKind::List | ArgumentKind::OptionalList | ArgumentKind::Flag => {}
        }
        self.arguments.retain(|argument| argument.name != name);
        self.arguments.push(Argument { name, kind, values });
        Ok(())
    }
}

impl fmt::Debug for GatewayArgs {
    /// Shows listeners and graph. Other arguments may contain secrets: metadata is usually tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: [&str; 4] = [
            "protocol",
            "port",
            "graph-description",
            "deployments-addresses",
        ];
        let shown = self.arguments.iter();
        f.debug_map()
            .entries(
                shown
                    .filter(|argument| SHOWN.contains(&argument.name))
                    .map(|argument| (argument.name, &argument.values)),
            )
            .finish()
    }
}

/// Finds an argument by one of its names or an abbreviation that fits only one name.
fn find(name: &str) -> Option<(&'static str, ArgumentKind)> {
    let all = || {
        GATEWAY_ARGUMENTS
            .iter()
            .flat_map(|(names, kind)| names.iter().map(move |name| (*name, names[0], *kind)))
    };
    if let Some((_, first, kind)) = all().find(|(known, ..)| *known == name) {
        return Some((first, kind));
    }
    let mut matching = all().filter(|(known, ..)| known.starts_with(name));
    match (matching.next(), matching.next()) {
        (Some((_, first, kind)), None) => Some((first, kind)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<GatewayArgs, ArgumentError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        GatewayArgs::parse(&words)
    }

    fn values<'a>(args: &'a GatewayArgs, name: &str) -> &'a [String] {
        let mut arguments = args.arguments.iter();
        let argument = arguments.find(|argument| argument.name == name);
        argument.map_or(&[], |argument| &argument.values)
    }

    #[test]
    fn command_lines_that_argparse_rejects_are_rejected() {
        for (line, message) in [
            ("--port", "argument --port: expected at least one argument"),
            (
                "--port --cors",
                "argument --port: expected at least one argument",
            ),
            ("--cors --host", "argument --host: expected one argument"),
            ("--cors=1", "argument --cors: it takes no value"),
        ] {
            let error = parse(line).map_err(|error| error.to_string());
            assert_eq!(error, Err(message.to_owned()), "{line}");
        }
        assert!(parse("--uvicorn-kwargs --env").is_ok());
    }

    #[test]
    fn an_exported_manifest_is_parsed() {
        let args = parse(
            "--k8s-namespace default --expose-endpoints {} --protocol HTTP --host 0 --uses HTTPGateway \
             --graph-description {\"enc\":[\"end-gateway\"]} --deployments-addresses {\"enc\":[\"h:1\"]} \
             --timeout-send 2000 --port 8081 --port-monitoring 61841",
        )
        .expect("valid");
        assert_eq!(args.unknown(), [""; 0]);
        assert_eq!(values(&args, "protocol"), ["HTTP"]);
        assert_eq!(values(&args, "port"), ["8081"]);
        assert_eq!(args.value("timeout-send"), Some("2000"));
        assert_eq!(
            args.value("deployments-addresses"),
            Some("{\"enc\":[\"h:1\"]}")
        );
    }

    #[test]
    fn lists_flags_equals_signs_and_abbreviations_are_parsed_as_by_argparse() {
        let line = "--protocol GRPC HTTP --port 1 2 --cors --prefe=5 6 --foo bar --retries -1 -2";
        let args = parse(line).expect("valid");
        assert_eq!(values(&args, "protocol"), ["GRPC", "HTTP"]);
        assert_eq!(values(&args, "port"), ["1", "2"]);
        assert!(
            args.arguments
                .iter()
                .any(|argument| argument.name == "cors")
        );
        assert_eq!(args.value("prefetch"), Some("5"));
        assert_eq!(args.value("retries"), Some("-1"));
        assert_eq!(args.unknown(), ["--foo"]);
    }

    #[test]
    fn the_last_of_several_names_of_an_argument_counts() {
        let args = parse("--host a --ports 1 2 --host-in b --port-expose 3").expect("valid");
        assert_eq!(args.value("host"), Some("b"));
        assert_eq!(values(&args, "port"), ["3"]);
    }

    #[test]
    fn every_name_is_in_the_table_once() {
        let mut names: Vec<&str> = GATEWAY_ARGUMENTS
            .iter()
            .flat_map(|(names, _)| names.iter().copied())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
