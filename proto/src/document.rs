//! Changes documents as a Jina process does that decodes and encodes them: fills in ids, MIME types and
//! the places of chunks and matches, and removes empty values.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Kind, Struct,
    docarray::{DocumentProto, NdArrayProto, document_proto::Content, nd_array_proto},
    generate_id,
};

mod mime;

mod normal;

#[cfg(test)]
mod tests;

/// How many bytes of zeros one call may fill in for arrays with a shape and no elements. Arrays beyond
/// this limit stay without elements, which readers also take for zeros.
const MAX_ZERO_BYTES: usize = 16 << 20;

/// How many levels of chunks and matches are visited: more than protobuf decoding allows.
const MAX_DEPTH: usize = 100;

/// Changes a document as a Jina 3.13 process does that decodes and encodes it: fills in its id and
/// `mime_type` and the places of its chunks and matches, and removes empty values.
///
/// Each call may fill in 16 MiB of zeros. Use [`normalize_all`] for the documents of one request, so
/// that they share this budget.
pub fn normalize(document: &mut DocumentProto) {
    normalize_all(std::slice::from_mut(document));
}

/// Applies [`normalize`] to all documents, which share one budget of zeros.
pub fn normalize_all(documents: &mut [DocumentProto]) {
    let mut pass = Pass {
        zeros_left: MAX_ZERO_BYTES,
        empty_scores: EmptyScores::Remove,
    };
    pass.normalize_all(documents, MAX_DEPTH);
}

/// Does the same for a list that may be shared, which is copied only if it changes.
pub fn normalize_shared(documents: &mut Arc<Vec<DocumentProto>>) {
    let is_shared = Arc::get_mut(documents).is_none();
    if !is_shared || !normal::are_normal(documents) {
        normalize_all(Arc::make_mut(documents).as_mut_slice());
    }
}

/// Applies the part of [`normalize`] that happens on decoding, or on building a document from JSON.
/// Scores without fields are removed only on encoding, and so remain.
pub(crate) fn normalize_decoded(documents: &mut [DocumentProto]) {
    let mut pass = Pass {
        zeros_left: MAX_ZERO_BYTES,
        empty_scores: EmptyScores::Keep,
    };
    pass.normalize_all(documents, MAX_DEPTH);
}

struct Pass {
    /// Bytes of zeros that may still be filled in.
    zeros_left: usize,
    empty_scores: EmptyScores,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptyScores {
    Remove,
    Keep,
}

impl Pass {
    fn normalize_all(&mut self, documents: &mut [DocumentProto], depth: usize) {
        let Some(below) = depth.checked_sub(1) else {
            return;
        };
        for document in documents {
            self.normalize(document, below);
        }
    }

    fn normalize(&mut self, document: &mut DocumentProto, below: usize) {
        if document.id.is_empty() {
            document.id = generate_id();
        }
        fill_in_mime_type(document);
        self.normalize_content(document);
        document.embedding.take_if(|array| !self.keep_array(array));
        document.tags.take_if(|tags| tags.fields.is_empty());
        document
            .metadata
            .take_if(|metadata| metadata.fields.is_empty());
        if self.empty_scores == EmptyScores::Remove {
            document.scores.retain(|_, s| *s != Default::default());
            document.evaluations.retain(|_, s| *s != Default::default());
        }
        // Nested documents first: Jina places them by the values that their parent arrived with.
        self.normalize_all(&mut document.chunks, below);
        self.normalize_all(&mut document.matches, below);
        place_children(document);
    }

    fn normalize_content(&mut self, document: &mut DocumentProto) {
        let keep = match &mut document.content {
            Some(Content::Text(text)) => !text.is_empty(),
            Some(Content::Blob(blob)) => !blob.is_empty(),
            Some(Content::Tensor(tensor)) => self.keep_array(tensor),
            None => return,
        };
        if !keep {
            document.content = None;
        }
    }

    /// Returns whether docarray can read the array. Fills in the zeros of an array that has only a shape.
    fn keep_array(&mut self, array: &mut NdArrayProto) -> bool {
        let class = array.cls_name.as_str();
        match &mut array.content {
            Some(nd_array_proto::Content::Sparse(_)) => match class {
                "torch" | "tensorflow" => true,
                "scipy" => has_known_format(array.parameters.as_ref()),
                _ => false,
            },
            Some(nd_array_proto::Content::Dense(dense)) => {
                let known = ["numpy", "list", "torch", "tensorflow", "paddle"].contains(&class);
                if known && dense.buffer.is_empty() && !dense.shape.is_empty() {
                    "<f8".clone_into(&mut dense.dtype);
                    dense.buffer = self.take_zeros(&dense.shape);
                }
                known && !(dense.buffer.is_empty() && dense.shape.is_empty())
            }
            None => false,
        }
    }

    /// Returns the zeros of a shape, or no bytes when they exceed the budget.
    fn take_zeros(&mut self, shape: &[u32]) -> Bytes {
        let size = shape
            .iter()
            .try_fold(8_usize, |size, &n| size.checked_mul(n as usize));
        match size.and_then(|size| Some((size, self.zeros_left.checked_sub(size)?))) {
            Some((size, left)) => {
                self.zeros_left = left;
                vec![0; size].into()
            }
            None => Bytes::new(),
        }
    }
}

fn has_known_format(parameters: Option<&Struct>) -> bool {
    let format = parameters.and_then(|parameters| parameters.fields.get("sparse_format"));
    match format.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(name)) => ["bsr", "coo", "csc", "csr"].contains(&name.as_str()),
        _ => false,
    }
}

/// Keeps a given `mime_type` that contains a slash, takes any other for a file name extension, and
/// guesses a missing one from the uri.
fn fill_in_mime_type(document: &mut DocumentProto) {
    let given = &document.mime_type;
    let guess = if given.is_empty() {
        mime::guess(&document.uri)
    } else if given.contains('/') {
        None
    } else {
        mime::guess(&format!("*.{given}"))
    };
    if let Some(guess) = guess {
        document.mime_type = guess;
    }
}

/// Sets the place of chunks and matches. A chunk gets its parent's id, a match does not.
fn place_children(document: &mut DocumentProto) {
    for chunk in &mut document.chunks {
        chunk.parent_id.clone_from(&document.id);
        chunk.granularity = document.granularity.saturating_add(1);
    }
    for matched in &mut document.matches {
        matched.adjacency = document.adjacency.saturating_add(1);
    }
}
