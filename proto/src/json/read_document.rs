//! Converts JSON documents to `DocumentProto`s, with the errors that pydantic would report.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Json, coerce,
    coerce::Mapping,
    field_error::{FieldErrors, Path, ValueError},
    python_base64,
    read_array::{StringElements, read_array},
    read_struct::{MAX_MESSAGE_DEPTH, read_struct},
};
use crate::{
    docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto::Content},
    document_count::DOCUMENT_BYTES,
};

/// The writer of the JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonSource {
    /// A client's request.
    Client,
    /// A Gateway's response.
    Gateway,
}

/// The memory of a score beside its texts: the nodes of a B-tree are at least about half full, and the entries are listed
/// before they are converted.
const SCORE_BYTES: usize = 2 * size_of::<(String, NamedScoreProto)>() + 64;

/// How many messages enclose a top-level document: request, content, array.
const ENCLOSING_MESSAGES: usize = 3;

/// Reads one document of the list in a client's request. An invalid value is omitted and reported in `errors`.
pub(super) fn read_client_document(
    value: &Json,
    path: &Path<'_>,
    errors: &mut FieldErrors<'_>,
) -> Option<DocumentProto> {
    let mut reader = Reader {
        source: JsonSource::Client,
        errors,
    };
    reader.read_document(value, MAX_MESSAGE_DEPTH - ENCLOSING_MESSAGES, path)
}

/// Reads a list of documents. Invalid values are omitted and reported in `errors`.
pub(super) fn read_documents(
    value: &Json,
    source: JsonSource,
    path: &Path<'_>,
    errors: &mut FieldErrors<'_>,
) -> Vec<DocumentProto> {
    let depth_left = MAX_MESSAGE_DEPTH - ENCLOSING_MESSAGES;
    let mut reader = Reader { source, errors };
    reader.read_documents(value, depth_left, path)
}

struct Reader<'f, 'm> {
    source: JsonSource,
    errors: &'f mut FieldErrors<'m>,
}

/// One document's fields, their path, and how deep messages in them may be nested.
struct Fields<'a> {
    values: Mapping<'a>,
    path: &'a Path<'a>,
    depth_left: usize,
}

impl Fields<'_> {
    /// Returns the value of a key; `null` is treated as missing.
    fn get(&self, key: &str) -> Option<&Json> {
        self.values.get(key).filter(|value| **value != Json::Null)
    }
}

