//! A Flow built in Rust, as readable as Jina's `Flow().config_gateway(protocol=['grpc', 'http'], port=[..]).add(..)`.
//! It writes the same tree as a Flow file and is checked by the same code.

use std::{fmt, net::Ipv6Addr, time::Duration};

use flowgate_proto::Compression;

use super::{
    Loaded,
    diagnostic::{ConfigErrors, Report},
    flow_file,
    gateway::Protocol,
    node::{Key, Node, Typing, Value},
};

/// A Flow in the making.
///
/// ```
/// use flowgate_config::Protocol::{Grpc, Http};
/// use flowgate_config::builder::{Deployment, Flow, GatewayOptions};
/// use serde_json::json;
///
/// # fn main() -> Result<(), flowgate_config::ConfigErrors> {
/// let loaded = Flow::new()
///     .config_gateway(GatewayOptions::new().protocol([Grpc, Http]).port([50051, 8080]))
///     .add(Deployment::new("encoder").external("encoder-0", 9001).external("encoder-1", 9001))
///     .add(Deployment::new("english").at("grpc://en:9001").when(json!({"tags__lang": {"$eq": "en"}})))
///     .add(Deployment::new("greeter").at("inproc://greet").needs(["encoder"]))
///     .needs(["english", "greeter"], "joined")
///     .build()?;
/// assert!(loaded.warnings.is_empty());
/// assert_eq!(loaded.config.executors.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Flow {
    with: Vec<(Key, Node)>,
    gateway: Vec<(Key, Node)>,
    executors: Vec<Node>,
}

/// The Gateway's settings; what is not set has the default of a Flow file.
#[derive(Clone, Default)]
pub struct GatewayOptions(Vec<(Key, Node)>);

/// One deployment: an Executor in the Flow.
#[derive(Clone, Default)]
pub struct Deployment {
    entries: Vec<(Key, Node)>,
    addresses: Vec<Node>,
    metadata: Vec<(Key, Node)>,
}

impl Flow {
    /// A Flow without Executors, on gRPC and a free port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the Flow.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.with.push(entry("name", text(name)));
        self
    }

    /// Any key of a Flow file's `with`, with its value as JSON: what the Gateway and all deployments share.
    #[must_use]
    pub fn with(mut self, key: &str, value: serde_json::Value) -> Self {
        self.with.push(entry(key, Node::from(value).value));
        self
    }

    /// Sets up the Gateway.
    #[must_use]
    pub fn config_gateway(mut self, options: GatewayOptions) -> Self {
        self.gateway.extend(options.0);
        self
    }

    /// Adds a deployment behind the last one that does not float, unless it says what it needs.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "Jina's word for it")]
    pub fn add(mut self, deployment: Deployment) -> Self {
        self.executors.push(deployment.into_node());
        self
    }

    /// Joins deployments, at least two, in one of this name that only passes on what it gets.
    #[must_use]
    pub fn needs<'n>(self, names: impl IntoIterator<Item = &'n str>, name: &str) -> Self {
        let join = Deployment::new(name).with("method", text("needs"));
        self.add(join.needs(names))
    }

    /// As [`Flow::needs`], of all deployments that nobody needs yet.
    #[must_use]
    pub fn needs_all(self, name: &str) -> Self {
        self.add(Deployment::new(name).with("method", text("needs_all")))
    }

    /// Checks the Flow and makes it ready to serve, whatever the environment says.
    ///
    /// # Errors
    /// All that is wrong with it, by the keys that a Flow file has.
    pub fn build(self) -> Result<Loaded, ConfigErrors> {
        self.build_in(&|_| None)
    }

    /// As [`Flow::build`]; `env` gives the variables for what a Flow file takes from the environment too, the default
    /// host and the trusted roots.
    ///
    /// # Errors
    /// All that is wrong with it, by the keys that a Flow file has.
    pub fn build_in(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
        let entries = vec![
            entry("with", Value::Map(self.with)),
            entry("gateway", Value::Map(self.gateway)),
            entry("executors", Value::List(self.executors)),
        ];
        let root = Node::new(Value::Map(entries), None);
        let mut report = Report::new("the Flow");
        let config = flow_file::read(&root, Typing::AsWritten, env, &mut report);
        flow_file::loaded(config, report)
    }
}

impl GatewayOptions {
    /// All defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is served; needs as many ports.
    #[must_use]
    pub fn protocol(self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        self.with(
            "protocol",
            list(
                protocols
                    .into_iter()
                    .map(|protocol| text(&protocol.to_string())),
            ),
        )
    }

    /// The ports, in the order of the protocols.
    #[must_use]
    pub fn port(self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.with(
            "port",
            list(ports.into_iter().map(|port| Value::Whole(port.into()))),
        )
    }

