//! `when`: a condition, compiled once -> which documents a node gets to see, and the order in which the
//! client gets them back. The language is docarray 0.21's, recorded in `filter/recorded.tsv`.
//!
//! Documents are taken as decoded and normalised: ids filled in, `mime_type` guessed.

use std::collections::HashMap;

use flowgate_proto::docarray::DocumentProto;

use self::node::Node;
use super::pyregex::ClientPatterns;

pub use self::compile::FilterFault;

mod compile;

mod field;

mod node;

mod operand;

#[cfg(test)]
mod tests;

/// A compiled condition.
#[derive(Debug)]
pub struct Filter {
    /// `None` for `{}`, which lets everything pass.
    root: Option<Node>,
}

/// A document that the condition cannot be asked about; the request fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Two values that have no such comparison, a number and a string for example.
    #[error("the condition {operator} on `{field}` cannot compare {found} with {given}")]
    Incomparable {
        /// The field, as the condition has it.
        field: String,
        /// The operator.
        operator: &'static str,
        /// What the document has there.
        found: &'static str,
        /// What the condition compares it with.
        given: &'static str,
    },
    /// A value that the operator means nothing to, the length of a number for example.
    #[error("the condition {operator} on `{field}` cannot be asked of {found}")]
    Unsuited {
        /// The field, as the condition has it.
        field: String,
        /// The operator.
        operator: &'static str,
        /// What the document has there.
        found: &'static str,
    },
    /// A path that this document does not have.
    #[error("the condition {operator} on `{field}` finds no `{part}` in {found}")]
    DeadEnd {
        /// The field, or the field of the placeholder.
        field: String,
        /// The operator.
        operator: &'static str,
        /// What the document has where the path ends.
        found: &'static str,
        /// The part of the path that is not in it.
        part: String,
    },
    /// A pattern from a document that is no regular expression, or one that takes too long.
    #[error("the condition {operator} on `{field}` fails: {reason}")]
    Pattern {
        /// The field, as the condition has it.
        field: String,
        /// The operator.
        operator: &'static str,
        /// What is wrong with the pattern.
        reason: String,
    },
}

impl FilterError {
    /// The class of the exception that Jina raises here, for its text `Unexpected <class '...'>`.
    #[must_use]
    pub fn python_class(&self) -> &'static str {
        match self {
            Self::Incomparable {
                found: "a tensor", ..
            }
            | Self::Incomparable {
                given: "a tensor", ..
            } => "ValueError",
            Self::Incomparable { .. } | Self::Unsuited { .. } => "TypeError",
            Self::DeadEnd { found, part, .. } => {
                let is_index = part.trim().parse::<i64>().is_ok();
                match (*found, is_index) {
                    ("a list" | "a string" | "a list of documents", true) => "IndexError",
                    ("a list of documents", false) => "KeyError",
                    ("a list" | "a string", false) | (_, true) => "TypeError",
                    (_, false) => "AttributeError",
                }
            }
            Self::Pattern { .. } => "re.error",
        }
    }
}

impl Filter {
    /// Compiles the value of `when`. Null counts as no condition.
    ///
    /// # Errors
    /// All that is wrong with the condition, in its order.
    pub fn compile(condition: &serde_json::Value) -> Result<Self, Vec<FilterFault>> {
        compile::compile(condition).map(|root| Self { root })
    }

    /// The documents that the node gets to see, in their order.
    ///
    /// # Errors
    /// At the first document that the condition cannot be asked about, and when the patterns that the documents bring
    /// for `$regex` take too long together.
    pub fn keep(&self, documents: Vec<DocumentProto>) -> Result<Vec<DocumentProto>, FilterError> {
        let Some(root) = &self.root else {
            return Ok(documents);
        };
        let mut patterns = ClientPatterns::default();
        let mut kept = Vec::with_capacity(documents.len());
        for document in documents {
            if root.admits(&document, &mut patterns)? {
                kept.push(document);
            }
        }
        Ok(kept)
    }
}

/// Puts the documents of an answer in the order of the client's request; those that it did not have come
/// last, in their order. A Flow with any condition does so.
pub fn restore_order(documents: &mut [DocumentProto], client_ids: &[String]) {
    let mut places = HashMap::with_capacity(client_ids.len());
    // Documents without an id get one on their way, so that no two of them are the same.
    for (place, id) in client_ids
        .iter()
        .enumerate()
        .filter(|(_, id)| !id.is_empty())
    {
        places.entry(id.as_str()).or_insert(place);
    }
    documents.sort_by_key(|document| {
        places
            .get(document.id.as_str())
            .copied()
            .unwrap_or(usize::MAX)
    });
}
