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
//! On AWS Lambda the same program answers direct invocations: [`run`] and [`serve`] detect where they run.
//!
//! A request passes these modules: `inbound` decodes it (from gRPC or an invocation), `dispatch` applies Jina's rules,
//! `endpoint` finds the handler, `batch` collects requests where the endpoint is batched, and the handler turns a
//! `request` into a `reply` or an `error`.

mod batch;
pub mod builtin;
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
pub use dispatch::{Answer, Service};
pub use error::{Arg, Error};
pub use executor::{Executor, Identity};
pub use handler::{blocking, with_state};
pub use host::{
    CommandError, OPTIONS_HELP, OptionError, ServeError, ServeOptions, Shutdown, post_init_error,
    post_init_error_blocking, raw_payload, run, run_program, serve, serve_command, serve_on,
    stop_signal,
};
pub use inbound::invoke;
pub use reply::{Reply, struct_from_json};
pub use request::Request;

pub use flowgate_proto::{
    DataRequest, Documents, Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto},
    generate_id,
};
