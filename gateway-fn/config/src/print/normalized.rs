//! A [`Config`] in the form in which it is printed: the keys of a Flow file in a fixed order. A key is printed even if
//! its value is the default; only optional keys without a value are left out.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use flowgate_flow::graph::{FlowGraph, NodeId};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use crate::{
    Address, ApiKeyConfig, ApiKeySource, AuthConfig, Config, ExecutorConfig, ExposedEndpoint,
    FunctionConfig, GatewayConfig, InvokeConfig, JwksSource, JwtConfig, Limits, Retries, Signing,
    WarmUp, WebSocketConfig,
};

mod tls;

use self::tls::NormalizedUvicorn;

/// What is printed in place of a literal secret.
pub const REDACTED: &str = "<redacted>";

#[derive(Serialize)]
pub(super) struct NormalizedFlow<'a> {
    jtype: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<NormalizedWith<'a>>,
    gateway: NormalizedGateway<'a>,
    executors: Vec<NormalizedExecutor<'a>>,
}

#[derive(Serialize)]
struct NormalizedWith<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct NormalizedGateway<'a> {
    host: &'a str,
    protocol: Vec<String>,
    port: Vec<u16>,
    prefetch: usize,
    timeout_send: i64,
    retries: i64,
    retry_policy: &'static str,
    compression: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    cors: bool,
    no_debug_endpoints: bool,
    no_crud_endpoints: bool,
    expose_graphql_endpoint: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    expose_endpoints: Vec<(&'a str, NormalizedEndpoint<'a>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_certfile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_keyfile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uvicorn_kwargs: Option<NormalizedUvicorn<'a>>,
    limits: NormalizedLimits,
    shutdown_timeout: u64,
    shutdown_delay: u64,
    keep_alive_timeout: u64,
    slow_client_timeout: u64,
    tls_roots: &'static str,
    internal_addresses_in_errors: bool,
    invoke: NormalizedInvoke<'a>,
    function: NormalizedFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<NormalizedAuth<'a>>,
}

#[derive(Serialize)]
struct NormalizedEndpoint<'a> {
    http_path: &'a str,
    methods: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a str>,
    tags: &'a [String],
}

#[derive(Serialize)]
struct NormalizedLimits {
    max_message_bytes: usize,
    max_documents: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_decoded_bytes: Option<usize>,
    max_concurrent_requests: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes_in_flight: Option<usize>,
    connection_share: usize,
    max_unread_bytes: usize,
    max_connections: usize,
    min_bytes_per_second: usize,
    connections_per_replica: usize,
}

#[derive(Serialize)]
struct NormalizedInvoke<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    sign: bool,
    warm_up: &'static str,
    max_parts: usize,
    parallel_parts: usize,
    max_retry_pause: u64,
}

#[derive(Serialize)]
struct NormalizedFunction<'a> {
    response_streaming: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    front_door_timeout: Option<u64>,
    answer_margin: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_path: Option<&'a str>,
    public_url: bool,
    compress_answers_from: usize,
    rest_binary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_for_floating: Option<u64>,
    metrics: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_namespace: Option<&'a str>,
    websocket: NormalizedWebSocket<'a>,
}

#[derive(Serialize)]
struct NormalizedWebSocket<'a> {
    route_response: bool,
    push: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_url: Option<&'a str>,
    max_parts: usize,
}

#[derive(Serialize)]
struct NormalizedAuth<'a> {
    api_key_header: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    api_keys: Vec<NormalizedApiKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<NormalizedJwt<'a>>,
    protocols: Vec<String>,
    open: NormalizedOpenRoutes<'a>,
}

/// A key that the Flow gives by its `sha256` is printed as a redacted `key`: a weak key can be guessed from its digest.
#[derive(Serialize)]
struct NormalizedApiKey<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

#[derive(Serialize)]
struct NormalizedJwt<'a> {
    issuer: &'a str,
    audience: Json,
    jwks: String,
    allow_http: bool,
    leeway: u64,
    cache: u64,
    stale: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    scopes: &'a [String],
}

#[derive(Serialize)]
struct NormalizedOpenRoutes<'a> {
    grpc: &'a [String],
    http: &'a [String],
    websocket: &'a [String],
}

#[derive(Serialize)]
struct NormalizedExecutor<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    host: Vec<String>,
    needs: Vec<&'a str>,
    floating: bool,
    no_reduce: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'a Json>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    grpc_metadata: Vec<(&'a str, &'static str)>,
}

