//! The Gateway of a Jina Flow: it sends a client's request through the Flow's graph of Executors and returns one answer.
//!
//! Follow one `curl` through the files; the paths begin in `gateway-fn/`.
//!
//! ```text
//! curl localhost:8080/post -d '{"data":[{"text":"hi"}]}'
//! ```
//!
//! 1. `flowgate/src/container.rs` has bound the port (package `flowgate`). `flowgate_server` accepts the connection and gives
//!    it to a worker thread, on which the request stays.
//! 2. `flowgate/src/container/router.rs` sees by the request's head that it is plain HTTP, and passes it to the router of
//!    [`inbound::http`].
//! 3. `src/inbound/http.rs` checks the caller ([`flowgate_auth`]) and finds the route; `src/inbound/http/data.rs` decodes
//!    the JSON into a [`flowgate_proto::DataRequest`].
//! 4. `src/gateway.rs` admits the request, if fewer than `max_concurrent_requests` are running.
//! 5. `src/gateway/drive.rs` makes the calls that the walk through the graph says are ready. The walk
//!    ([`flowgate_flow::walk`], in `flow/src/walk.rs`) is pure: it decides what each node receives, merges the answers of
//!    branches, and knows nothing of sockets.
//! 6. `src/outbound.rs` makes the call: by gRPC to the next replica, by Lambda invocation, or to an Executor in this
//!    process.
//! 7. When all awaited calls are answered, `flow/src/walk/response.rs` builds the answer, and it goes back the same way.
//!
//! A gRPC request takes a shorter way in: `src/inbound/grpc/data.rs` reads it from the frames of HTTP/2 in step 2, and hands
//! it to step 4.
//!
//! On AWS Lambda steps 1 and 2 are in [`host::lambda`]: one event is one request. A function with your own Executors inside
//! is a program of ten lines: see [`host::lambda::run_with`].
//!
//! [`flowgate_config`] reads the Flow once at start, and the host prepares the rest from it:
//!
//! ```
//! use flowgate_config::builder::{Deployment, Flow};
//! use flowgate_proto::DataRequest;
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
//!
//! To see what a host composes beside the Gateway (the check of callers and the status), read [`inbound::Services`].

pub mod host;

pub mod inbound;

pub mod gateway;

pub mod outbound;

pub mod status;

pub mod error;

pub mod context;

pub mod telemetry;

pub use flowgate_aws as aws;
