//! `flowgate gateway`: the arguments of `jina gateway` -> a Gateway served. What a Jina export calls its Gateway
//! image with works as it stands.

use clap::Args;
use flowgate_config::{Config, GatewayArgs};
use gateway::host::program::{Exit, env, say, say_faults};

use super::serve;

/// Arguments of `flowgate gateway`.
#[derive(Args, Debug)]
#[command(after_help = ARGUMENTS)]
pub(super) struct GatewayCommand {
    /// The arguments of `jina gateway`
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<String>,
}

const ARGUMENTS: &str = "\
The arguments that count, as in Jina 3.13:
  --graph-description JSON      names to the names that follow, from start-gateway to end-gateway
  --deployments-addresses JSON  names to lists of addresses
  --graph-conditions JSON, --deployments-metadata JSON, --deployments-no-reduce JSON
  --protocol P [P ...], --port N [N ...], --host ADDRESS
  --timeout-send MS, --retries N, --prefetch N, --compression NAME
  --title TEXT, --description TEXT, --cors, --no-debug-endpoints, --no-crud-endpoints,
  --expose-endpoints JSON, --ssl-certfile PATH, --ssl-keyfile PATH
Others of Jina's are accepted and change nothing; unknown ones are warned about, as in Jina.";

pub(super) async fn run(command: &GatewayCommand) -> Exit {
    let (args, ignored) = match parse(&command.args) {
        Ok(parsed) => parsed,
        Err(error) => {
            say(&error.to_string());
            return Exit::Usage;
        }
    };
    for argument in ignored {
        tracing::warn!("ignored unknown argument: {argument}");
    }
    match Config::from_gateway_args(&args, &env) {
        Ok(loaded) => serve::serve(loaded).await,
        Err(faults) => {
            say_faults(&faults);
            Exit::Usage
        }
    }
}

/// What Python's argparse refuses as well.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BadArgument {
    #[error("argument --{0}: expected one argument")]
    NoValue(String),
    #[error("argument --{0}: expected at least one argument")]
    NoValues(String),
    #[error("argument --{0}: it takes no value")]
    Value(String),
}

/// Where the value of an argument goes.
#[derive(Clone, Copy)]
enum Takes {
    Text(fn(&mut GatewayArgs) -> &mut Option<String>),
    List(fn(&mut GatewayArgs) -> &mut Vec<String>),
    /// A list that may be empty.
    MaybeList(fn(&mut GatewayArgs) -> &mut Vec<String>),
    Flag(fn(&mut GatewayArgs) -> &mut bool),
    /// Jina's own affair: starting, naming and watching Python processes.
    Nothing,
}

/// Every argument of `jina gateway` (Jina 3.13's parser). Those whose values are JSON are read by the configuration.
const KNOWN: &[(&str, Takes)] = &[
    ("compression", Takes::Text(|args| &mut args.compression)),
    ("cors", Takes::Flag(|args| &mut args.cors)),
    (
        "deployments-addresses",
        Takes::Text(|args| &mut args.deployments_addresses),
    ),
    (
        "deployments-disable-reduce",
        Takes::Text(|args| &mut args.deployments_no_reduce),
    ),
    (
        "deployments-metadata",
        Takes::Text(|args| &mut args.deployments_metadata),
    ),
    (
        "deployments-no-reduce",
        Takes::Text(|args| &mut args.deployments_no_reduce),
    ),
    ("description", Takes::Text(|args| &mut args.description)),
    ("docker-kwargs", Takes::Nothing),
    ("entrypoint", Takes::Nothing),
    ("env", Takes::Nothing),
    (
        "expose-endpoints",
        Takes::Text(|args| &mut args.expose_endpoints),
    ),
    (
        "expose-graphql-endpoint",
        Takes::Flag(|args| &mut args.expose_graphql_endpoint),
    ),
    ("floating", Takes::Nothing),
    (
        "graph-conditions",
        Takes::Text(|args| &mut args.graph_conditions),
    ),
    (
        "graph-description",
        Takes::Text(|args| &mut args.graph_description),
    ),
    (
        "grpc-server-options",
        Takes::Text(|args| &mut args.grpc_server_options),
    ),
    ("host", Takes::Text(|args| &mut args.host)),
    ("host-in", Takes::Text(|args| &mut args.host)),
    ("k8s-namespace", Takes::Nothing),
    ("log-config", Takes::Nothing),
    ("metrics", Takes::Flag(|args| &mut args.metrics)),
    ("metrics-exporter-host", Takes::Nothing),
    ("metrics-exporter-port", Takes::Nothing),
    ("monitoring", Takes::Flag(|args| &mut args.monitoring)),
    ("name", Takes::Text(|args| &mut args.name)),
    ("native", Takes::Nothing),
    (
        "no-crud-endpoints",
        Takes::Flag(|args| &mut args.no_crud_endpoints),
    ),
    (
        "no-debug-endpoints",
        Takes::Flag(|args| &mut args.no_debug_endpoints),
    ),
    ("port", Takes::List(|args| &mut args.port)),
    ("port-expose", Takes::List(|args| &mut args.port)),
    ("port-in", Takes::List(|args| &mut args.port)),
    ("port-monitoring", Takes::Nothing),
    ("ports", Takes::List(|args| &mut args.port)),
    ("prefetch", Takes::Text(|args| &mut args.prefetch)),
    ("protocol", Takes::List(|args| &mut args.protocol)),
    ("protocols", Takes::List(|args| &mut args.protocol)),
    ("proxy", Takes::Flag(|args| &mut args.proxy)),
    ("py-modules", Takes::Nothing),
    ("quiet", Takes::Nothing),
    ("quiet-error", Takes::Nothing),
    ("reload", Takes::Nothing),
    ("retries", Takes::Text(|args| &mut args.retries)),
    ("runtime-cls", Takes::Nothing),
    ("ssl-certfile", Takes::Text(|args| &mut args.ssl_certfile)),
    ("ssl-keyfile", Takes::Text(|args| &mut args.ssl_keyfile)),
    ("timeout-ctrl", Takes::Nothing),
    ("timeout-ready", Takes::Nothing),
    ("timeout-send", Takes::Text(|args| &mut args.timeout_send)),
    ("title", Takes::Text(|args| &mut args.title)),
    ("traces-exporter-host", Takes::Nothing),
    ("traces-exporter-port", Takes::Nothing),
    ("tracing", Takes::Flag(|args| &mut args.tracing)),
    ("uses", Takes::Text(|args| &mut args.uses)),
    ("uses-with", Takes::Nothing),
    (
        "uvicorn-kwargs",
        Takes::MaybeList(|args| &mut args.uvicorn_kwargs),
    ),
    ("workspace", Takes::Nothing),
];