impl<'a> NormalizedFlow<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        let executors = config.executors.iter().enumerate();
        Self {
            jtype: "Flow",
            version: "1",
            with: config.name.as_deref().map(|name| NormalizedWith { name }),
            gateway: NormalizedGateway::new(&config.gateway),
            executors: executors
                .map(|(index, executor)| {
                    NormalizedExecutor::new(executor, NodeId(index), &config.graph)
                })
                .collect(),
        }
    }
}

impl<'a> NormalizedGateway<'a> {
    fn new(gateway: &'a GatewayConfig) -> Self {
        let listeners = &gateway.listeners;
        let http = &gateway.http;
        let tls = gateway.tls.as_ref();
        Self {
            host: &gateway.host,
            protocol: listeners
                .iter()
                .map(|listener| listener.protocol.to_string())
                .collect(),
            port: listeners.iter().map(|listener| listener.port).collect(),
            prefetch: gateway.prefetch.map_or(0, NonZeroUsize::get),
            timeout_send: gateway.timeout_send.map_or(-1, |timeout| {
                i64::try_from(milliseconds(timeout)).unwrap_or(-1)
            }),
            retries: match gateway.retries {
                Retries::Default => -1,
                Retries::Exactly(number) => number.into(),
            },
            retry_policy: gateway.retry_policy.name(),
            compression: gateway.compression.name(),
            title: http.title.as_deref(),
            description: http.description.as_deref(),
            cors: http.cors,
            no_debug_endpoints: !http.debug_endpoints,
            no_crud_endpoints: !http.crud_endpoints,
            expose_graphql_endpoint: http.graphql,
            expose_endpoints: http.exposed.iter().map(endpoint).collect(),
            ssl_certfile: tls.map(|tls| path(tls.certfile.value())),
            ssl_keyfile: tls.map(|tls| path(tls.keyfile.value())),
            uvicorn_kwargs: tls
                .map(NormalizedUvicorn::from)
                .filter(|options| *options != NormalizedUvicorn::default()),
            limits: NormalizedLimits::from(gateway.limits),
            shutdown_timeout: milliseconds(gateway.shutdown_timeout),
            shutdown_delay: milliseconds(gateway.shutdown_delay),
            keep_alive_timeout: milliseconds(gateway.keep_alive_timeout),
            slow_client_timeout: milliseconds(gateway.slow_client_timeout),
            tls_roots: gateway.tls_roots.name(),
            internal_addresses_in_errors: gateway.internal_addresses_in_errors,
            invoke: NormalizedInvoke::from(&gateway.invoke),
            function: NormalizedFunction::from(&gateway.function),
            auth: Some(&gateway.auth)
                .filter(|auth| auth.is_enabled())
                .map(NormalizedAuth::from),
        }
    }
}

fn endpoint(endpoint: &ExposedEndpoint) -> (&str, NormalizedEndpoint<'_>) {
    let options = NormalizedEndpoint {
        http_path: &endpoint.http_path,
        methods: &endpoint.methods,
        summary: endpoint.summary.as_deref(),
        tags: &endpoint.tags,
    };
    (&endpoint.exec_endpoint, options)
}

impl From<Limits> for NormalizedLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_message_bytes: limits.max_message_bytes,
            max_documents: limits.max_documents,
            max_decoded_bytes: limits.max_decoded_bytes,
            max_concurrent_requests: limits.max_concurrent_requests,
            max_bytes_in_flight: limits.max_bytes_in_flight,
            connection_share: limits.connection_share,
            max_unread_bytes: limits.max_unread_bytes,
            max_connections: limits.max_connections,
            min_bytes_per_second: limits.min_bytes_per_second,
            connections_per_replica: limits.connections_per_replica.get(),
        }
    }
}

impl<'a> From<&'a InvokeConfig> for NormalizedInvoke<'a> {
    fn from(invoke: &'a InvokeConfig) -> Self {
        Self {
            endpoint_url: invoke.endpoint_url.as_deref(),
            region: invoke.region.as_deref(),
            sign: invoke.signing == Signing::Signed,
            warm_up: match invoke.warm_up {
                WarmUp::None => "none",
                WarmUp::Connect => "connect",
                WarmUp::DryRun => "dry_run",
            },
            max_parts: invoke.max_parts,
            parallel_parts: invoke.parallel_parts,
            max_retry_pause: milliseconds(invoke.max_retry_pause),
        }
    }
}

