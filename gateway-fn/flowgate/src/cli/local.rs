//! `flowgate local`: reads the arguments, starts the [`flowgate_local`] emulator, and prints its addresses with
//! commands to try.

mod flow;

use std::{io, net::IpAddr, path::Path, time::Duration};

use clap::{ArgGroup, Args};
use flowgate_local::{
    Addresses, Emulator, FunctionOptions, Options, RouteResponses, RouteSelection, RuntimeSource,
    Signatures, StartError, Target, Timeouts,
};
use flowgate_proto::with_causes;
use gateway::host::program::{Exit, env, print_error};

/// Arguments of `flowgate local`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("target").args(["endpoint", "bootstrap", "runtime_api"]).required(true).multiple(true))]
pub(super) struct LocalArgs {
    /// Invoke a function at another Lambda endpoint, http://HOST:PORT: cargo lambda watch, sam local start-lambda or
    /// the runtime interface emulator
    #[arg(long, value_name = "URL", requires = "function", conflicts_with_all = ["bootstrap", "runtime_api"])]
    endpoint: Option<String>,
    /// The function's name at --endpoint (`function` for the runtime interface emulator)
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    function: Option<String>,
    /// A function's bootstrap, which is started for its invocations. The first function is behind the APIs; it can
    /// invoke the others. The default NAME is the file name, or the directory name if the file is named `bootstrap`
    #[arg(long, value_name = "[NAME=]PATH")]
    bootstrap: Vec<String>,
    /// A function whose runtime you start yourself, for example in a debugger; the variables that it needs are printed
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "function")]
    runtime_api: Vec<String>,
    /// Set FLOWGATE_FLOW for the function behind the APIs
    #[arg(long, value_name = "FLOW.yml")]
    flow: Option<String>,
    /// Set an environment variable for every function, or for the function NAME
    #[arg(long, value_name = "[NAME:]KEY=VALUE")]
    env: Vec<String>,
    /// The memory size that functions see, in MiB; it is not enforced
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    memory: u32,
    /// The timeout of one invocation, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    /// The maximum number of concurrent processes per function; further invocations are throttled
    #[arg(long, value_name = "N", default_value_t = 10)]
    concurrency: usize,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port of the HTTP API; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    http: u16,
    /// The port of the WebSocket API and its @connections; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 3001)]
    websocket: u16,
    /// The port of Lambda's Invoke API; 0 picks a free port
    #[arg(long, value_name = "PORT", default_value_t = 3002)]
    lambda: u16,
    /// The stage of both APIs; every path begins with it, unless it is $default
    #[arg(long, default_value = "$default")]
    stage: String,
    /// A route of the WebSocket API besides $connect, $disconnect and $default
    #[arg(long, value_name = "KEY")]
    route: Vec<String>,
    /// The field of a WebSocket message that names its route
    #[arg(
        long,
        value_name = "EXPRESSION",
        default_value = "$request.body.action"
    )]
    route_selection_expression: RouteSelection,
    /// Do not send the function's responses to WebSocket clients
    #[arg(long)]
    no_route_response: bool,
    /// Accept unsigned calls of @connections
    #[arg(long)]
    unsigned: bool,
    /// Multiply all of AWS's timeouts: with 0.01 an idle WebSocket closes after 6 s
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_factor: f64,
    /// The timeout of an HTTP request, in seconds (30 on AWS)
    #[arg(long, value_name = "SECONDS")]
    http_timeout: Option<f64>,
    /// The timeout of a WebSocket message, in seconds (29 on AWS)
    #[arg(long, value_name = "SECONDS")]
    websocket_timeout: Option<f64>,
    /// How long a WebSocket may be idle, in seconds (600 on AWS)
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<f64>,
    /// How long a WebSocket may stay open, in seconds (7200 on AWS)
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
}

