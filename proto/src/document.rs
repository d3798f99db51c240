//! What becomes of a Document in a Jina process that decodes it and writes it again: ids, MIME types,
//! the places of chunks and matches, and values that say nothing and so vanish.

use bytes::Bytes;

use crate::{
    Kind, Struct,
    docarray::{DocumentProto, NdArrayProto, document_proto::Content, nd_array_proto},
    fresh_id,
};

mod mime;

#[cfg(test)]
mod tests;

/// Bytes of zeros that one call may fill in for arrays that have a shape and no elements. Those
/// beyond it stay without, which readers take for zeros all the same.
const MAX_ZEROS: usize = 16 << 20;

/// How deep chunks and matches are followed: deeper than protobuf lets them come.
const MAX_DEPTH: usize = 100;

/// Does to a document what a Jina 3.13 process does that decodes it and writes it again: gives it an
/// id and a `mime_type`, its chunks and matches their place, and drops what is empty.
///
/// Each call has its own budget of zeros to fill in (16 MiB). The documents of one request go through
/// [`normalise_all`], or a request of many such documents gets that much memory for each of them.
pub fn normalise(document: &mut DocumentProto) {
    normalise_all(std::slice::from_mut(document));
}

/// [`normalise`] for each of the documents, which share one budget of zeros.
pub fn normalise_all(documents: &mut [DocumentProto]) {
    let mut pass = Pass {
        zeros: MAX_ZEROS,
        empty_scores: EmptyScores::Dropped,
    };
    pass.all(documents, MAX_DEPTH);
}

/// Does the half of [`normalise`] that happens on decoding (or on building from JSON), before the
/// document is written again. A score without fields is still there.
pub(crate) fn settle_all(documents: &mut [DocumentProto]) {
    let mut pass = Pass {
        zeros: MAX_ZEROS,
        empty_scores: EmptyScores::Kept,
    };
    pass.all(documents, MAX_DEPTH);
}

struct Pass {
    /// Bytes of zeros still to be given out.
    zeros: usize,
    empty_scores: EmptyScores,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptyScores {
    Dropped,
    Kept,
}

impl Pass {
    fn all(&mut self, documents: &mut [DocumentProto], depth: usize) {
        let Some(below) = depth.checked_sub(1) else {
            return;
        };
        for document in documents {
            self.one(document, below);
        }
    }

    fn one(&mut self, document: &mut DocumentProto, below: usize) {
        if document.id.is_empty() {
            document.id = fresh_id();
        }
        settle_mime_type(document);
        self.settle_content(document);
        document.embedding.take_if(|array| !self.keeps(array));
        document.tags.take_if(|tags| tags.fields.is_empty());
        document.metadata.take_if(|held| held.fields.is_empty());
        if self.empty_scores == EmptyScores::Dropped {
            document.scores.retain(|_, s| *s != Default::default());
            document.evaluations.retain(|_, s| *s != Default::default());
        }
        // The children's own children first: they go by the place their parent came with.
        self.all(&mut document.chunks, below);
        self.all(&mut document.matches, below);
        place_children(document);
    }

    fn settle_content(&mut self, document: &mut DocumentProto) {
        let keep = match &mut document.content {
            Some(Content::Text(text)) => !text.is_empty(),
            Some(Content::Blob(blob)) => !blob.is_empty(),
            Some(Content::Tensor(tensor)) => self.keeps(tensor),
            None => return,
        };
        if !keep {
            document.content = None;
        }
    }

    /// Whether an array is one that docarray reads; zeros that are only meant are filled in.
    fn keeps(&mut self, array: &mut NdArrayProto) -> bool {
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
                    dense.buffer = self.zeros(&dense.shape);
                }
                known && !(dense.buffer.is_empty() && dense.shape.is_empty())
            }
            None => false,
        }
    }

    /// The zeros of a shape, or none of them when they are too many.
    fn zeros(&mut self, shape: &[u32]) -> Bytes {
        let size = shape
            .iter()
            .try_fold(8_usize, |size, &n| size.checked_mul(n as usize));
        match size.and_then(|size| Some((size, self.zeros.checked_sub(size)?))) {
            Some((size, left)) => {
                self.zeros = left;
                vec![0; size].into()
            }
            None => Bytes::new(),
        }
    }
}

fn has_known_format(parameters: Option<&Struct>) -> bool {
    let format = parameters.and_then(|held| held.fields.get("sparse_format"));
    match format.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(name)) => ["bsr", "coo", "csc", "csr"].contains(&name.as_str()),
        _ => false,
    }
}

/// A `mime_type` that came is kept, or taken for a file name extension if it is not of the form of
/// a type; without one the uri says.
fn settle_mime_type(document: &mut DocumentProto) {
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

/// Tells chunks and matches whose they are. A chunk knows its parent by id, a match does not.
fn place_children(document: &mut DocumentProto) {
    for chunk in &mut document.chunks {
        chunk.parent_id.clone_from(&document.id);
        chunk.granularity = document.granularity.saturating_add(1);
    }
    for matched in &mut document.matches {
        matched.adjacency = document.adjacency.saturating_add(1);
    }
}