    /// The address to listen on.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.with("host", text(host))
    }

    /// Requests in flight per call or stream; 0 is no limit.
    #[must_use]
    pub fn prefetch(self, requests: u32) -> Self {
        self.with("prefetch", Value::Whole(requests.into()))
    }

    /// The longest that one try at one Executor may take, at most a day; [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn timeout_send(self, timeout: Duration) -> Self {
        let value = match timeout {
            Duration::MAX => Value::Whole(-1),
            timeout => milliseconds(timeout),
        };
        self.with("timeout_send", value)
    }

    /// How often a failed call is tried again.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.with("retries", Value::Whole(retries.into()))
    }

    /// How requests to Executors are compressed.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        self.with("compression", text(compression.name()))
    }

    /// The title and description of the HTTP service.
    #[must_use]
    pub fn title(self, title: &str, description: &str) -> Self {
        self.with("title", text(title))
            .with("description", text(description))
    }

    /// Lets pages of any origin call.
    #[must_use]
    pub fn cors(self) -> Self {
        self.with("cors", Value::Bool(true))
    }

    /// Serves TLS with this certificate and key.
    #[must_use]
    pub fn tls(self, certfile: &str, keyfile: &str) -> Self {
        self.with("ssl_certfile", text(certfile))
            .with("ssl_keyfile", text(keyfile))
    }

    /// How long requests under way get to finish at the end.
    #[must_use]
    pub fn shutdown_timeout(self, timeout: Duration) -> Self {
        self.with("shutdown_timeout", milliseconds(timeout))
    }

    /// Any other key of a Flow file's `gateway`, with its value as JSON.
    #[must_use]
    pub fn set(self, key: &str, value: serde_json::Value) -> Self {
        self.with(key, Node::from(value).value)
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.push(entry(key, value));
        self
    }
}

impl Deployment {
    /// A deployment. Without an address it passes on what it gets, as a join needs no more.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            entries: vec![entry("name", text(name))],
            ..Self::default()
        }
    }

    /// Where the Executor is, like `grpc://host:port`; more than one are replicas that take turns.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        self.addresses.push(Node::new(text(address), None));
        self
    }

    /// Where an Executor runs that somebody else has started; more than one are replicas that take turns.
    #[must_use]
    pub fn external(self, host: &str, port: u16) -> Self {
        let address = if host.parse::<Ipv6Addr>().is_ok() {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        self.with("external", Value::Bool(true)).at(&address)
    }

    /// The Executor is behind TLS, where its address does not say so itself.
    #[must_use]
    pub fn tls(self) -> Self {
        self.with("tls", Value::Bool(true))
    }

    /// How many replicas there are, to be checked against the addresses.
    #[must_use]
    pub fn replicas(self, replicas: u32) -> Self {
        self.with("replicas", Value::Whole(replicas.into()))
    }

    /// What goes before; `gateway` is the start.
    #[must_use]
    pub fn needs<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.with("needs", list(names.into_iter().map(text)))
    }

    /// Only the documents for which this condition holds.
    #[must_use]
    pub fn when(self, condition: serde_json::Value) -> Self {
        self.with("when", Node::from(condition).value)
    }

    /// Answers are not waited for.
    #[must_use]
    pub fn floating(self) -> Self {
        self.with("floating", Value::Bool(true))
    }

    /// The Executor gets the parts of a join as they are.
    #[must_use]
    pub fn no_reduce(self) -> Self {
        self.with("no_reduce", Value::Bool(true))
    }

    /// A pair that is sent along with every data request.
    #[must_use]
    pub fn grpc_metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.push(entry(key, text(value)));
        self
    }

    /// Any other key of a Flow file's executor, with its value as JSON.
    #[must_use]
    pub fn set(self, key: &str, value: serde_json::Value) -> Self {
        self.with(key, Node::from(value).value)
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.entries.push(entry(key, value));
        self
    }

    fn into_node(mut self) -> Node {
        if !self.addresses.is_empty() {
            self.entries
                .push(entry("host", Value::List(self.addresses)));
        }
        if !self.metadata.is_empty() {
            self.entries
                .push(entry("grpc_metadata", Value::Map(self.metadata)));
        }
        Node::new(Value::Map(self.entries), None)
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("with", &Keys(&self.with))
            .field("gateway", &Keys(&self.gateway))
            .field("executors", &self.executors.len())
            .finish()
    }
}

impl fmt::Debug for GatewayOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GatewayOptions")
            .field(&Keys(&self.0))
            .finish()
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("entries", &Keys(&self.entries))
            .field("addresses", &self.addresses.len())
            .field("metadata", &Keys(&self.metadata))
            .finish()
    }
}

/// Entries without their values, any of which may be a secret.
struct Keys<'a>(&'a [(Key, Node)]);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| &key.text))
            .finish()
    }
}

fn entry(key: &str, value: Value) -> (Key, Node) {
    (Key::new(key, None), Node::new(value, None))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::List(
        values
            .into_iter()
            .map(|value| Node::new(value, None))
            .collect(),
    )
}

/// Rounded up, so that a very short time does not become none.
fn milliseconds(duration: Duration) -> Value {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    Value::Whole(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}
