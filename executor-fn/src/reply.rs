//! What a handler returns, and the conversion of a JSON object to the `Struct` of results and tags.

use flowgate_proto::{Struct, docarray::DocumentProto};
use serde_json::Value as Json;

use crate::Error;

/// A handler's reply: new documents, results, both, or neither.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub(crate) documents: Option<Vec<DocumentProto>>,
    pub(crate) results: Option<Struct>,
}

impl Reply {
    /// Replaces the request's documents by these.
    #[must_use]
    pub const fn documents(documents: Vec<DocumentProto>) -> Self {
        Self {
            documents: Some(documents),
            results: None,
        }
    }

    /// Returns the request's documents unchanged.
    #[must_use]
    pub const fn unchanged() -> Self {
        Self {
            documents: None,
            results: None,
        }
    }

    /// Returns the request's documents unchanged, and `results`, which the client finds in the response's
    /// parameters under `__results__` and the name of this Executor process (`exec0/rep-0`).
    ///
    /// ```
    /// # use executor_fn::{Error, Reply, Request, struct_from_json};
    /// async fn count(request: Request) -> Result<Reply, Error> {
    ///     let count = request.documents().len();
    ///     Ok(Reply::results(struct_from_json(serde_json::json!({"count": count}))?))
    /// }
    /// ```
    #[must_use]
    pub const fn results(results: Struct) -> Self {
        Self {
            documents: None,
            results: Some(results),
        }
    }

    /// Adds documents that replace the request's.
    #[must_use]
    pub fn with_documents(mut self, documents: Vec<DocumentProto>) -> Self {
        self.documents = Some(documents);
        self
    }
}

impl From<Vec<DocumentProto>> for Reply {
    fn from(documents: Vec<DocumentProto>) -> Self {
        Self::documents(documents)
    }
}

/// Converts a JSON object to the `google.protobuf.Struct` of results, tags and parameters. Numbers become
/// doubles.
///
/// ```
/// let tags = executor_fn::struct_from_json(serde_json::json!({"words": 3, "top": ["a", "b"]}));
/// assert_eq!(tags.expect("an object").fields.len(), 2);
/// ```
///
/// # Errors
/// A `TypeError` when `json` is not an object.
pub fn struct_from_json(json: Json) -> Result<Struct, Error> {
    if !json.is_object() {
        let text = format!("expected a JSON object, got {json}");
        return Err(Error::new("TypeError", text));
    }
    Ok(flowgate_proto::struct_from_json(json).unwrap_or_default())
}
