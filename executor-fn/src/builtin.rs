//! The Executors that come with the library: one that appends a greeting, one that changes nothing.

use flowgate_proto::{
    docarray::{DocumentProto, document_proto::Content},
    generate_id,
};

use crate::{Executor, Reply, Request};

/// The text of the Document that [`greeter`] appends.
pub const GREETING: &str = "hello from Flowgate";

/// Returns an Executor that appends a Document with a greeting, on every endpoint.
#[must_use]
pub fn greeter() -> Executor {
    Executor::new("Greeter").on_default(|request: Request| async move {
        let mut documents = request.into_documents();
        documents.push(DocumentProto {
            id: generate_id(),
            content: Some(Content::Text(GREETING.to_owned())),
            ..DocumentProto::default()
        });
        Ok(documents.into())
    })
}

/// Returns an Executor like Jina's `BaseExecutor`: it accepts every endpoint and changes nothing.
#[must_use]
pub fn pass_through() -> Executor {
    Executor::new("BaseExecutor").on_default(|_| async { Ok(Reply::unchanged()) })
}
