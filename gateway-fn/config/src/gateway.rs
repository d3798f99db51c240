//! The Gateway's own settings, as the program uses them: what it listens on, how it calls Executors, what it shows.

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use flowgate_proto::Compression;

mod auth;

mod function;

mod http;

mod invoke;

mod listeners;

mod read;

pub use auth::{ApiKeyConfig, ApiKeySource, AuthConfig, JwksSource, JwtConfig, OpenRoutes};
pub use auth::{MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest};
pub use function::{FunctionConfig, WebSocketConfig};
pub use invoke::{InvokeConfig, Signing, WarmUp};
pub(super) use read::{default_host, read, warn_of_zstd};

/// The `gateway` of a Flow, with what it takes from `with`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// The address to listen on, `0.0.0.0` by default; a name is resolved when it is bound.
    pub host: String,
    /// What is served, at least one. Listeners of different protocols may share a port.
    pub listeners: Vec<Listener>,
    /// Requests in flight per call or stream; `None` is no limit (0 in the file). 1000 by default, as in Jina 3.13.
    pub prefetch: Option<NonZeroUsize>,
    /// The longest that one try at one Executor may take, at most a day; `None` is no limit (also 0 and negative
    /// numbers).
    pub timeout_send: Option<Duration>,
    /// How often a failed call is tried again.
    pub retries: Retries,
    /// How requests to Executors are compressed.
    pub compression: Compression,
    /// What HTTP serves.
    pub http: HttpConfig,
    /// The certificate for clients; with one, every listener speaks TLS.
    pub tls: Option<TlsFiles>,
    /// What one Gateway takes on at most.
    pub limits: Limits,
    /// How long requests under way get to finish after SIGTERM. 25 s by default: Kubernetes kills after 30 s.
    pub shutdown_timeout: Duration,
    /// A PEM file of the roots to trust behind `grpcs://`: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, as with Jina's own gRPC.
    /// The system's certificate store by default.
    pub tls_roots: Option<PathBuf>,
    /// Whether clients are told which addresses a failed call went to. On by default, as in Jina 3.13, but for a Lambda
    /// function, whose clients are the internet.
    pub internal_addresses_in_errors: bool,
    /// How `lambda://` Executors are invoked.
    pub invoke: InvokeConfig,
    /// How the Gateway serves as a Lambda function.
    pub function: FunctionConfig,
    /// Who may call.
    pub auth: AuthConfig,
}

/// A protocol on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The TCP port; 0 lets the operating system choose, each time another.
    pub port: u16,
}

/// How clients talk to the Gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Jina's gRPC services.
    Grpc,
    /// JSON over HTTP.
    Http,
    /// JSON or protobuf over WebSocket.
    WebSocket,
}

/// How often a failed call is tried again, on the next address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retries {
    /// As often as there are addresses, at least three times.
    #[default]
    Default,
    /// So many times.
    Exactly(u32),
}

/// What HTTP serves beside the routes that are always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The title in the OpenAPI description; `None` is Jina's.
    pub title: Option<String>,
    /// The text under the title; `None` is Jina's.
    pub description: Option<String>,
    /// Whether pages of any origin may call.
    pub cors: bool,
    /// Whether `/dry_run`, `/status` and `/post` are there.
    pub debug_endpoints: bool,
    /// Whether `/index`, `/search`, `/delete` and `/update` are there.
    pub crud_endpoints: bool,
    /// Routes of the user's own.
    pub exposed: Vec<ExposedEndpoint>,
    /// Whether `/graphql` is there.
    pub graphql: bool,
}

/// A route of the user's own (`expose_endpoints`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedEndpoint {
    /// The endpoint of the Executors that is called.
    pub exec_endpoint: String,
    /// The path; the endpoint's by default.
    pub http_path: String,
    /// Methods in capitals; `POST` by default.
    pub methods: Vec<String>,
    /// One line for the OpenAPI description.
    pub summary: Option<String>,
    /// Groups in the OpenAPI description; `Customized` by default.
    pub tags: Vec<String>,
}

/// PEM files; whether they are there is seen when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with its chain.
    pub certfile: PathBuf,
    /// Its private key.
    pub keyfile: PathBuf,
}

/// What one Gateway takes on at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, also after decompression. 256 MiB by default: Jina has no limit, but memory ends;
    /// 60 MiB as a Lambda function, 200 MiB as one that streams its answers. At most
    /// 4 GiB - 1, gRPC's own bound.
    pub max_message_bytes: usize,
    /// Requests under way; more are told to come again. 10 000 by default: ten streams at the default `prefetch`.
    /// At most a million.
    pub max_concurrent_requests: usize,
    /// Open connections; more wait to be accepted. 10 000 by default, well below the usual limit of open files.
    /// At most a million.
    pub max_connections: usize,
    /// HTTP/2 connections to each replica. Two by default: one alone is one task's work at either end, and its window
    /// is shared by all requests. At most 64.
    pub connections_per_replica: NonZeroUsize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            listeners: vec![Listener {
                protocol: Protocol::Grpc,
                port: 0,
            }],
            prefetch: NonZeroUsize::new(1000),
            timeout_send: None,
            retries: Retries::Default,
            compression: Compression::None,
            http: HttpConfig::default(),
            tls: None,
            limits: Limits::default(),
            shutdown_timeout: Duration::from_secs(25),
            tls_roots: None,
            internal_addresses_in_errors: true,
            invoke: InvokeConfig::default(),
            function: FunctionConfig::default(),
            auth: AuthConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            title: None,
            description: None,
            cors: false,
            debug_endpoints: true,
            crud_endpoints: true,
            exposed: Vec::new(),
            graphql: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 256 << 20,
            max_concurrent_requests: 10_000,
            max_connections: 10_000,
            connections_per_replica: TWO,
        }
    }
}

impl Protocol {
    /// Jina's name for it, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "grpc" => Some(Self::Grpc),
            "http" => Some(Self::Http),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::WebSocket => "websocket",
        })
    }
}

/// A day in milliseconds. No call and no drain is meant to take longer; timers that reach beyond decades overflow.
const MAX_MILLISECONDS: i64 = 86_400_000;

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
