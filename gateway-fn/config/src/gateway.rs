//! The settings of the Gateway: its listeners, how it calls Executors, its limits, and who may call it.

use std::{fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use flowgate_proto::{Compression, DecodeLimits};

mod auth;

mod function;

mod http;

mod invoke;

mod listeners;

mod read;

pub(super) mod tls;

pub(super) mod uvicorn;

pub use auth::{ApiKeyConfig, ApiKeySource, AuthConfig, JwksSource, JwtConfig, OpenRoutes};
pub use auth::{MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest};
pub use function::{FunctionConfig, WebSocketConfig};
pub use invoke::{InvokeConfig, Signing, WarmUp};
pub(super) use read::{default_host, read};
pub use tls::{ClientCertificates, Password, TlsConfig, TlsVersions};

/// The `gateway` of a Flow, with what it takes from `with`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// The address to listen on, `0.0.0.0` by default; a name is resolved when it is bound.
    pub host: String,
    /// The protocols and ports, at least one. Listeners of different protocols may share a port.
    pub listeners: Vec<Listener>,
    /// Requests in flight per call or stream; `None` is no limit (0 in the file). 1000 by default, as in Jina 3.13.
    pub prefetch: Option<NonZeroUsize>,
    /// The time limit of one attempt at one Executor, at most a day; `None` is no limit (0 or negative in the file).
    pub timeout_send: Option<Duration>,
    /// How often a failed call is retried.
    pub retries: Retries,
    /// Which failed calls are retried.
    pub retry_policy: RetryPolicy,
    /// How requests to Executors are compressed.
    pub compression: Compression,
    /// The settings of HTTP.
    pub http: HttpConfig,
    /// TLS to clients, of every listener; by default they use plain text.
    pub tls: Option<TlsConfig>,
    /// Upper bounds of one Gateway process.
    pub limits: Limits,
    /// How long requests in flight may take to finish after SIGTERM. 25 s by default: Kubernetes kills after 30 s.
    pub shutdown_timeout: Duration,
    /// How long new connections are still accepted after SIGTERM, as a part of `shutdown_timeout`, while health checks fail
    /// already. 5 s by default in Kubernetes, which goes on sending connections until every node knows that the pod is
    /// about to end; 0 elsewhere.
    pub shutdown_delay: Duration,
    /// How long an HTTP/1 connection may stay open between two requests. 75 s by default: load balancers keep connections for
    /// 60 s and must be the first to close one, or they send a request on a connection that is being closed.
    pub keep_alive_timeout: Duration,
    /// How long a client may be slower than `limits.min_bytes_per_second` while it sends a body or a WebSocket message, or
    /// reads a response. 20 s by default: longer than a pause of a mobile network.
    pub slow_client_timeout: Duration,
    /// Which certificate authorities are trusted in Executors, AWS and the issuers of tokens. [`TlsRoots::Bundled`] by
    /// default for a Lambda function, [`TlsRoots::System`] elsewhere.
    pub tls_roots: TlsRoots,
    /// A PEM file of root certificates for `grpcs://` in place of `tls_roots`: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, as for
    /// Jina's own gRPC.
    pub executor_roots_file: Option<PathBuf>,
    /// Whether error texts for clients contain the addresses of a failed call. On by default, as in Jina 3.13, but off
    /// for a Lambda function, whose clients are on the internet.
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
    /// The protocol of the clients.
    pub protocol: Protocol,
    /// The TCP port; 0 lets the operating system choose.
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

/// How often a failed call is retried, on the next address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retries {
    /// Once for each address, at least three times.
    #[default]
    Default,
    /// This number of times.
    Exactly(u32),
}

/// Which failed calls to gRPC Executors are retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetryPolicy {
    /// Calls that no Executor has run: no connection could be made, or the peer refused the call or answered UNAVAILABLE.
    /// The default, because a call that has been sent may have run, and not every Executor may run twice for one request.
    #[default]
    Safe,
    /// As in Jina 3.13: also calls that timed out or whose connection broke, and after CANCELLED, UNKNOWN and INTERNAL.
    Jina,
}

impl RetryPolicy {
    /// The name in the Flow file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Jina => "jina",
        }
    }
}

/// What HTTP serves in addition to the routes that are always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The title in the OpenAPI description; `None` is Jina's.
    pub title: Option<String>,
    /// The text under the title; `None` is Jina's.
    pub description: Option<String>,
    /// Whether web pages of any origin may call (CORS).
    pub cors: bool,
    /// Whether `/dry_run`, `/status` and `/post` are served.
    pub debug_endpoints: bool,
    /// Whether `/index`, `/search`, `/delete` and `/update` are served.
    pub crud_endpoints: bool,
    /// Additional routes (`expose_endpoints`).
    pub exposed: Vec<ExposedEndpoint>,
    /// Whether `/graphql` is served.
    pub graphql: bool,
}

/// An additional route (`expose_endpoints`).
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