pub(super) async fn run(args: &LocalArgs) -> Exit {
    let options = match args.options() {
        Ok(options) => options,
        Err(reason) => return start_failed(&StartError::InvalidOption { reason }),
    };
    if let Err(exit) = flow::check(&options) {
        return exit;
    }
    let path_prefix = options.path_prefix();
    let emulator = match Emulator::start(options).await {
        Ok(emulator) => emulator,
        Err(error) => return start_failed(&error),
    };
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => {
            print_error(&with_causes(&error));
            return Exit::Failed;
        }
    };
    if !args.host.is_loopback() {
        tracing::warn!(host = %args.host, "other machines can invoke the function: callers are not authenticated");
    }
    print(&args.banner(emulator.addresses(), &path_prefix));
    stop.await;
    emulator.stop().await;
    Exit::Clean
}

fn start_failed(error: &StartError) -> Exit {
    print_error(&with_causes(error));
    match error {
        StartError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::PortTaken
        }
        StartError::Bind { .. } => Exit::Failed,
        StartError::InvalidOption { .. } => Exit::Usage,
    }
}

/// The variables that bootstraps inherit: the Flow, and what programs need to start and to log.
const INHERITED_VARIABLES: &[&str] = &[
    "FLOWGATE_FLOW",
    "FLOWGATE_LOG",
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TMPDIR",
];

impl LocalArgs {
    fn options(&self) -> Result<Options, String> {
        let mut options = Options::new(self.target()?);
        options.host = self.host;
        options.http_port = self.http;
        options.websocket_port = self.websocket;
        options.lambda_port = self.lambda;
        options.stage.clone_from(&self.stage);
        options.routes.clone_from(&self.route);
        options.route_selection = self.route_selection_expression.clone();
        if self.no_route_response {
            options.route_responses = RouteResponses::Disabled;
        }
        if self.unsigned {
            options.signatures = Signatures::Optional;
        }
        options.timeouts = self.timeouts()?;
        Ok(options)
    }

    fn timeouts(&self) -> Result<Timeouts, String> {
        let factor = self.time_factor;
        if !(factor > 0.0 && factor <= 1000.0) {
            return Err(format!(
                "--time-factor {factor} is out of range (more than 0, up to 1000)"
            ));
        }
        let mut timeouts = Timeouts::default().scaled(factor);
        for (timeout, option, seconds) in [
            (&mut timeouts.http, "--http-timeout", self.http_timeout),
            (
                &mut timeouts.websocket,
                "--websocket-timeout",
                self.websocket_timeout,
            ),
            (
                &mut timeouts.websocket_idle,
                "--idle-timeout",
                self.idle_timeout,
            ),
            (
                &mut timeouts.websocket_duration,
                "--duration",
                self.duration,
            ),
        ] {
            if let Some(seconds) = seconds {
                *timeout = parse_seconds(option, seconds)?;
            }
        }
        Ok(timeouts)
    }

    fn target(&self) -> Result<Target, String> {
        if let (Some(url), Some(function)) = (&self.endpoint, &self.function) {
            return Ok(Target::Endpoint {
                url: url.clone(),
                function: function.clone(),
            });
        }
        let mut functions = Vec::new();
        for bootstrap in &self.bootstrap {
            let (name, path) = parse_bootstrap(bootstrap)?;
            let runtime = RuntimeSource::Bootstrap(path.into());
            functions.push(self.function(name, runtime)?);
        }
        for name in &self.runtime_api {
            functions.push(self.function(name.clone(), RuntimeSource::External)?);
        }
        for assignment in &self.env {
            set_variable(&mut functions, assignment)?;
        }
        if let (Some(flow), Some(first)) = (&self.flow, functions.first_mut()) {
            let flow =
                std::path::absolute(flow).map_err(|error| format!("--flow {flow}: {error}"))?;
            let flow = flow.to_string_lossy().into_owned();
            first.env.push(("FLOWGATE_FLOW".to_owned(), flow));
        }
        Ok(Target::Functions(functions))
    }

    fn function(&self, name: String, runtime: RuntimeSource) -> Result<FunctionOptions, String> {
        let mut function = FunctionOptions::new(name, runtime);
        function.memory_mib = self.memory;
        function.timeout = parse_seconds("--timeout", self.timeout)?;
        function.concurrency = self.concurrency;
        function.env = inherited_variables();
        Ok(function)
    }

