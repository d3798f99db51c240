//! `flowgate local`: arguments -> [`flowgate_local`] served until a signal, and what to try on it.

use std::{io, net::IpAddr, path::Path, time::Duration};

use clap::{ArgGroup, Args};
use flowgate_local::{
    Addresses, Function, Local, Options, RouteResponses, RouteSelection, Signatures, Source,
    StartError, Target, Times,
};
use flowgate_proto::with_causes;
use gateway::host::program::{Exit, env, say};

/// Arguments of `flowgate local`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("behind").args(["endpoint", "bootstrap", "runtime_api"]).required(true).multiple(true))]
pub(super) struct LocalArgs {
    /// A Lambda Invoke endpoint, http://HOST:PORT: cargo lambda watch, sam local start-lambda, the runtime emulator
    #[arg(long, value_name = "URL", requires = "function", conflicts_with_all = ["bootstrap", "runtime_api"])]
    endpoint: Option<String>,
    /// The function's name there (the runtime emulator calls every one `function`)
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    function: Option<String>,
    /// A bootstrap to start for invocations; the first is behind the APIs, the others it may invoke. Without a name it
    /// has its file's, or its folder's where the file is `bootstrap`
    #[arg(long, value_name = "[NAME=]PATH")]
    bootstrap: Vec<String>,
    /// A function whose runtime is started by hand, perhaps in a debugger; what it needs is printed
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "function")]
    runtime_api: Vec<String>,
    /// The Flow for the function behind the APIs: FLOWGATE_FLOW
    #[arg(long, value_name = "FLOW.yml")]
    flow: Option<String>,
    /// A variable for every bootstrap, or for the named one
    #[arg(long, value_name = "[NAME:]KEY=VALUE")]
    env: Vec<String>,
    /// What a function is told of its memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    memory: u32,
    /// How long one invocation may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    timeout: f64,
    /// Processes of one function at once; further invocations are throttled
    #[arg(long, value_name = "N", default_value_t = 10)]
    concurrency: usize,
    /// The address to listen at
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The HTTP API's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 3000)]
    http: u16,
    /// The port of the WebSocket API and its @connections; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 3001)]
    websocket: u16,
    /// The port of Lambda's Invoke API; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 3002)]
    lambda: u16,
    /// The stage of both APIs; one with a name is the beginning of every path
    #[arg(long, default_value = "$default")]
    stage: String,
    /// A route of the WebSocket API beside $connect, $disconnect and $default
    #[arg(long, value_name = "KEY")]
    route: Vec<String>,
    /// Where a message names its route
    #[arg(
        long,
        value_name = "EXPRESSION",
        default_value = "$request.body.action"
    )]
    route_selection_expression: RouteSelection,
    /// Answers to messages do not go back to the client
    #[arg(long)]
    no_route_response: bool,
    /// Calls of @connections need no signature
    #[arg(long)]
    unsigned: bool,
    /// Multiplies all of AWS's times: with 0.01 an idle WebSocket closes after 6 s
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    time_factor: f64,
    /// How long a request of the HTTP API may take, in seconds (30 on AWS)
    #[arg(long, value_name = "SECONDS")]
    http_timeout: Option<f64>,
    /// How long a WebSocket's message may take, in seconds (29 on AWS)
    #[arg(long, value_name = "SECONDS")]
    websocket_timeout: Option<f64>,
    /// How long a WebSocket may be idle, in seconds (600 on AWS)
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<f64>,
    /// How long a WebSocket may be open, in seconds (7200 on AWS)
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,
}

pub(super) async fn run(args: &LocalArgs) -> Exit {
    let started = match args.options() {
        Ok(options) => Local::start(options).await,
        Err(what) => Err(StartError::Options { what }),
    };
    let local = match started {
        Ok(local) => local,
        Err(error) => return failed(&error),
    };
    let stop = match executor_fn::stop_signal() {
        Ok(stop) => stop,
        Err(error) => {
            say(&with_causes(&error));
            return Exit::Failed;
        }
    };
    if !args.host.is_loopback() {
        tracing::warn!("anybody who reaches {} may invoke the function", args.host);
    }
    print(&args.said(local.addresses()));
    stop.await;
    local.stop().await;
    Exit::Clean
}

