//! The Gateway of a Jina Flow: a client's request in, through the Flow's graph of Executors, one answer out.
//!
//! One request, from `curl` to its answer, file by file. `curl localhost:8080/post -d '{"data":[{"text":"hi"}]}'` opens a
//! connection that `host/container/listener.rs` takes and `connection.rs` serves; `dispatch.rs` sees by its head that
//! it is plain HTTP, and `inbound/http/data.rs` reads the JSON into a [`flowgate_proto::DataRequest`]. [`gateway`]
//! admits it, and `gateway/drive.rs` makes the calls that `flow/walk.rs` says are ready: the walk knows the graph, what
//! each node is to see and what a join makes of its parts, and nothing of sockets. [`outbound`] sends the request on, by
//! gRPC to the replica whose turn it is, or to an Executor compiled in. When nothing that the client waits for is under
//! way any more, `flow/walk/response.rs` puts the answer together, and it goes back the way it came.
//!
//! [`flowgate_config`] makes all of this out of a Flow, once, at start:
//!
//! ```
//! use flowgate_proto::DataRequest;
//! use flowgate_config::builder::{Deployment, Flow};
//! use gateway::context::Context;
//! use gateway::gateway::{Gateway, Registry};
//! use gateway::outbound::Clients;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let flow = Flow::new().add(Deployment::new("greeter").at("inproc://greet")).build()?;
//! let clients = Clients::new(&flow.config.gateway.invoke);
//! let gateway = Gateway::new(&flow.config, &Registry::default(), &clients)?;
//! let answer = gateway.handle(DataRequest::default(), Context::default()).await?;
//! let visited: Vec<_> = answer.routes.iter().map(|route| route.executor.as_str()).collect();
//! assert_eq!(visited, ["gateway", "greeter"]);
//! assert_eq!(answer.documents.decode()?.len(), 1);
//! # Ok(())
//! # }
//! ```

pub mod host;

pub mod inbound;

pub mod gateway;

pub mod outbound;

pub mod status;

pub mod error;

pub mod aws;

pub mod context;

pub mod telemetry;
