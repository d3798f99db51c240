//! Selects the documents that a node gets by its condition `when`, and restores the client's order in the response. The
//! language is docarray 0.21's, recorded in `filter/recorded.tsv`.
//!
//! Documents must be decoded and normalized before: ids filled in, `mime_type` guessed.

use std::{collections::HashMap, sync::Arc};

use flowgate_proto::docarray::DocumentProto;

use self::node::Node;
use super::pyregex::ClientPatterns;

pub use self::compile::FilterSyntaxError;

mod compile;

mod field;

mod node;

mod operand;

#[cfg(test)]
mod tests;

/// A compiled condition.
#[derive(Debug)]
pub struct Filter {
    /// `None` for `{}`, which selects every document.
    root: Option<Node>,
}

/// Why a condition cannot be evaluated for a document. The request then fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The operator cannot compare these two values, such as a number and a string.
    #[error("the condition {operator} on `{field}` cannot compare {found} with {operand}")]
    Incomparable {
        /// The field, as written in the condition.
        field: String,
        /// The operator.
        operator: &'static str,
        /// The type of the value in the document.
        found: &'static str,
        /// The type of the value in the condition.
        operand: &'static str,
    },
    /// The operator does not apply to this value, such as `$size` to a number.
    #[error("the condition {operator} on `{field}` does not apply to {found}")]
    NotApplicable {
        /// The field, as written in the condition.
        field: String,
        /// The operator.
        operator: &'static str,
        /// The type of the value in the document.
        found: &'static str,
    },
    /// The document does not have this path.
    #[error("the condition {operator} on `{field}` finds no `{part}` in {found}")]
    MissingPart {
        /// The field, or the field in the placeholder.
        field: String,
        /// The operator.
        operator: &'static str,
        /// The type of the value where the path breaks off.
        found: &'static str,
        /// The part of the path that is missing.
        part: String,
    },
    /// A pattern from a document is not a valid regular expression, or takes too long.
    #[error("the condition {operator} on `{field}` fails: {reason}")]
    Pattern {
        /// The field, as written in the condition.
        field: String,
        /// The operator.
        operator: &'static str,
        /// What is wrong with the pattern.
        reason: String,
    },
}

impl FilterError {
    /// Returns the class of the exception that Jina raises, for its text `Unexpected <class '...'>`.
    #[must_use]
    pub fn python_class(&self) -> &'static str {
        match self {
            Self::Incomparable {
                found: "a tensor", ..
            }
            | Self::Incomparable {
                operand: "a tensor",
                ..
            } => "ValueError",
            Self::Incomparable { .. } | Self::NotApplicable { .. } => "TypeError",
            Self::MissingPart { found, part, .. } => {
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
    /// All errors of the condition, in their order.
    pub fn compile(condition: &serde_json::Value) -> Result<Self, Vec<FilterSyntaxError>> {
        compile::compile(condition).map(|root| Self { root })
    }

    /// Returns the documents that fulfil the condition, in their order. Of a shared list only these are copied.
    ///
    /// # Errors
    /// When the condition cannot be evaluated for a document, or when all `$regex` patterns that come from documents take
    /// too long together.
    pub fn select(
        &self,
        documents: Arc<Vec<DocumentProto>>,
    ) -> Result<Arc<Vec<DocumentProto>>, FilterError> {
        let Some(root) = &self.root else {
            return Ok(documents);
        };
        let mut patterns = ClientPatterns::default();
        let mut selected = Vec::with_capacity(documents.len());
        match Arc::try_unwrap(documents) {
            Ok(documents) => {
                for document in documents {
                    if root.matches(&document, &mut patterns)? {
                        selected.push(document);
                    }
                }
            }
            Err(documents) => {
                for document in documents.iter() {
                    if root.matches(document, &mut patterns)? {
                        selected.push(document.clone());
                    }
                }
            }
        }
        Ok(Arc::new(selected))
    }
}

/// Sorts the documents of a response in the order of the client's request. New documents come last, in their order. A Flow
/// with a condition needs this.
pub fn restore_order(documents: &mut [DocumentProto], client_ids: &[String]) {
    let mut positions = HashMap::with_capacity(client_ids.len());
    // An empty id matches no document of the response: documents without an id get one in the Flow.
    for (position, id) in client_ids
        .iter()
        .enumerate()
        .filter(|(_, id)| !id.is_empty())
    {
        positions.entry(id.as_str()).or_insert(position);
    }
    documents.sort_by_key(|document| {
        positions
            .get(document.id.as_str())
            .copied()
            .unwrap_or(usize::MAX)
    });
}