fn failed(error: &StartError) -> Exit {
    say(&with_causes(error));
    match error {
        StartError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            Exit::PortTaken
        }
        StartError::Bind { .. } => Exit::Failed,
        StartError::Options { .. } => Exit::Usage,
    }
}

/// What a bootstrap gets of this process's environment: what programs need to run at all, and to say more.
const INHERITED: &[&str] = &[
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
            options.route_responses = RouteResponses::Dropped;
        }
        if self.unsigned {
            options.signatures = Signatures::NotDemanded;
        }
        options.times = self.times()?;
        Ok(options)
    }

    fn times(&self) -> Result<Times, String> {
        if !(self.time_factor > 0.0 && self.time_factor <= 1000.0) {
            return Err(format!("--time-factor {} makes no time", self.time_factor));
        }
        let mut times = Times::default().scaled(self.time_factor);
        for (own, given) in [
            (&mut times.http, self.http_timeout),
            (&mut times.websocket, self.websocket_timeout),
            (&mut times.idle, self.idle_timeout),
            (&mut times.duration, self.duration),
        ] {
            if let Some(given) = given {
                *own = seconds(given)?;
            }
        }
        Ok(times)
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
            let (name, path) = named(bootstrap)?;
            functions.push(self.function(name, Source::Bootstrap(path.into()))?);
        }
        for name in &self.runtime_api {
            functions.push(self.function(name.clone(), Source::ByHand)?);
        }
        for given in &self.env {
            set(&mut functions, given)?;
        }
        if let (Some(flow), Some(front)) = (&self.flow, functions.first_mut()) {
            let flow =
                std::path::absolute(flow).map_err(|error| format!("--flow {flow}: {error}"))?;
            let flow = flow.to_string_lossy().into_owned();
            front.env.push(("FLOWGATE_FLOW".to_owned(), flow));
        }
        Ok(Target::Functions(functions))
    }

    fn function(&self, name: String, source: Source) -> Result<Function, String> {
        let mut function = Function::new(name, source);
        function.memory = self.memory;
        function.timeout = seconds(self.timeout)?;
        function.concurrency = self.concurrency;
        let inherited = INHERITED.iter();
        let inherited = inherited.filter_map(|&name| Some((name.to_owned(), env(name)?)));
        function.env.extend(inherited.map(|(name, value)| {
            // The function has a folder of its own.
            let is_file = name == "FLOWGATE_FLOW" && Path::new(&value).is_file();
            let absolute = is_file.then(|| std::path::absolute(&value).ok()).flatten();
            let absolute = absolute.map(|path| path.to_string_lossy().into_owned());
            (name, absolute.unwrap_or(value))
        }));
        Ok(function)
    }

    /// What the person at the terminal is told.
    fn said(&self, addresses: Addresses) -> String {
        let stage = match self.stage.as_str() {
            "$default" => String::new(),
            stage => format!("/{stage}"),
        };
        let http = format!("http://{}{stage}", addresses.http);
        let websocket = format!("{}{stage}", addresses.websocket);
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
        }
        for (place, name) in self.runtime_api.iter().enumerate() {
            let api = match (&lambda, place) {
                (Some(lambda), 0) => lambda.clone(),
                (Some(lambda), _) => format!("http://{lambda}/.rt/{name}"),
                (None, _) => continue,
            };
            lines.push(format!("\nThe runtime of {name} needs:"));
            lines.extend(self.variables(name, &api, &websocket, lambda.as_deref()));
        }
        if self.endpoint.is_some() {
            lines.push("\nA function that answers WebSockets needs:".to_owned());
            lines.push(format!("  export {}", connections(&websocket)));
        }
        let body = "{\"data\":[{\"text\":\"hello\"}],\"execEndpoint\":\"/\"}";
        lines.extend([
            "\nTry it:".to_owned(),
            format!("  curl -s {http}/post -H 'content-type: application/json' -d '{body}'"),
            format!("  npx wscat -c ws://{websocket} -w 2 -x '{body}'\n"),
        ]);
        lines.join("\n")
    }

    fn variables(
        &self,
        name: &str,
        api: &str,
        websocket: &str,
        lambda: Option<&str>,
    ) -> Vec<String> {
        let mut variables = vec![
            format!("AWS_LAMBDA_RUNTIME_API={api}"),
            format!("AWS_LAMBDA_FUNCTION_NAME={name}"),
            "AWS_LAMBDA_FUNCTION_VERSION='$LATEST'".to_owned(),
            format!("AWS_LAMBDA_FUNCTION_MEMORY_SIZE={}", self.memory),
            "AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local".to_owned(),
            connections(websocket),
        ];
        variables.extend(lambda.map(|lambda| format!("AWS_ENDPOINT_URL_LAMBDA=http://{lambda}")));
        variables
            .iter()
            .map(|line| format!("  export {line}"))
            .collect()
    }
}

