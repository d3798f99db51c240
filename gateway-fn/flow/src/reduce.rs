//! Merges the requests that meet at a join into one. Documents with the same id become one document, in which the fields
//! of the earlier request win.
//!
//! It merges each field as docarray 0.21 does (`reduce/recorded.tsv`).

use std::{collections::HashMap, mem, sync::Arc};

use flowgate_proto::{
    DataRequest, Documents, DocumentsError, Parameters, Struct,
    docarray::{DocumentProto, document_proto::Content},
};

#[cfg(test)]
mod tests;

/// The levels of matches and chunks that are merged. Decoding allows half as many. An Executor in this process may return
/// deeper documents; below this level they are not merged, and both are kept.
const MAX_DEPTH: usize = 100;

/// Merges requests into the first of them.
///
/// The result has the header and the routes of the first request, and a `__results__` parameter that combines the
/// results of all requests. If no request has documents, the field `data` stays as it was in the first. A single
/// request is returned unchanged.
///
/// # Errors
/// When documents or parameters cannot be decoded.
pub fn reduce(mut parts: Vec<DataRequest>) -> Result<DataRequest, DocumentsError> {
    if parts.len() < 2 {
        return Ok(parts.pop().unwrap_or_default());
    }
    let parameters = merge_parameters(&parts)?;
    let documents = merge_documents(&mut parts)?;
    let mut base = parts.swap_remove(0);
    base.parameters = parameters;
    if let Some(documents) = documents {
        base.documents = documents.into();
    }
    Ok(base)
}

/// Merges lists of documents into the first of them.
///
/// If an earlier list has a document with the same id, that document stays and only its unset fields are filled in;
/// `tags`, `scores`, `evaluations` and `location` count as one field each. Content of another type replaces the earlier
/// content. Matches and chunks are merged in the same way. All other documents are appended.
#[must_use]
pub fn reduce_documents(parts: Vec<Vec<DocumentProto>>) -> Vec<DocumentProto> {
    let mut parts = parts.into_iter();
    let mut base = parts.next().unwrap_or_default();
    merge_lists(&mut base, parts.flatten(), MAX_DEPTH, |_| {});
    base
}

fn merge_parameters(parts: &[DataRequest]) -> Result<Parameters, DocumentsError> {
    let mut merged = Struct::default();
    for part in parts {
        if let Some(results) = part.parameters.results()? {
            merged.fields.extend(results.fields);
        }
    }
    let first = parts.first().map(|part| &part.parameters);
    Ok(first.unwrap_or(&Parameters::EMPTY).with_results(merged)?)
}

/// Takes the documents out of the requests and merges them. Returns `None`, and leaves the requests unchanged, if there
/// are no documents.
fn merge_documents(
    parts: &mut [DataRequest],
) -> Result<Option<Vec<DocumentProto>>, DocumentsError> {
    let lists: Result<Vec<_>, _> = parts.iter().map(|part| part.documents.decode()).collect();
    let lists = lists?;
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    for part in parts {
        // Drops the second reference to the decoded lists, so that they need not be copied.
        part.documents = Documents::default();
    }
    let owned = lists.into_iter().map(Arc::unwrap_or_clone).collect();
    Ok(Some(reduce_documents(owned)))
}

/// Merges `others` into `base`, and calls `on_append` for each document that is appended.
fn merge_lists(
    base: &mut Vec<DocumentProto>,
    others: impl Iterator<Item = DocumentProto>,
    depth: usize,
    on_append: impl Fn(&mut DocumentProto),
) {
    // Of several documents with the same id the last wins, as in docarray.
    let positions = base
        .iter()
        .enumerate()
        .map(|(position, document)| (document.id.clone(), position));
    let mut positions: HashMap<String, usize> = positions.collect();
    for mut other in others {
        let position = positions.get(&other.id);
        let existing = position.and_then(|position| base.get_mut(*position));
        match existing.filter(|existing| !existing.id.is_empty() && depth > 0) {
            Some(existing) => merge_document(existing, other, depth - 1),
            None => {
                on_append(&mut other);
                positions.insert(other.id.clone(), base.len());
                base.push(other);
            }
        }
    }
}

fn merge_document(into: &mut DocumentProto, from: DocumentProto, depth: usize) {
    set_if_default(&mut into.granularity, from.granularity);
    set_if_default(&mut into.adjacency, from.adjacency);
    set_if_default(&mut into.weight, from.weight);
    set_if_default(&mut into.uri, from.uri);
    set_if_default(&mut into.modality, from.modality);
    set_if_default(&mut into.mime_type, from.mime_type);
    set_if_default(&mut into.offset, from.offset);
    set_if_default(&mut into.location, from.location);
    set_if_default(&mut into.embedding, from.embedding);
    set_struct_if_empty(&mut into.tags, from.tags);
    set_if_default(&mut into.scores, from.scores);
    set_if_default(&mut into.evaluations, from.evaluations);
    set_struct_if_empty(&mut into.metadata, from.metadata);
    let new = content_type(from.content.as_ref());
    if new.is_some() && new != content_type(into.content.as_ref()) {
        into.content = from.content;
    }
    let adjacency = into.adjacency.saturating_add(1);
    merge_lists(
        &mut into.matches,
        from.matches.into_iter(),
        depth,
        |matched| {
            matched.adjacency = adjacency;
        },
    );
    let granularity = into.granularity.saturating_add(1);
    let parent = &into.id;
    merge_lists(&mut into.chunks, from.chunks.into_iter(), depth, |chunk| {
        chunk.granularity = granularity;
        chunk.parent_id.clone_from(parent);
    });
}

fn set_if_default<T: Default + PartialEq>(field: &mut T, value: T) {
    if *field == T::default() {
        *field = value;
    }
}

/// A `Struct` without fields counts as unset.
fn set_struct_if_empty(field: &mut Option<Struct>, value: Option<Struct>) {
    if field.as_ref().is_none_or(|object| object.fields.is_empty()) {
        *field = value;
    }
}

/// Returns the type of content, or `None` if it is empty, which counts as unset.
fn content_type(content: Option<&Content>) -> Option<mem::Discriminant<Content>> {
    let content = content?;
    let is_set = match content {
        Content::Text(text) => !text.is_empty(),
        Content::Blob(blob) => !blob.is_empty(),
        Content::Tensor(tensor) => tensor.content.is_some(),
    };
    is_set.then(|| mem::discriminant(content))
}
