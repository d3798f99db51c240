//! The settings of the emulator and their checks. The defaults are AWS's limits and the usual local ports.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use flowgate_proto::limits;
use http::Uri;

use crate::stage;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on. The default is loopback, because callers are not authenticated.
    pub host: IpAddr,
    /// The port of the HTTP API; 3000 by default, as for `sam local start-api`; 0 picks a free port.
    pub http_port: u16,
    /// The port of the WebSocket API; 3001 by default; 0 picks a free port.
    pub websocket_port: u16,
    /// The port of Lambda's APIs; 3002 by default; 0 picks a free port.
    pub lambda_port: u16,
    /// The function behind the APIs.
    pub target: Target,
    /// The stage of both APIs: `$default`, which is no part of any path, or a name with which every path begins.
    pub stage: String,
    /// Route keys of the WebSocket API besides `$connect`, `$disconnect` and `$default`.
    pub routes: Vec<String>,
    /// Which field of a WebSocket message names its route.
    pub route_selection: RouteSelection,
    /// Whether the function's response to a WebSocket message goes to the client.
    pub route_responses: RouteResponses,
    /// Whether calls of `@connections` must be signed.
    pub signatures: Signatures,
    /// Timeouts and retry delays.
    pub timeouts: Timeouts,
    /// Maximum number of open connections per port; 1000 by default, far below the usual limit of open files. Further
    /// connections wait to be accepted.
    pub max_connections: usize,
    /// Maximum number of queued invocations per function, synchronous and asynchronous; 100 by default. Further
    /// invocations are throttled.
    pub max_queued: usize,
}

/// The function behind the APIs.
#[derive(Clone, Debug)]
pub enum Target {
    /// A function at another Lambda Invoke endpoint: `cargo lambda watch`, `sam local start-lambda` or the runtime
    /// interface emulator.
    Endpoint {
        /// `http://HOST:PORT`, with or without a path.
        url: String,
        /// The function's name at the endpoint.
        function: String,
    },
    /// Functions that the emulator runs. The first is behind the APIs; all of them can be invoked by name.
    Functions(Vec<FunctionOptions>),
}

/// The settings of a function that the emulator runs.
#[derive(Clone, Debug)]
pub struct FunctionOptions {
    /// The function's name: letters, digits, `-` and `_`.
    pub name: String,
    /// How the function's runtimes are started.
    pub runtime: RuntimeSource,
    /// Environment variables besides those that Lambda sets. The emulator's own environment is not inherited.
    pub env: Vec<(String, String)>,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`; 128 by default, as on Lambda. The limit is not enforced.
    pub memory_mib: u32,
    /// The timeout of one invocation; 3 s by default, as on Lambda.
    pub timeout: Duration,
    /// Maximum number of concurrent processes, 10 by default. Further synchronous invocations are throttled, as with
    /// reserved concurrency.
    pub concurrency: usize,
}

/// How a function's runtimes are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeSource {
    /// The emulator starts this program whenever an invocation finds no idle process.
    Bootstrap(PathBuf),
    /// The user starts the runtimes, for example in a debugger, with `AWS_LAMBDA_RUNTIME_API` set to the emulator.
    External,
}

/// A route selection expression, such as `$request.body.action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSelection {
    pub(crate) path: Vec<String>,
}

/// Whether the function's response to a WebSocket message goes to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteResponses {
    /// Every route has a route response.
    #[default]
    Enabled,
    /// No route has a route response: the function replies through `@connections` only.
    Disabled,
}

/// Whether calls of `@connections` must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signatures {
    /// A call without Signature Version 4 is rejected with 403, as on AWS. The signature itself is not verified.
    #[default]
    Required,
    /// Unsigned calls are accepted.
    Optional,
}

/// Timeouts and retry delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The integration timeout of the HTTP API.
    pub http: Duration,
    /// The integration timeout of the WebSocket API.
    pub websocket: Duration,
    /// How long a WebSocket may stay open without a message.
    pub websocket_idle: Duration,
    /// How long a WebSocket may stay open in all.
    pub websocket_duration: Duration,
    /// The delays before the first and the second retry of a failed asynchronous invocation (AWS Lambda, error
    /// handling for asynchronous invocations).
    pub retry_delays: [Duration; 2],
}

/// Why the emulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The emulator cannot listen on an address.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address from the options.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// An option is invalid.
    #[error("{reason}")]
    InvalidOption {
        /// The option, its value and what is allowed.
        reason: String,
    },
}