    /// Returns the text for the terminal: the addresses, the variables for external runtimes, and commands to try.
    fn banner(&self, addresses: Addresses, path_prefix: &str) -> String {
        let http = format!("http://{}{path_prefix}", addresses.http);
        let websocket = format!("{}{path_prefix}", addresses.websocket);
        let lambda = addresses.lambda.map(|lambda| lambda.to_string());
        let mut lines = vec![
            format!("Flowgate {} local", env!("CARGO_PKG_VERSION")),
            String::new(),
            format!("  HTTP API      {http}"),
            format!("  WebSocket API ws://{websocket}"),
            format!("  @connections  http://{websocket}/@connections/ID"),
        ];
        if let Some(lambda) = &lambda {
            lines.push(format!("  Lambda        http://{lambda}"));
            for (position, name) in self.runtime_api.iter().enumerate() {
                let runtime_api = match position {
                    0 => lambda.clone(),
                    _ => format!("http://{lambda}/.rt/{name}"),
                };
                lines.push(format!("\nSet these variables for the runtime of {name}:"));
                let variables = self.runtime_variables(name, &runtime_api, &websocket, lambda);
                lines.extend(
                    variables
                        .iter()
                        .map(|variable| format!("  export {variable}")),
                );
            }
        }
        if self.endpoint.is_some() {
            lines.push("\nTo use @connections, the function needs:".to_owned());
            lines.push(format!("  export {}", connections_variable(&websocket)));
        }
        let body = "{\"data\":[{\"text\":\"hello\"}],\"execEndpoint\":\"/\"}";
        lines.extend([
            "\nTry it:".to_owned(),
            format!("  curl -s {http}/post -H 'content-type: application/json' -d '{body}'"),
            format!("  npx wscat -c ws://{websocket} -w 2 -x '{body}'\n"),
        ]);
        lines.join("\n")
    }

    fn runtime_variables(
        &self,
        name: &str,
        runtime_api: &str,
        websocket: &str,
        lambda: &str,
    ) -> [String; 8] {
        [
            format!("AWS_LAMBDA_RUNTIME_API={runtime_api}"),
            format!("AWS_LAMBDA_FUNCTION_NAME={name}"),
            "AWS_LAMBDA_FUNCTION_VERSION='$LATEST'".to_owned(),
            format!("AWS_LAMBDA_FUNCTION_MEMORY_SIZE={}", self.memory),
            // Without it the function would write lines about invocations beside the emulator's.
            "AWS_SAM_LOCAL=true".to_owned(),
            "AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local".to_owned(),
            connections_variable(websocket),
            format!("AWS_ENDPOINT_URL_LAMBDA=http://{lambda}"),
        ]
    }
}

fn connections_variable(websocket: &str) -> String {
    format!("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI=http://{websocket}")
}

/// Returns this process's [`INHERITED_VARIABLES`]. The path of a Flow is made absolute, because a function runs in its
/// own directory.
fn inherited_variables() -> Vec<(String, String)> {
    let inherited = INHERITED_VARIABLES.iter();
    let inherited = inherited.filter_map(|&name| Some((name.to_owned(), env(name)?)));
    inherited
        .map(|(name, value)| {
            let is_path = name == "FLOWGATE_FLOW" && Path::new(&value).is_file();
            let absolute = is_path.then(|| std::path::absolute(&value).ok()).flatten();
            let absolute = absolute.map(|path| path.to_string_lossy().into_owned());
            (name, absolute.unwrap_or(value))
        })
        .collect()
}

