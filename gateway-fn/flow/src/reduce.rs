//! The parts that meet at a join -> one request: documents of the same id become one, the earlier part
//! has precedence, nothing is lost.
//!
//! Field by field this is what docarray 0.21 does (`reduce/recorded.tsv`).

use std::{collections::HashMap, mem, sync::Arc};

use flowgate_proto::{
    DataRequest, Documents, DocumentsError, Parameters, Struct,
    docarray::{DocumentProto, document_proto::Content},
};

#[cfg(test)]
mod tests;

/// Levels of matches and chunks that are merged. Decoding allows half as many; documents of an Executor in
/// this process might go deeper, and are then kept side by side.
const MAX_DEPTH: usize = 100;

/// Reduces requests into the first of them.
///
/// Header and routes are the first part's; the routes of the others are dropped. `__results__` of all parts
/// are united, and is there afterwards in any case. When no part has a document, the field stays as it was.
/// A single part comes back untouched.
///
/// # Errors
/// When documents or parameters cannot be decoded.
pub fn reduce(mut parts: Vec<DataRequest>) -> Result<DataRequest, DocumentsError> {
    if parts.len() < 2 {
        return Ok(parts.pop().unwrap_or_default());
    }
    let parameters = united_parameters(&parts)?;
    let documents = united_documents(&mut parts)?;
    let mut base = parts.swap_remove(0);
    base.parameters = parameters;
    if let Some(documents) = documents {
        base.documents = documents.into();
    }
    Ok(base)
}

/// Reduces lists of documents into the first of them.
///
/// A document that an earlier part has too gives it the fields that it lacks; `tags`, `scores`,
/// `evaluations` and `location` count as one field each. Content of another kind replaces the earlier one.
/// Matches and chunks are reduced alike. Every other document is appended.
#[must_use]
pub fn reduce_documents(parts: Vec<Vec<DocumentProto>>) -> Vec<DocumentProto> {
    let mut parts = parts.into_iter();
    let mut base = parts.next().unwrap_or_default();
    merge_lists(&mut base, parts.flatten(), MAX_DEPTH, |_| {});
    base
}

fn united_parameters(parts: &[DataRequest]) -> Result<Parameters, DocumentsError> {
    let mut united = Struct::default();
    for part in parts {
        if let Some(results) = part.parameters.results()? {
            united.fields.extend(results.fields);
        }
    }
    let first = parts.first().map(|part| &part.parameters);
    Ok(first.unwrap_or(&Parameters::EMPTY).with_results(united)?)
}

/// All documents, taken out of the parts; `None`, and the parts as they were, when there is none.
fn united_documents(
    parts: &mut [DataRequest],
) -> Result<Option<Vec<DocumentProto>>, DocumentsError> {
    let lists: Result<Vec<_>, _> = parts.iter().map(|part| part.documents.decode()).collect();
    let lists = lists?;
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    for part in parts {
        // So that decoded lists have no second owner, and need not be copied.
        part.documents = Documents::default();
    }
    let owned = lists.into_iter().map(Arc::unwrap_or_clone).collect();
    Ok(Some(reduce_documents(owned)))
}

/// Merges `others` into `base`; `adopt` is told of each document that is new there.
fn merge_lists(
    base: &mut Vec<DocumentProto>,
    others: impl Iterator<Item = DocumentProto>,
    depth: usize,
    adopt: impl Fn(&mut DocumentProto),
) {
    // The last one of an id counts, as in docarray.
    let places = base
        .iter()
        .enumerate()
        .map(|(place, document)| (document.id.clone(), place));
    let mut places: HashMap<String, usize> = places.collect();
    for mut other in others {
        let known = places.get(&other.id).and_then(|place| base.get_mut(*place));
        match known.filter(|known| !known.id.is_empty() && depth > 0) {
            Some(known) => merge(known, other, depth - 1),
            None => {
                adopt(&mut other);
                places.insert(other.id.clone(), base.len());
                base.push(other);
            }
        }
    }
}

fn merge(into: &mut DocumentProto, from: DocumentProto, depth: usize) {
    fill(&mut into.granularity, from.granularity);
    fill(&mut into.adjacency, from.adjacency);
    fill(&mut into.weight, from.weight);
    fill(&mut into.uri, from.uri);
    fill(&mut into.modality, from.modality);
    fill(&mut into.mime_type, from.mime_type);
    fill(&mut into.offset, from.offset);
    fill(&mut into.location, from.location);
    fill(&mut into.embedding, from.embedding);
    fill_object(&mut into.tags, from.tags);
    fill(&mut into.scores, from.scores);
    fill(&mut into.evaluations, from.evaluations);
    fill_object(&mut into.metadata, from.metadata);
    if kind(from.content.as_ref()).is_some_and(|new| Some(new) != kind(into.content.as_ref())) {
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

fn fill<T: Default + PartialEq>(field: &mut T, other: T) {
    if *field == T::default() {
        *field = other;
    }
}

/// An object without members counts as unset.
fn fill_object(field: &mut Option<Struct>, other: Option<Struct>) {
    if field.as_ref().is_none_or(|object| object.fields.is_empty()) {
        *field = other;
    }
}

/// The kind of content; `None` for an empty one, which counts as unset.
fn kind(content: Option<&Content>) -> Option<mem::Discriminant<Content>> {
    let content = content?;
    let is_set = match content {
        Content::Text(text) => !text.is_empty(),
        Content::Blob(blob) => !blob.is_empty(),
        Content::Tensor(tensor) => tensor.content.is_some(),
    };
    is_set.then(|| mem::discriminant(content))
}
