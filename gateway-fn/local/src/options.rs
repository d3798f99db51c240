//! What `flowgate local` is told, with AWS's limits and the usual ports as defaults.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use flowgate_proto::limits;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen at; loopback by default, because nobody is asked who they are.
    pub host: IpAddr,
    /// The HTTP API's port, 3000 by default (`sam local start-api`'s); 0 takes a free one.
    pub http_port: u16,
    /// The WebSocket API's port, 3001 by default; 0 takes a free one.
    pub websocket_port: u16,
    /// The port of Lambda's Invoke API, 3002 by default; 0 takes a free one.
    pub lambda_port: u16,
    /// What is behind the APIs.
    pub target: Target,
    /// The stage of both APIs: `$default`, which is no part of any path, or a name, which every path begins with.
    pub stage: String,
    /// Route keys of the WebSocket API beside `$connect`, `$disconnect` and `$default`.
    pub routes: Vec<String>,
    /// How a message's route key is found.
    pub route_selection: RouteSelection,
    /// Whether a message's answer goes back to the client.
    pub route_responses: RouteResponses,
    /// Whether calls of `@connections` must be signed.
    pub signatures: Signatures,
    /// How long things may take.
    pub times: Times,
    /// Open connections a port, 1000 by default: far below the usual limit of open files. More wait to be accepted.
    pub max_connections: usize,
    /// Invocations of a function that wait for a runtime, synchronous or not, 100 by default; more are throttled.
    pub max_queued: usize,
}

/// What is behind the APIs.
#[derive(Clone, Debug)]
pub enum Target {
    /// A function behind a Lambda Invoke endpoint: `cargo lambda watch`, `sam local start-lambda`, the runtime
    /// interface emulator.
    Endpoint {
        /// `http://HOST:PORT`.
        url: String,
        /// The function's name there.
        function: String,
    },
    /// Functions that run here. The first is behind the APIs; any may be invoked.
    Functions(Vec<Function>),
}

/// A function that runs here.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its name, of letters, digits, `-` and `_`.
    pub name: String,
    /// Where its runtimes come from.
    pub source: Source,
    /// Its environment, beside what Lambda sets; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// What it is told of its memory, in MiB; 128 by default, as on Lambda. It is not enforced.
    pub memory: u32,
    /// How long one invocation may take; 3 s by default, as on Lambda.
    pub timeout: Duration,
    /// Processes at once, 10 by default. More invocations are throttled, as beyond a reserved concurrency.
    pub concurrency: usize,
}

/// Where a function's runtimes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A program that is started for each invocation that finds none idle.
    Bootstrap(PathBuf),
    /// Somebody starts them, perhaps in a debugger, with `AWS_LAMBDA_RUNTIME_API` as told.
    ByHand,
}

/// A route selection expression: `$request.body.action`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSelection {
    pub(super) path: Vec<String>,
}

/// Whether a message's answer goes back to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteResponses {
    /// Every route has a route response.
    #[default]
    Sent,
    /// No route has one: answers go by `@connections` only.
    Dropped,
}

/// Whether calls of `@connections` must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signatures {
    /// A call without a Signature Version 4 is refused with 403, as on AWS. What it says is not checked.
    #[default]
    Demanded,
    /// Anybody may call.
    NotDemanded,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// A request of the HTTP API.
    pub http: Duration,
    /// A message of the WebSocket API.
    pub websocket: Duration,
    /// A WebSocket on which no message passes.
    pub idle: Duration,
    /// A WebSocket at all.
    pub duration: Duration,
    /// Before an asynchronous invocation that failed is tried again, once and twice (AWS Lambda, error handling for
    /// asynchronous invocations).
    pub retries: [Duration; 2],
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be had.
    #[error("{address} cannot be listened at")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An option does not hold.
    #[error("{what}")]
    Options {
        /// Which one, and why.
        what: String,
    },
}