/// Reads `[NAME=]PATH`. cargo-lambda puts each function's bootstrap into a directory with the function's name.
fn parse_bootstrap(bootstrap: &str) -> Result<(String, &str), String> {
    if let Some((name, path)) = bootstrap.split_once('=') {
        return Ok((name.to_owned(), path));
    }
    let path = Path::new(bootstrap);
    let file = path.file_name().and_then(|name| name.to_str());
    let name = match file {
        Some("bootstrap") => {
            let path = std::path::absolute(path).ok();
            let directory = path.as_deref().and_then(Path::parent);
            let name = directory.and_then(Path::file_name);
            name.map(|name| name.to_string_lossy().into_owned())
        }
        file => file.map(str::to_owned),
    };
    let name = name.ok_or_else(|| format!("--bootstrap {bootstrap}: the path has no file name"))?;
    Ok((name, bootstrap))
}

/// Sets `[NAME:]KEY=VALUE` for the functions that it applies to. The value may be a secret, and is in no error message.
fn set_variable(functions: &mut [FunctionOptions], assignment: &str) -> Result<(), String> {
    let (target, value) = assignment
        .split_once('=')
        .ok_or("--env: an argument is not of the form [NAME:]KEY=VALUE")?;
    let (function_name, key) = match target.split_once(':') {
        Some((function_name, key)) => (Some(function_name), key),
        None => (None, target),
    };
    let mut is_set = false;
    for function in functions {
        if function_name.is_none_or(|name| name == function.name) {
            function.env.push((key.to_owned(), value.to_owned()));
            is_set = true;
        }
    }
    match is_set {
        true => Ok(()),
        false => Err(format!("--env {target}: there is no such function")),
    }
}

fn parse_seconds(option: &str, seconds: f64) -> Result<Duration, String> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| format!("{option} {seconds} is not a positive number of seconds"))
}

#[expect(
    clippy::print_stdout,
    reason = "the addresses are for the person who started it"
)]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: LocalArgs,
    }

    fn options(line: &str) -> Result<Options, String> {
        let words = ["local"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.options()
    }

    #[test]
    fn functions_are_named_after_their_files_and_directories() {
        let line = "--bootstrap target/lambda/gateway-fn/bootstrap --bootstrap a/executor-fn --bootstrap x=y \
                    --runtime-api --env A=1 --env x:B=2=3 --timeout 0.5";
        let Target::Functions(functions) = options(line).expect("valid").target else {
            panic!("functions")
        };
        let names: Vec<_> = functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        assert_eq!(names, ["gateway-fn", "executor-fn", "x", "function"]);
        assert_eq!(functions[0].timeout, Duration::from_millis(500));
        let has = |position: usize, key: &str| {
            functions[position].env.iter().any(|(name, _)| name == key)
        };
        assert!(has(0, "A") && has(2, "A") && has(2, "B") && !has(0, "B"));
    }

    #[test]
    fn the_variables_for_a_runtime_say_that_it_is_emulated() {
        let line = Line::try_parse_from(["local", "--runtime-api", "f"]).expect("valid");
        let address = "127.0.0.1:1".parse().expect("an address");
        let addresses = Addresses {
            http: address,
            websocket: address,
            lambda: Some(address),
        };
        let banner = line.args.banner(addresses, "");
        assert!(banner.contains("export AWS_SAM_LOCAL=true\n"), "{banner}");
    }

    #[test]
    fn timeouts_are_scaled_unless_given() {
        let timeouts = options("--runtime-api f --time-factor 0.01 --idle-timeout 1")
            .expect("valid")
            .timeouts;
        assert_eq!(timeouts.websocket, Duration::from_millis(290));
        assert_eq!(timeouts.websocket_idle, Duration::from_secs(1));
    }

    #[test]
    fn errors_do_not_contain_a_variables_value() {
        for line in [
            "--runtime-api f --env g:A=secret",
            "--runtime-api f --env secret",
        ] {
            let error = options(line).expect_err(line);
            assert!(
                error.contains("--env") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn invalid_arguments_are_rejected() {
        for line in [
            "",
            "--endpoint http://h:1",
            "--endpoint http://h:1 --function f --bootstrap b",
            "--runtime-api f --time-factor 0",
            "--runtime-api f --timeout -1",
            "--runtime-api f --env novalue",
            "--runtime-api f --env g:A=1",
            "--runtime-api f --route-selection-expression $request.header.a",
        ] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
