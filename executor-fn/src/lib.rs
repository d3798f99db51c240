//! Write a Jina Executor in Rust. Bind async functions to endpoints; then serve the Executor over
//! gRPC, where a Jina 3.13 Gateway finds it like any other, or run it inside a Gateway.
//!
//! ```
//! use executor_fn::{
//!     DataRequest, DocumentProto, Error, Executor, Identity, Reply, Request, document_proto::Content,
//! };
//!
//! async fn shout(mut request: Request) -> Result<Reply, Error> {
//!     let mark = request.text("mark").unwrap_or("!").to_owned();
//!     for document in request.documents_mut() {
//!         match &mut document.content {
//!             Some(Content::Text(text)) => *text = text.to_uppercase() + &mark,
//!             _ => return Err(Error::value("every document needs a text").arg(document.id.clone())),
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
//! // `executor_fn::run(executor).await` would be a whole program: it serves the Executor over gRPC
//! // until SIGTERM (or answers invocations on Lambda). Here the Executor answers in this process.
//! let service = executor.into_service(Identity::of("shouter"));
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
//! State is shared by an `Arc` and [`with_state`], work that keeps a thread busy goes through
//! [`blocking`] (`blocking(with_state(&index, Index::search))` for both), and an endpoint whose requests gain from being answered together is
//! [`batched`](Executor::batched). `examples/` holds two Executors that do something real.
//!
//! On AWS Lambda the same program answers direct invocations: [`serve`] and [`run`] look where they are.
//!
//! A request's way: `inbound` (gRPC, or an invocation) to `dispatch` (Jina's rules), there through `endpoint` (which
//! handler) and perhaps `batch`, then the handler: a `request` in, a `reply` or an `error` out.

mod batch;
mod dispatch;
mod endpoint;
mod error;
mod executor;
pub mod greet;
pub mod host;
pub mod inbound;
pub mod info;
pub mod introspect;
mod json;
pub mod log;
mod reply;
mod request;
pub mod tensor;
pub mod variables;

pub use batch::{Batch, Batching};
pub use dispatch::{Answer, Service};
pub use endpoint::{blocking, with_state};
pub use error::{Arg, Error, python_repr};
pub use executor::{Executor, Identity};
pub use host::{
    command::{CommandError, serve_command},
    container::{Ended, ServeError, ServeOptions, serve, serve_on, stop_signal},
    program::{OptionError, run},
};
pub use json::structure;
pub use reply::Reply;
pub use request::Request;

pub use flowgate_proto::{
    DataRequest, Documents, Kind, Struct, Value,
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto},
    generate_id,
};