impl Options {
    /// The usual ports and AWS's limits in front of this target.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            http_port: 3000,
            websocket_port: 3001,
            lambda_port: 3002,
            target,
            stage: DEFAULT_STAGE.to_owned(),
            routes: Vec::new(),
            route_selection: RouteSelection::default(),
            route_responses: RouteResponses::Sent,
            signatures: Signatures::Demanded,
            times: Times::default(),
            max_connections: 1000,
            max_queued: 100,
        }
    }

    /// What stands before every path: nothing for `$default`, else `/STAGE`.
    pub(super) fn prefix(&self) -> String {
        match self.stage.as_str() {
            DEFAULT_STAGE => String::new(),
            stage => format!("/{stage}"),
        }
    }

    pub(super) fn check(&self) -> Result<(), StartError> {
        if self.stage != DEFAULT_STAGE && !is_name(&self.stage) {
            return Err(fault(format!("the stage {:?} is no name", self.stage)));
        }
        if self.max_connections == 0 || self.max_queued == 0 {
            return Err(fault("a bound of 0 lets nothing through".to_owned()));
        }
        let functions = match &self.target {
            Target::Endpoint { url, .. } => {
                return super::function::check_url(url)
                    .map_err(|what| fault(format!("the endpoint {url:?}: {what}")));
            }
            Target::Functions(functions) => functions,
        };
        if functions.is_empty() {
            return Err(fault("there is no function".to_owned()));
        }
        for (place, function) in functions.iter().enumerate() {
            function.check()?;
            if functions[..place]
                .iter()
                .any(|other| other.name == function.name)
            {
                return Err(fault(format!(
                    "two functions are named {:?}",
                    function.name
                )));
            }
        }
        Ok(())
    }
}

impl Function {
    /// A function with Lambda's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self {
            name: name.into(),
            source,
            env: Vec::new(),
            memory: 128,
            timeout: Duration::from_secs(3),
            concurrency: 10,
        }
    }

    fn check(&self) -> Result<(), StartError> {
        if !is_name(&self.name) {
            return Err(fault(format!("{:?} is no name of a function", self.name)));
        }
        if self.concurrency == 0 || self.timeout.is_zero() {
            return Err(fault(format!("{} could never run", self.name)));
        }
        match &self.source {
            Source::Bootstrap(path) if !path.is_file() => Err(fault(format!(
                "the bootstrap {} of {} is no file",
                path.display(),
                self.name
            ))),
            Source::Bootstrap(_) | Source::ByHand => Ok(()),
        }
    }
}

impl Times {
    /// All of them times `factor`: 0.01 makes 29 s of waiting 290 ms.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        // A factor that makes no time, or none that can be counted, changes nothing.
        let scaled = |time: Duration| {
            Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(time)
        };
        Self {
            http: scaled(self.http),
            websocket: scaled(self.websocket),
            idle: scaled(self.idle),
            duration: scaled(self.duration),
            retries: self.retries.map(scaled),
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            http: limits::MAX_HTTP_API_TIMEOUT,
            websocket: limits::MAX_WEBSOCKET_API_TIMEOUT,
            idle: limits::WEBSOCKET_IDLE_TIMEOUT,
            duration: limits::MAX_WEBSOCKET_CONNECTION_DURATION,
            retries: [Duration::from_secs(60), Duration::from_secs(120)],
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

    /// Reads `$request.body.NAME[.NAME ...]`, with or without braces around it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let braced = text
            .strip_prefix("${")
            .and_then(|text| text.strip_suffix('}'));
        let path = braced.or_else(|| text.strip_prefix('$'));
        let path = path.and_then(|path| path.strip_prefix("request.body."));
        let path: Option<Vec<_>> = path.map(|path| path.split('.').map(str::to_owned).collect());
        match path {
            Some(path) if path.iter().all(|name| !name.is_empty()) => Ok(Self { path }),
            _ => Err(fault(format!(
                "{text:?} is not of the form $request.body.NAME"
            ))),
        }
    }
}

const DEFAULT_STAGE: &str = "$default";

fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_part)
}

const fn fault(what: String) -> StartError {
    StartError::Options { what }
}
