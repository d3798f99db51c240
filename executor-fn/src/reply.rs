//! What a handler gives back.

use flowgate_proto::{Struct, docarray::DocumentProto};

/// A handler's reply: documents, a results map, both, or nothing new.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub(crate) documents: Option<Vec<DocumentProto>>,
    pub(crate) results: Option<Struct>,
}

impl Reply {
    /// These documents instead of the request's.
    #[must_use]
    pub const fn documents(documents: Vec<DocumentProto>) -> Self {
        Self {
            documents: Some(documents),
            results: None,
        }
    }

    /// The request's documents as they came.
    #[must_use]
    pub const fn unchanged() -> Self {
        Self {
            documents: None,
            results: None,
        }
    }

    /// The request's documents as they came, and a map that the client finds in the parameters
    /// under `__results__` and the name of this Executor (`exec0/rep-0`).
    #[must_use]
    pub const fn results(results: Struct) -> Self {
        Self {
            documents: None,
            results: Some(results),
        }
    }

    /// The same reply with these documents.
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
