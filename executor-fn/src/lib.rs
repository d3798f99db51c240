//! Write a Jina Executor in Rust: bind async functions to endpoints, then serve the Executor in one of three ways:
//!
//! - over gRPC, where a Jina 3.13 Gateway calls it like any other Executor;
//! - as an AWS Lambda function;
//! - inside a Flowgate Gateway.
//!
//! ```
//! use executor_fn::{
//!     DataRequest, DocumentProto, Error, Executor, Identity, Reply, Request, document_proto::Content,
//! };
//!
//! async fn shout(mut request: Request) -> Result<Reply, Error> {
//!     let mark = request.text_parameter("mark").unwrap_or("!").to_owned();
//!     for document in request.documents_mut() {
//!         match &mut document.content {
//!             Some(Content::Text(text)) => *text = text.to_uppercase() + &mark,
//!             _ => return Err(Error::value_error("a document has no text").arg(document.id.clone())),
//!         }
//!     }
//!     Ok(request.into_documents().into())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let executor = Executor::new("Shouter")
//!     .on("/shout", shout)
//!     .on_default(|_| async { Ok(Reply::unchanged()) });
//!
//! // `executor_fn::run(executor).await` is a complete `main`: a gRPC server that runs until SIGTERM, or a function on
//! // Lambda. This example answers one request without a server.
//! let service = executor.into_service(Identity::first_replica("shouter"));
//! let mut request = DataRequest::default();
//! request.header.exec_endpoint = Some("/shout".to_owned());
//! request.documents = vec![DocumentProto {
//!     content: Some(Content::Text("hey".to_owned())),
//!     ..DocumentProto::default()
//! }]
//! .into();
//!
//! let answer = service.process(vec![request]).await;
//! let documents = answer.request.documents.into_vec().expect("documents");
//! assert_eq!(documents[0].content, Some(Content::Text("HEY!".to_owned())));
//! # }
//! ```
//!
//! To share state between handlers, put it into an `Arc` and bind its methods with [`with_state`]. To keep a handler that
//! computes for long from delaying other requests, wrap it in [`blocking`]. `blocking(with_state(&index, Index::search))`
//! does both. To collect the documents of several requests into one call, bind the endpoint with
//! [`batched`](Executor::batched). `examples/` contains two complete Executors.
//!
//! [`Request::context`] has what accompanies a request, in all three homes: the metadata and the trace that the Gateway
//! passes on, the deadline, and the invocation if the Executor is a Lambda function. It also starts work that may outlive
//! the answer.
//!
//! ```
//! use executor_fn::{Error, Executor, Reply, Request, struct_from_json};
//!
//! async fn who(request: Request) -> Result<Reply, Error> {
//!     let context = request.context();
//!     // `None` over gRPC and inside a Gateway that is not a function.
//!     let tenant = context.lambda().and_then(|lambda| lambda.tenant_id.as_deref());
//!     let trace = context.metadata("traceparent");
//!     let left = context.remaining().map(|left| left.as_secs());
//!     let results = serde_json::json!({"tenant": tenant, "trace": trace, "seconds_left": left});
//!     Ok(Reply::results(struct_from_json(results)?))
//! }
//!
//! let executor = Executor::new("Who").on("/who", who);
//! ```
//!
//! An error is the answer to its request, in every home alike, and so is a panic: status, class name and arguments are in
//! the header of the answer, and other requests go on. Results have the key `NAME/rep-0`: NAME is the name that was chosen
//! for the process (`--name`, `JINA_DEPLOYMENT_NAME`), else the Executor's name in the Flow that calls it, as far as the
//! caller sends it (a Gateway does so to a Lambda function and to an Executor in its process), else its class.
//!
//! On AWS Lambda the same program answers direct invocations: [`run`] and [`serve`] detect where they run. A program that
//! loads a model or an index first does so inside [`run_program`], so that Lambda shows why it could not.
//!
//! A request passes these modules: `inbound` decodes it (from gRPC or an invocation), `dispatch` applies Jina's rules,
//! `endpoint` finds the handler, `batch` collects requests where the endpoint is batched, and the handler turns a
//! `request` into a `reply` or an `error`.

mod batch;
pub mod builtin;
mod context;
mod dispatch;
mod endpoint;
mod error;
mod executor;
mod handler;
mod host;
mod inbound;
pub mod info;
pub mod introspect;
pub mod log;
mod reply;
pub mod report;
mod request;
pub mod tensor;
pub mod variables;

pub use batch::{Batch, Batching};
pub use context::{CallContext, LambdaContext};
pub use dispatch::{Answer, Service};
pub use error::{Arg, Error};
pub use executor::{Executor, Identity};
pub use handler::{blocking, with_state};
pub use host::{
    AfterAnswer, CommandError, InvocationHold, OPTIONS_HELP, OptionError, ServeError, ServeOptions,
    Shutdown, init_panic_message, post_init_error, post_init_error_blocking, raw_payload, run,
    run_program, serve, serve_command, serve_on, stop_signal,
};
pub use inbound::{grpc_timeout, invoke};
pub use reply::{Reply, struct_from_json};
pub use request::Request;

pub use flowgate_proto::{
    DataRequest, Documents, Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto},
    generate_id,
};