/// Reads the arguments as Python's argparse does: `--name value ...`, `--name=value`, unambiguous beginnings of names.
/// Gives back the names that nobody knows.
fn parse(given: &[String]) -> Result<(GatewayArgs, Vec<String>), BadArgument> {
    let mut args = GatewayArgs::default();
    let mut unknown = Vec::new();
    let mut words = given.iter().peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--") else {
            continue;
        };
        let (name, value) = option
            .split_once('=')
            .map_or((option, None), |(name, value)| (name, Some(value)));
        let mut values: Vec<&str> = value.into_iter().collect();
        while let Some(word) = words.next_if(|word| !word.starts_with("--")) {
            // With `=` there is one value and no more.
            if value.is_none() {
                values.push(word);
            }
        }
        match find(name) {
            Some(Takes::Flag(_)) if value.is_some() => {
                return Err(BadArgument::Value(name.to_owned()));
            }
            Some(takes) => take(&mut args, takes, name, &values)?,
            None => unknown.push(format!("--{name}")),
        }
    }
    Ok((args, unknown))
}

/// What is said last counts.
fn take(
    args: &mut GatewayArgs,
    takes: Takes,
    name: &str,
    values: &[&str],
) -> Result<(), BadArgument> {
    match takes {
        Takes::Text(text) => match values.first() {
            Some(&value) => *text(args) = Some(value.to_owned()),
            None => return Err(BadArgument::NoValue(name.to_owned())),
        },
        Takes::List(_) if values.is_empty() => return Err(BadArgument::NoValues(name.to_owned())),
        Takes::List(list) | Takes::MaybeList(list) => {
            *list(args) = values.iter().map(|&value| value.to_owned()).collect()
        }
        Takes::Flag(flag) => *flag(args) = true,
        Takes::Nothing => {}
    }
    Ok(())
}

fn find(name: &str) -> Option<Takes> {
    if let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == name) {
        return Some(*takes);
    }
    let mut beginning = KNOWN.iter().filter(|(known, _)| known.starts_with(name));
    match (beginning.next(), beginning.next()) {
        (Some((_, takes)), None) => Some(*takes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn parsed(line: &str) -> (GatewayArgs, Vec<String>) {
        parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn what_argparse_refuses_is_refused() {
        for (line, said) in [
            ("--port", "argument --port: expected at least one argument"),
            (
                "--port --cors",
                "argument --port: expected at least one argument",
            ),
            ("--cors --host", "argument --host: expected one argument"),
            ("--cors=1", "argument --cors: it takes no value"),
        ] {
            let error = parse(&words(line)).map_err(|error| error.to_string());
            assert_eq!(error, Err(said.to_owned()), "{line}");
        }
        assert!(parse(&words("--uvicorn-kwargs --env")).is_ok());
    }

    #[test]
    fn an_exported_manifest_is_understood() {
        let (args, unknown) = parsed(
            "--k8s-namespace default --expose-endpoints {} --protocol HTTP --host 0 --uses HTTPGateway \
             --graph-description {\"enc\":[\"end-gateway\"]} --deployments-addresses {\"enc\":[\"h:1\"]} \
             --timeout-send 2000 --port 8081 --port-monitoring 61841",
        );
        assert_eq!(unknown, Vec::<String>::new());
        assert_eq!(args.protocol, ["HTTP"]);
        assert_eq!(args.port, ["8081"]);
        assert_eq!(args.timeout_send.as_deref(), Some("2000"));
        assert_eq!(
            args.deployments_addresses.as_deref(),
            Some("{\"enc\":[\"h:1\"]}")
        );
    }

    #[test]
    fn lists_flags_equals_signs_and_beginnings_are_read_as_argparse_does() {
        let (args, unknown) =
            parsed("--protocol GRPC HTTP --port 1 2 --cors --prefe=5 6 --foo bar --retries -1 -2");
        assert_eq!(args.protocol, ["GRPC", "HTTP"]);
        assert_eq!(args.port, ["1", "2"]);
        assert!(args.cors);
        assert_eq!(args.prefetch.as_deref(), Some("5"));
        assert_eq!(args.retries.as_deref(), Some("-1"));
        assert_eq!(unknown, ["--foo"]);
    }
}
