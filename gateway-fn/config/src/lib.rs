//! The configuration of the Gateway, read from a Flow in YAML, from the arguments of `jina gateway`, or from a Flow built
//! in Rust.
//!
//! All three become one tree of keys and values. The same code validates it, and returns a [`Config`] or all errors at
//! once. The environment is a parameter, and nothing here opens files or sockets.

mod address;

mod arguments;

pub mod builder;

mod diagnostic;

mod executor;

mod flow_file;

mod gateway;

mod graph;

mod jina_keys;

mod node;

pub mod print;

mod scalar;

mod section;

mod topology;

mod variables;

mod yaml;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use arguments::{ArgumentError, GatewayArgs};
pub use diagnostic::{ConfigErrors, Diagnostic, Placed};
pub use executor::ExecutorConfig;
pub use gateway::{
    ApiKeyConfig, ApiKeySource, AuthConfig, ClientCertificates, ExposedEndpoint, FunctionConfig,
    GatewayConfig, HttpConfig, InvokeConfig, JwksSource, JwtConfig, Limits, Listener, OpenRoutes,
    Password, Protocol, Retries, RetryPolicy, Signing, TlsConfig, TlsRoots, TlsVersions, WarmUp,
    WebSocketConfig,
};
pub use gateway::{MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest};

use std::sync::Arc;

use flowgate_flow::graph::FlowGraph;

/// A valid Flow.
#[derive(Debug)]
pub struct Config {
    /// The Flow's name, if it has one.
    pub name: Option<String>,
    /// How the Gateway serves and calls.
    pub gateway: GatewayConfig,
    /// The deployments; an index is a [`flowgate_flow::graph::NodeId`].
    pub executors: Vec<ExecutorConfig>,
    /// The order in which the deployments are called.
    pub graph: Arc<FlowGraph>,
}

/// A valid Flow with the warnings about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration of the Gateway.
    pub config: Config,
    /// Keys without effect, as in Jina, and values that are probably mistakes.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Reads a Flow file. `file` is its name in errors; `env` returns the variables of the environment.
    ///
    /// # Errors
    /// Everything that is invalid in the Flow.
    pub fn from_yaml(
        text: &str,
        file: &str,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigErrors> {
        flow_file::load(text, file, env)
    }

    /// Reads the arguments of `jina gateway`, as Jina's exports to Kubernetes and Docker Compose have them.
    ///
    /// # Errors
    /// Everything that is invalid in the arguments.
    pub fn from_gateway_args(
        args: &GatewayArgs,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigErrors> {
        arguments::load(args, env)
    }
}