impl Reader<'_, '_> {
    fn read_documents(
        &mut self,
        value: &Json,
        depth_left: usize,
        path: &Path<'_>,
    ) -> Vec<DocumentProto> {
        let Some(items) = value.items() else {
            let error = if *value == Json::Null {
                ValueError::NullNotAllowed
            } else {
                ValueError::NotAList
            };
            self.errors.add(path, &error);
            return Vec::new();
        };
        let mut documents = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            documents.extend(self.read_document(&item, depth_left, &path.index(i)));
            if self.errors.exceeded().is_some() {
                break;
            }
        }
        documents
    }

    fn read_document(
        &mut self,
        value: &Json,
        depth_left: usize,
        path: &Path<'_>,
    ) -> Option<DocumentProto> {
        let values = match value {
            Json::Null => Err(ValueError::NullNotAllowed),
            _ if depth_left == 0 => Err(ValueError::TooDeep(MAX_MESSAGE_DEPTH)),
            value => Mapping::with_string_keys(value, self.errors.budget_mut()),
        };
        let values = self.errors.check(path, values)?;
        let taken = self.errors.budget_mut().take_document(DOCUMENT_BYTES);
        self.errors.check(path, taken.map_err(ValueError::from))?;
        let depth_left = depth_left - 1;
        let before = self.errors.len();
        let fields = Fields {
            values,
            path,
            depth_left,
        };
        let mut document = self.read_fields(&fields);
        // Jina reads this field last, and only when there are no other errors.
        if let Some(value) = fields
            .get("_metadata")
            .filter(|_| self.errors.len() == before)
        {
            document.metadata = read_struct(value, depth_left, &path.key("metadata"), self.errors);
        }
        Some(document)
    }

    /// Reads all fields in pydantic's order, which is also the order of the errors.
    fn read_fields(&mut self, from: &Fields<'_>) -> DocumentProto {
        let id = self.read_text(from, "id");
        let parent_id = self.read_text(from, "parent_id");
        let granularity = self.read_field(from, "granularity", coerce::uint32);
        let adjacency = self.read_field(from, "adjacency", coerce::uint32);
        let blob = self.read_blob(from);
        let tensor = self.read_array(from, "tensor");
        let mime_type = self.read_text(from, "mime_type");
        let text = self.read_field(from, "text", coerce::string);
        let weight = self.read_field(from, "weight", coerce::float32);
        let uri = self.read_text(from, "uri");
        let tags = from.get("tags");
        let tags =
            tags.and_then(|v| read_struct(v, from.depth_left, &from.path.key("tags"), self.errors));
        let offset = self.read_field(from, "offset", coerce::float32);
        let location = self.read_location(from);
        let embedding = self.read_array(from, "embedding");
        DocumentProto {
            id,
            parent_id,
            granularity: granularity.unwrap_or_default(),
            adjacency: adjacency.unwrap_or_default(),
            content: select_content(text, blob, tensor),
            mime_type,
            weight: weight.unwrap_or_default(),
            uri,
            tags,
            offset: offset.unwrap_or_default(),
            location,
            embedding: embedding.map(Box::new),
            modality: self.read_text(from, "modality"),
            evaluations: self.read_scores(from, "evaluations"),
            scores: self.read_scores(from, "scores"),
            chunks: self.read_nested(from, "chunks"),
            matches: self.read_nested(from, "matches"),
            metadata: None,
        }
    }

    fn read_field<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&Json) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.errors
            .read_field((from.path, key), from.get(key), read)
    }

    fn read_text(&mut self, from: &Fields<'_>, key: &str) -> String {
        self.read_field(from, key, coerce::string)
            .unwrap_or_default()
    }

    fn read_blob(&mut self, from: &Fields<'_>) -> Option<Bytes> {
        let value = from.get("blob")?;
        // Beside a copy of the text.
        let bytes = value.as_str().map_or(0, str::len);
        let taken = self.errors.budget_mut().take_bytes(bytes);
        self.errors
            .read_field((from.path, "blob"), Some(value), |value| {
                taken?;
                decode_bytes(value)
            })
    }

    fn read_array(&mut self, from: &Fields<'_>, key: &str) -> Option<NdArrayProto> {
        let strings = match self.source {
            JsonSource::Client => StringElements::AsStrings,
            JsonSource::Gateway => StringElements::AsNumbers,
        };
        let value = from.get(key)?;
        let array = read_array(value, strings, self.errors.budget_mut());
        self.errors.check(&from.path.key(key), array)
    }

    fn read_location(&mut self, from: &Fields<'_>) -> Vec<f32> {
        let Some(value) = from.get("location") else {
            return Vec::new();
        };
        let path = from.path.key("location");
        let Some(items) = value.items() else {
            self.errors.add(&path, &ValueError::NotAList);
            return Vec::new();
        };
        // In a growing list.
        let bytes = items.len().saturating_mul(2 * size_of::<f32>());
        let taken = self.errors.budget_mut().take_bytes(bytes);
        if (self.errors.check(&path, taken.map_err(ValueError::from))).is_none() {
            return Vec::new();
        }
        let numbers = items.into_iter().enumerate();
        numbers
            .filter_map(|(i, item)| {
                self.errors
                    .check(&path.index(i), not_null(&item, coerce::float32))
            })
            .collect()
    }

    fn read_scores(&mut self, from: &Fields<'_>, key: &str) -> BTreeMap<String, NamedScoreProto> {
        let mut scores = BTreeMap::new();
        let Some(value) = from.get(key) else {
            return scores;
        };
        let path = from.path.key(key);
        let entries = self.errors.check_with(&path, |budget| {
            let entries = Mapping::from_value(value, budget)?;
            budget.take_bytes(entries.len().saturating_mul(SCORE_BYTES))?;
            Ok(entries)
        });
        let Some(entries) = entries else {
            return scores;
        };
        for (name, value) in entries.entries() {
            let Some(name) = self.errors.check(&path.key("__key__"), name) else {
                continue;
            };
            if let Some(score) = self.read_score(value, &path.key(&name)) {
                scores.insert(name.clone().into_owned(), score);
            }
        }
        scores
    }

    /// Reads a score. Returns `None` for a client's score without fields, which Jina drops as well.
    fn read_score(&mut self, value: &Json, path: &Path<'_>) -> Option<NamedScoreProto> {
        let values = self.errors.check_with(path, |budget| {
            not_null(value, |_| Ok(()))?;
            Mapping::with_string_keys(value, budget)
        })?;
        let from = Fields {
            values,
            path,
            depth_left: 0,
        };
        let score = NamedScoreProto {
            value: self
                .read_field(&from, "value", coerce::float32)
                .unwrap_or_default(),
            op_name: self.read_text(&from, "op_name"),
            description: self.read_text(&from, "description"),
            ref_id: self.read_text(&from, "ref_id"),
        };
        let names = ["value", "op_name", "description", "ref_id"];
        let is_set = names.iter().any(|name| from.get(name).is_some());
        (is_set || self.source == JsonSource::Gateway).then_some(score)
    }

    fn read_nested(&mut self, from: &Fields<'_>, key: &str) -> Vec<DocumentProto> {
        from.get(key)
            .map(|value| self.read_documents(value, from.depth_left, &from.path.key(key)))
            .unwrap_or_default()
    }
}

fn not_null<T>(
    value: &Json,
    read: impl Fn(&Json) -> Result<T, ValueError>,
) -> Result<T, ValueError> {
    if *value == Json::Null {
        return Err(ValueError::NullNotAllowed);
    }
    read(value)
}

fn decode_bytes(value: &Json) -> Result<Bytes, ValueError> {
    python_base64::decode(&coerce::string(value)?).map(Bytes::from)
}

/// Selects the content: of several, the last of text, blob and tensor, even when it is empty.
fn select_content(
    text: Option<String>,
    blob: Option<Bytes>,
    tensor: Option<NdArrayProto>,
) -> Option<Content> {
    match (text, blob, tensor) {
        (_, _, Some(tensor)) => Some(Content::Tensor(Box::new(tensor))),
        (_, Some(blob), _) => Some(Content::Blob(blob)),
        (Some(text), ..) => Some(Content::Text(text)),
        (None, None, None) => None,
    }
}