impl Options {
    /// Returns AWS's limits and the usual ports for this target.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            http_port: 3000,
            websocket_port: 3001,
            lambda_port: 3002,
            target,
            stage: stage::DEFAULT_STAGE.to_owned(),
            routes: Vec::new(),
            route_selection: RouteSelection::default(),
            route_responses: RouteResponses::Enabled,
            signatures: Signatures::Required,
            timeouts: Timeouts::default(),
            max_connections: 1000,
            max_queued: 100,
        }
    }

    /// Returns the beginning of every path: `/STAGE`, or nothing for `$default`.
    #[must_use]
    pub fn path_prefix(&self) -> String {
        stage::path_prefix(&self.stage)
    }

    pub(crate) fn check(&self) -> Result<(), StartError> {
        if self.stage != stage::DEFAULT_STAGE && !is_name(&self.stage) {
            return Err(invalid(format!(
                "stage `{}` is invalid: use $default or {NAME_RULE}",
                self.stage
            )));
        }
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_queued", self.max_queued),
        ] {
            if value == 0 {
                return Err(invalid(format!("{name} is 0: it must be at least 1")));
            }
        }
        match &self.target {
            Target::Endpoint { url, .. } => check_endpoint(url),
            Target::Functions(functions) => check_functions(functions),
        }
    }
}

fn check_endpoint(url: &str) -> Result<(), StartError> {
    let uri: Option<Uri> = url.parse().ok();
    let parts = uri
        .as_ref()
        .map(|uri| (uri.scheme_str(), uri.port_u16(), uri.query()));
    let reason = match parts {
        Some((Some("http"), Some(_), None)) => return Ok(()),
        Some((Some("https"), _, _)) => "https is not supported: use http://HOST:PORT",
        _ => "the URL is invalid: use http://HOST:PORT",
    };
    Err(invalid(format!("endpoint `{url}`: {reason}")))
}

fn check_functions(functions: &[FunctionOptions]) -> Result<(), StartError> {
    if functions.is_empty() {
        return Err(invalid("no function is configured".to_owned()));
    }
    for (position, function) in functions.iter().enumerate() {
        function.check()?;
        let mut previous = functions[..position].iter();
        if previous.any(|other| other.name == function.name) {
            return Err(invalid(format!(
                "two functions are named `{}`: names must be unique",
                function.name
            )));
        }
    }
    Ok(())
}

impl FunctionOptions {
    /// Returns a function with Lambda's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, runtime: RuntimeSource) -> Self {
        Self {
            name: name.into(),
            runtime,
            env: Vec::new(),
            memory_mib: 128,
            timeout: Duration::from_secs(3),
            concurrency: 10,
        }
    }

    fn check(&self) -> Result<(), StartError> {
        let name = &self.name;
        if !is_name(name) {
            return Err(invalid(format!(
                "function name `{name}` is invalid: use {NAME_RULE}"
            )));
        }
        if self.concurrency == 0 {
            return Err(invalid(format!(
                "function `{name}`: concurrency is 0: it must be at least 1"
            )));
        }
        if self.timeout.is_zero() {
            return Err(invalid(format!(
                "function `{name}`: the timeout is 0 s: it must be longer"
            )));
        }
        match &self.runtime {
            RuntimeSource::Bootstrap(path) if !path.is_file() => Err(invalid(format!(
                "function `{name}`: the bootstrap {} is not a file",
                path.display()
            ))),
            RuntimeSource::Bootstrap(_) | RuntimeSource::External => Ok(()),
        }
    }
}

impl Timeouts {
    /// Returns all times multiplied by `factor`: 0.01 shortens a timeout of 29 s to 290 ms. A product that is not a
    /// valid duration leaves the time unchanged.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scale = |time: Duration| {
            Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(time)
        };
        Self {
            http: scale(self.http),
            websocket: scale(self.websocket),
            websocket_idle: scale(self.websocket_idle),
            websocket_duration: scale(self.websocket_duration),
            retry_delays: self.retry_delays.map(scale),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            http: limits::MAX_HTTP_API_TIMEOUT,
            websocket: limits::MAX_WEBSOCKET_API_TIMEOUT,
            websocket_idle: limits::WEBSOCKET_IDLE_TIMEOUT,
            websocket_duration: limits::MAX_WEBSOCKET_CONNECTION_DURATION,
            retry_delays: [Duration::from_secs(60), Duration::from_secs(120)],
        }
    }
}

impl Default for RouteSelection {
    fn default() -> Self {
        Self {
            path: vec!["action".to_owned()],
        }
    }
}

impl FromStr for RouteSelection {
    type Err = StartError;

    /// Reads `$request.body.NAME[.NAME ...]` or `${request.body.NAME[.NAME ...]}`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let braced = text
            .strip_prefix("${")
            .and_then(|text| text.strip_suffix('}'));
        let path = braced.or_else(|| text.strip_prefix('$'));
        let path = path.and_then(|path| path.strip_prefix("request.body."));
        let path: Option<Vec<_>> = path.map(|path| path.split('.').map(str::to_owned).collect());
        match path {
            Some(path) if path.iter().all(|name| !name.is_empty()) => Ok(Self { path }),
            _ => Err(invalid(format!(
                "route selection expression `{text}` is not supported: use $request.body.NAME"
            ))),
        }
    }
}

const NAME_RULE: &str = "1 to 64 letters, digits, `-` and `_`";

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(is_allowed)
}

const fn invalid(reason: String) -> StartError {
    StartError::InvalidOption { reason }
}
