//! Finds documents that `normalize` would not change, so that shared ones need not be copied.

use super::{MAX_DEPTH, has_known_format, mime};
use crate::docarray::{DocumentProto, NdArrayProto, document_proto::Content, nd_array_proto};

/// Whether [`super::normalize_all`] leaves all documents as they are. `false` does not mean that it would change one.
pub(super) fn are_normal(documents: &[DocumentProto]) -> bool {
    are_normal_to(documents, MAX_DEPTH)
}

fn are_normal_to(documents: &[DocumentProto], depth: usize) -> bool {
    let Some(below) = depth.checked_sub(1) else {
        return true;
    };
    documents.iter().all(|document| is_normal(document, below))
}

fn is_normal(document: &DocumentProto, below: usize) -> bool {
    let is_content_kept = match &document.content {
        None => true,
        Some(Content::Text(text)) => !text.is_empty(),
        Some(Content::Blob(blob)) => !blob.is_empty(),
        Some(Content::Tensor(tensor)) => is_array_kept(tensor),
    };
    let mut scores = document
        .scores
        .values()
        .chain(document.evaluations.values());
    let granularity = document.granularity.saturating_add(1);
    let adjacency = document.adjacency.saturating_add(1);
    !document.id.is_empty()
        && has_mime_type(document)
        && is_content_kept
        && document.embedding.as_deref().is_none_or(is_array_kept)
        && document
            .tags
            .as_ref()
            .is_none_or(|tags| !tags.fields.is_empty())
        && document
            .metadata
            .as_ref()
            .is_none_or(|metadata| !metadata.fields.is_empty())
        && scores.all(|score| *score != Default::default())
        && are_normal_to(&document.chunks, below)
        && are_normal_to(&document.matches, below)
        && document
            .chunks
            .iter()
            .all(|chunk| chunk.parent_id == document.id && chunk.granularity == granularity)
        && document
            .matches
            .iter()
            .all(|matched| matched.adjacency == adjacency)
}

fn has_mime_type(document: &DocumentProto) -> bool {
    let given = &document.mime_type;
    if given.is_empty() {
        return document.uri.is_empty() || mime::guess(&document.uri).is_none();
    }
    given.contains('/')
}

/// Whether an array stays, without zeros that would be filled in.
fn is_array_kept(array: &NdArrayProto) -> bool {
    let class = array.cls_name.as_str();
    match &array.content {
        Some(nd_array_proto::Content::Sparse(_)) => match class {
            "torch" | "tensorflow" => true,
            "scipy" => has_known_format(array.parameters.as_ref()),
            _ => false,
        },
        Some(nd_array_proto::Content::Dense(dense)) => {
            ["numpy", "list", "torch", "tensorflow", "paddle"].contains(&class)
                && !dense.buffer.is_empty()
        }
        None => false,
    }
}