impl<'a> From<&'a FunctionConfig> for NormalizedFunction<'a> {
    fn from(function: &'a FunctionConfig) -> Self {
        Self {
            response_streaming: function.response_streaming,
            front_door_timeout: function.front_door_timeout.map(milliseconds),
            answer_margin: milliseconds(function.answer_margin),
            base_path: function.base_path.as_deref(),
            public_url: function.public_url,
            compress_answers_from: function.compress_answers_from.unwrap_or(0),
            rest_binary: function.rest_binary,
            wait_for_floating: function.wait_for_floating.map(milliseconds),
            metrics: function.metrics_namespace.is_some(),
            metrics_namespace: function.metrics_namespace.as_deref(),
            websocket: NormalizedWebSocket::from(&function.websocket),
        }
    }
}

impl<'a> From<&'a WebSocketConfig> for NormalizedWebSocket<'a> {
    fn from(websocket: &'a WebSocketConfig) -> Self {
        Self {
            route_response: websocket.route_response,
            push: websocket.push,
            connections_url: websocket.connections_url.as_deref(),
            max_parts: websocket.max_parts,
        }
    }
}

impl<'a> From<&'a AuthConfig> for NormalizedAuth<'a> {
    fn from(auth: &'a AuthConfig) -> Self {
        let protocols = auth.protocols.iter();
        Self {
            api_key_header: auth.api_key_header.as_str(),
            api_keys: auth.api_keys.iter().map(NormalizedApiKey::from).collect(),
            jwt: auth.jwt.as_ref().map(NormalizedJwt::from),
            protocols: protocols.map(ToString::to_string).collect(),
            open: NormalizedOpenRoutes {
                grpc: &auth.open.grpc,
                http: &auth.open.http,
                websocket: &auth.open.websocket,
            },
        }
    }
}

impl<'a> From<&'a ApiKeyConfig> for NormalizedApiKey<'a> {
    fn from(api_key: &'a ApiKeyConfig) -> Self {
        let (key, file) = match &api_key.source {
            ApiKeySource::Sha256(_) => (Some(REDACTED), None),
            ApiKeySource::File(path) => (None, Some(path.display().to_string())),
        };
        Self {
            name: &api_key.name,
            key,
            file,
        }
    }
}

impl<'a> From<&'a JwtConfig> for NormalizedJwt<'a> {
    fn from(jwt: &'a JwtConfig) -> Self {
        let (jwks, allow_http) = match &jwt.jwks {
            JwksSource::File(path) => (path.display().to_string(), false),
            JwksSource::Url(url) => (url.to_string(), url.scheme_str() == Some("http")),
        };
        Self {
            issuer: &jwt.issuer,
            audience: match jwt.audience.as_slice() {
                [] => Json::from("any"),
                audience => Json::from(audience),
            },
            jwks,
            allow_http,
            leeway: milliseconds(jwt.leeway),
            cache: milliseconds(jwt.cache),
            stale: milliseconds(jwt.stale),
            scopes: &jwt.scopes,
        }
    }
}

impl<'a> NormalizedExecutor<'a> {
    fn new(executor: &'a ExecutorConfig, id: NodeId, graph: &'a FlowGraph) -> Self {
        let node = &graph[id];
        let (uses, host) = match executor.addresses.as_slice() {
            [address @ Address::InProcess { .. }] => (Some(address.to_string()), Vec::new()),
            addresses => (None, addresses.iter().map(ToString::to_string).collect()),
        };
        let end = graph.nodes().find(|(_, node)| node.is_end);
        Self {
            name: &executor.name,
            uses,
            host,
            needs: node
                .needs
                .iter()
                .map(|need| need.map_or("gateway", |id| graph[id].name.as_str()))
                .collect(),
            // The last deployment that is not floating is the one whose answer goes back.
            floating: !node.is_awaited || end.is_some_and(|(end, _)| end < id),
            no_reduce: !node.reduce,
            when: executor.when.as_ref(),
            grpc_metadata: executor
                .metadata
                .iter()
                .map(|(key, _)| (key.as_str(), REDACTED))
                .collect(),
        }
    }
}

/// Writes pairs as a map, in their order.
fn as_map<S: Serializer>(
    pairs: &[(impl Serialize, impl Serialize)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
