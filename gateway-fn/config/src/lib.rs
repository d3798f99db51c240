//! A Flow as it is written, in YAML, in the arguments of `jina gateway` or in Rust, to what the program runs.
//!
//! All three become one tree of keys and values, which one set of checks turns into a [`Config`] that cannot be
//! invalid, or into every fault there is at once. The environment is a parameter; nothing here opens files or sockets.

mod address;

mod arguments;

pub mod builder;

mod executor;

mod diagnostic;

mod flow_file;

mod gateway;

mod graph;

mod known;

mod node;

mod scalar;

mod section;

mod topology;

mod variables;

mod yaml;

#[cfg(test)]
mod tests;

pub use address::{Address, AddressError};
pub use arguments::GatewayArgs;
pub use diagnostic::{ConfigErrors, Diagnostic};
pub use executor::ExecutorConfig;
pub use gateway::{
    ApiKeyConfig, ApiKeySource, AuthConfig, ExposedEndpoint, FunctionConfig, GatewayConfig,
    HttpConfig, InvokeConfig, JwksSource, JwtConfig, Limits, Listener, OpenRoutes, Protocol,
    Retries, Signing, TlsFiles, WarmUp, WebSocketConfig,
};
pub use gateway::{MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest};

use std::sync::Arc;

use flowgate_flow::graph::FlowGraph;

/// A Flow that holds.
#[derive(Debug)]
pub struct Config {
    /// The Flow's name, if it has one.
    pub name: Option<String>,
    /// How the Gateway serves and calls.
    pub gateway: GatewayConfig,
    /// The deployments; an index is a [`flowgate_flow::graph::NodeId`].
    pub executors: Vec<ExecutorConfig>,
    /// Who waits for whom.
    pub graph: Arc<FlowGraph>,
}

/// A Flow that holds, and what in it has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// What the program runs.
    pub config: Config,
    /// What Jina would ignore as well, like unknown keys, and what is probably meant differently.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Reads a Flow file. `file` is its name in faults; `env` gives the environment's variables.
    ///
    /// # Errors
    /// Everything that is wrong with the Flow.
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
    /// Everything that is wrong with the arguments.
    pub fn from_gateway_args(
        args: &GatewayArgs,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigErrors> {
        arguments::load(args, env)
    }
}