fn connections(websocket: &str) -> String {
    format!("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI=http://{websocket}")
}

/// `[NAME=]PATH`: cargo-lambda puts a function's bootstrap into a folder of the function's name.
fn named(bootstrap: &str) -> Result<(String, &str), String> {
    if let Some((name, path)) = bootstrap.split_once('=') {
        return Ok((name.to_owned(), path));
    }
    let path = Path::new(bootstrap);
    let file = path.file_name().and_then(|name| name.to_str());
    let name = match file {
        Some("bootstrap") => {
            let folder = std::path::absolute(path).ok();
            let folder = folder
                .as_deref()
                .and_then(Path::parent)
                .and_then(Path::file_name);
            folder.map(|name| name.to_string_lossy().into_owned())
        }
        file => file.map(str::to_owned),
    };
    let name = name.ok_or_else(|| format!("--bootstrap {bootstrap:?} names no file"))?;
    Ok((name, bootstrap))
}

/// Gives a variable to the functions that it is for. Its value may be a secret, and is in no fault.
fn set(functions: &mut [Function], given: &str) -> Result<(), String> {
    let (key, value) = given
        .split_once('=')
        .ok_or("an --env is not of the form KEY=VALUE")?;
    let (only, name) = key
        .split_once(':')
        .map_or((None, key), |(function, name)| (Some(function), name));
    let is_meant = |function: &Function| only.is_none_or(|only| only == function.name);
    let mut found = false;
    for function in functions.iter_mut().filter(|function| is_meant(function)) {
        function.env.push((name.to_owned(), value.to_owned()));
        found = true;
    }
    found
        .then_some(())
        .ok_or_else(|| format!("--env {key} names no function"))
}

fn seconds(given: f64) -> Result<Duration, String> {
    let duration = Duration::try_from_secs_f64(given).ok();
    let duration = duration.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| format!("{given} is no number of seconds"))
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
    fn functions_are_named_by_their_files_and_folders() {
        let line = "--bootstrap target/lambda/gateway-fn/bootstrap --bootstrap a/executor-fn --bootstrap x=y \
                    --runtime-api --env A=1 --env x:B=2=3 --timeout 0.5";
        let Target::Functions(functions) = options(line).expect("holds").target else {
            panic!("functions")
        };
        let names: Vec<_> = functions
            .iter()
            .map(|function| function.name.as_str())
            .collect();
        assert_eq!(names, ["gateway-fn", "executor-fn", "x", "function"]);
        assert_eq!(functions[0].timeout, Duration::from_millis(500));
        let has =
            |place: usize, key: &str| functions[place].env.iter().any(|(name, _)| name == key);
        assert!(has(0, "A") && has(2, "A") && has(2, "B") && !has(0, "B"));
    }

    #[test]
    fn times_are_aws_times_the_factor_unless_given() {
        let times = options("--runtime-api f --time-factor 0.01 --idle-timeout 1")
            .expect("holds")
            .times;
        assert_eq!(times.websocket, Duration::from_millis(290));
        assert_eq!(times.idle, Duration::from_secs(1));
    }

    #[test]
    fn faults_do_not_say_what_a_variable_is() {
        for line in [
            "--runtime-api f --env g:A=secret",
            "--runtime-api f --env secret",
        ] {
            let fault = options(line).expect_err(line);
            assert!(
                fault.contains("--env") && !fault.contains("secret"),
                "{fault}"
            );
        }
    }

    #[test]
    fn what_does_not_hold_is_refused() {
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