/// Upper bounds of one Gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, also after decompression. 256 MiB by default, because memory is limited (Jina has no limit);
    /// 60 MiB in a Lambda function, 200 MiB in one that streams its answers. At most 4 GiB - 1, gRPC's own limit.
    pub max_message_bytes: usize,
    /// Documents of one request or one Executor's answer, including chunks and matches, where they are decoded: JSON,
    /// conditions, joins, Executors in this process. 250 000 by default: 2500 times the request size of Jina's client,
    /// and less than 150 MB for as many empty documents. At most 2^32 - 1.
    pub max_documents: usize,
    /// Bytes of memory that one request or answer may take while it is decoded. `None` is four times `max_message_bytes`,
    /// because numbers in JSON, which have two bytes or more as text, are decoded to eight; but not more than twice
    /// `max_bytes_in_flight`, so that it follows the memory: a text that just fits there exists twice while it is converted.
    /// What a request takes beyond twice its text must also fit in `max_bytes_in_flight`. At most 2^40.
    pub max_decoded_bytes: Option<usize>,
    /// Requests in flight; further ones are rejected, to be retried. 10 000 by default: ten streams at the default
    /// `prefetch`. At most a million.
    pub max_concurrent_requests: usize,
    /// Bytes of all requests and answers that the Gateway holds at once, over every protocol; further requests are rejected, to
    /// be retried. What JSON becomes when it is decoded counts too, beyond twice its text. `None` is 40 % of the memory of the
    /// machine or its cgroup: a body exists twice for a moment, and documents that must be decoded are larger than their
    /// bytes. Without effect in a Lambda function.
    pub max_bytes_in_flight: Option<usize>,
    /// The percentage of the free places of `max_concurrent_requests` that one WebSocket, or the `Call` streams of one
    /// connection, may take, beyond eight. 10 by default: then ten clients that send as much as they can leave half of the
    /// places to others. Single calls of one HTTP/2 connection may take 90 times as much. 100 is no limit.
    pub connection_share: usize,
    /// Bytes of answers that one WebSocket may leave unread; beyond them it is closed. From half of them on, no more of its
    /// requests are started. 256 MiB by default, as for one message; a single answer may be larger. At most 4 GiB - 1.
    pub max_unread_bytes: usize,
    /// Open connections; on further ones only health checks are answered. 10 000 by default, well below the usual limit of
    /// open files, and never more than that limit leaves. At most a million.
    pub max_connections: usize,
    /// The least that a client must send of a body or a message, or read of a response, in bytes per second; 0 is one byte in
    /// each `slow_client_timeout`. 1000 by default: the slowest mobile networks are faster, and a client that is slower only
    /// holds memory. Streams and WebSockets may pause between two messages, calls with one request not before it. At most
    /// 1 GB.
    pub min_bytes_per_second: usize,
    /// HTTP/2 connections to each replica, that is to each address of a host. Two by default: a single one is handled by one
    /// task at either end, and all requests share its flow-control window. At most 64.
    pub connections_per_replica: NonZeroUsize,
}

/// Which certificate authorities are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsRoots {
    /// Those of the system, to which an operator can add. Reading them takes 3 to 5 ms.
    #[default]
    System,
    /// Mozilla's list, which is compiled in: a function need not read 140 certificates in its cold start.
    Bundled,
}

impl TlsRoots {
    /// The name in the Flow.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Bundled => "bundled",
        }
    }
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
            retry_policy: RetryPolicy::Safe,
            compression: Compression::None,
            http: HttpConfig::default(),
            tls: None,
            limits: Limits::default(),
            shutdown_timeout: Duration::from_secs(25),
            shutdown_delay: Duration::ZERO,
            keep_alive_timeout: Duration::from_secs(75),
            slow_client_timeout: Duration::from_secs(20),
            tls_roots: TlsRoots::default(),
            executor_roots_file: None,
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

impl Limits {
    /// What a request or an answer may become when it is decoded by a process whose requests and answers may have
    /// `bytes_in_flight` at once.
    #[must_use]
    pub fn decode_limits(&self, bytes_in_flight: usize) -> DecodeLimits {
        let by_message = DecodeLimits::for_messages(self.max_message_bytes).max_decoded_bytes;
        let by_memory = bytes_in_flight.saturating_mul(2);
        DecodeLimits {
            max_documents: self.max_documents,
            max_decoded_bytes: self
                .max_decoded_bytes
                .unwrap_or_else(|| by_message.min(by_memory)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let decoding = DecodeLimits::default();
        Self {
            max_message_bytes: 256 << 20,
            max_documents: decoding.max_documents,
            max_decoded_bytes: None,
            max_concurrent_requests: 10_000,
            max_bytes_in_flight: None,
            connection_share: 10,
            max_unread_bytes: 256 << 20,
            max_connections: 10_000,
            min_bytes_per_second: 1000,
            connections_per_replica: TWO,
        }
    }
}

impl Protocol {
    /// Parses Jina's name of a protocol, in upper or lower case.
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

/// A day in milliseconds: no call and no shutdown should take longer, and timers of decades overflow.
const MAX_MILLISECONDS: i64 = 86_400_000;

const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
