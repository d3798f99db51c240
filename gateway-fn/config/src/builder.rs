//! A Flow built in Rust, like Jina's `Flow(protocol=['grpc', 'http'], port=[..]).add(..)`. It becomes the same tree as a
//! Flow file, and is validated by the same code.

use std::{fmt, net::Ipv6Addr};

use serde_json::{Value as Json, json};

use super::{
    Loaded,
    diagnostic::{ConfigErrors, Report},
    flow_file,
    gateway::Protocol,
    node::{Key, Node, Value},
    scalar::Typing,
};

/// A Flow under construction. [`Flow::set`] and [`Deployment::set`] set any key of a Flow file; the other methods are
/// shorter forms of the most common ones.
///
/// ```
/// use flowgate_config::Protocol::{Grpc, Http};
/// use flowgate_config::builder::{Deployment, Flow};
/// use serde_json::json;
///
/// # fn main() -> Result<(), flowgate_config::ConfigErrors> {
/// let loaded = Flow::new()
///     .protocol([Grpc, Http])
///     .port([50051, 8080])
///     .set("timeout_send", json!(5000))
///     .add(Deployment::new("encoder").external("encoder-0", 9001).external("encoder-1", 9001))
///     .add(Deployment::new("english").at("grpc://en:9001").set("when", json!({"tags__lang": {"$eq": "en"}})))
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
    with: Entries,
    executors: Vec<Node>,
}

/// One deployment of a Flow under construction.
#[derive(Clone, Default)]
pub struct Deployment {
    entries: Entries,
    addresses: Vec<Json>,
}

/// Keys and values; the last of equal keys wins.
#[derive(Clone, Default)]
struct Entries(Vec<(Key, Node)>);

impl Flow {
    /// A Flow without Executors, with gRPC on a free port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets any key of a Flow file's `with`: the Gateway's settings, and what all deployments share.
    #[must_use]
    pub fn set(mut self, key: &str, value: Json) -> Self {
        self.with.set(key, value);
        self
    }

    /// Sets the protocols of the listeners; needs as many ports.
    #[must_use]
    pub fn protocol(self, protocols: impl IntoIterator<Item = Protocol>) -> Self {
        let protocols = protocols.into_iter().map(|protocol| protocol.to_string());
        self.set("protocol", protocols.collect())
    }

    /// Sets the ports, in the order of the protocols.
    #[must_use]
    pub fn port(self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.set("port", ports.into_iter().collect())
    }

    /// Adds a deployment. Without `needs` it follows the last deployment that is not floating.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the name of Jina's method")]
    pub fn add(mut self, deployment: Deployment) -> Self {
        self.executors.push(deployment.into_node());
        self
    }

    /// Joins at least two deployments in a new one, which returns its requests unchanged.
    #[must_use]
    pub fn needs<'n>(self, names: impl IntoIterator<Item = &'n str>, name: &str) -> Self {
        let join = Deployment::new(name).set("method", json!("needs"));
        self.add(join.needs(names))
    }

    /// Joins all deployments that no other one needs yet, like [`Flow::needs`].
    #[must_use]
    pub fn needs_all(self, name: &str) -> Self {
        self.add(Deployment::new(name).set("method", json!("needs_all")))
    }

    /// Validates the Flow, independently of the environment.
    ///
    /// # Errors
    /// Everything that is invalid, with the keys of a Flow file.
    pub fn build(self) -> Result<Loaded, ConfigErrors> {
        self.build_in(&|_| None)
    }

    /// Like [`Flow::build`]; `env` returns the variables that a Flow file uses too, for the default host and the trusted
    /// root certificates.
    ///
    /// # Errors
    /// Everything that is invalid, with the keys of a Flow file.
    pub fn build_in(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
        let entry = |key: &str, value| (Key::new(key, None), Node::new(value, None));
        let root = Value::Map(vec![
            entry("with", Value::Map(self.with.0)),
            entry("executors", Value::List(self.executors)),
        ]);
        let mut report = Report::new("the Flow");
        let config = flow_file::read(&Node::new(root, None), Typing::AsWritten, env, &mut report);
        flow_file::loaded(config.map(|(config, _)| config), report)
    }
}

impl Deployment {
    /// A deployment. Without an address it returns its requests unchanged, which is enough for a join.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::default().set("name", json!(name))
    }

    /// Sets any key of an executor in a Flow file.
    #[must_use]
    pub fn set(mut self, key: &str, value: Json) -> Self {
        self.entries.set(key, value);
        self
    }

    /// Adds the address of a replica, like `grpc://host:port`. Several replicas take turns.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        self.addresses.push(json!(address));
        self
    }

    /// Adds the host and port of a replica that is already running. Several replicas take turns.
    #[must_use]
    pub fn external(self, host: &str, port: u16) -> Self {
        let address = if host.parse::<Ipv6Addr>().is_ok() {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        self.set("external", json!(true)).at(&address)
    }

    /// Sets the deployments before this one; `gateway` is the start.
    #[must_use]
    pub fn needs<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        self.set("needs", names.into_iter().collect())
    }

    fn into_node(mut self) -> Node {
        if !self.addresses.is_empty() {
            self.entries.set("host", Json::Array(self.addresses));
        }
        Node::new(Value::Map(self.entries.0), None)
    }
}

impl Entries {
    fn set(&mut self, key: &str, value: Json) {
        self.0.push((Key::new(key, None), value.into()));
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("with", &self.with)
            .field("executors", &self.executors.len())
            .finish()
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("entries", &self.entries)
            .field("addresses", &self.addresses.len())
            .finish()
    }
}

impl fmt::Debug for Entries {
    /// Shows the keys only, because any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| &key.text))
            .finish()
    }
}
