//! A JSON document becomes a `DocumentProto`, with all that pydantic would say against it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    Json, coerce,
    coerce::Mapping,
    field_error::{Flaw, Flaws, Path},
    python_base64,
    read_array::{self, Texts},
    read_struct::{MESSAGE_DEPTH, structure},
};
use crate::docarray::{DocumentProto, NamedScoreProto, NdArrayProto, document_proto::Content};

/// Whose JSON is read. The one is what clients write, the other what we wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Client,
    Ourselves,
}

/// How many messages a document at the top already lies in: request, content, array.
const ABOVE: usize = 3;

/// A list of documents. What cannot be read is left out and told in `flaws`.
pub(super) fn documents(
    value: &Json,
    author: Author,
    path: &Path<'_>,
    flaws: &mut Flaws,
) -> Vec<DocumentProto> {
    let room = MESSAGE_DEPTH - ABOVE;
    let mut reader = Reader { author, flaws };
    reader.documents(value, room, path)
}

struct Reader<'f> {
    author: Author,
    flaws: &'f mut Flaws,
}

/// One document's fields, their place, and the room for messages in them.
struct Fields<'a> {
    values: Mapping<'a>,
    path: &'a Path<'a>,
    room: usize,
}

impl Fields<'_> {
    /// The value of a key; `null` is as good as none.
    fn get(&self, key: &str) -> Option<&Json> {
        self.values.get(key).filter(|value| **value != Json::Null)
    }
}

impl Reader<'_> {
    fn documents(&mut self, value: &Json, room: usize, path: &Path<'_>) -> Vec<DocumentProto> {
        let Json::List(items) = value else {
            let flaw = if *value == Json::Null {
                Flaw::Null
            } else {
                Flaw::List
            };
            self.flaws.add(path, &flaw);
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items
            .filter_map(|(i, item)| self.document(item, room, &path.index(i)))
            .collect()
    }

    fn document(&mut self, value: &Json, room: usize, path: &Path<'_>) -> Option<DocumentProto> {
        let values = match value {
            Json::Null => Err(Flaw::Null),
            _ if room == 0 => Err(Flaw::TooDeep),
            value => Mapping::of_fields(value),
        };
        let values = self.flaws.take(path, values)?;
        let room = room - 1;
        let before = self.flaws.len();
        let fields = Fields { values, path, room };
        let mut document = self.fields(&fields);
        // Jina looks at this one last, and only if there is nothing else to say.
        if let Some(value) = fields
            .get("_metadata")
            .filter(|_| self.flaws.len() == before)
        {
            document.metadata = structure(value, room, &path.key("metadata"), self.flaws);
        }
        Some(document)
    }

    /// All fields in the order in which pydantic has them, and so tells what is wrong with them.
    fn fields(&mut self, from: &Fields<'_>) -> DocumentProto {
        let id = self.text(from, "id");
        let parent_id = self.text(from, "parent_id");
        let granularity = self.field(from, "granularity", coerce::unsigned);
        let adjacency = self.field(from, "adjacency", coerce::unsigned);
        let blob = self.field(from, "blob", bytes);
        let tensor = self.array(from, "tensor");
        let mime_type = self.text(from, "mime_type");
        let text = self.field(from, "text", coerce::text);
        let weight = self.field(from, "weight", coerce::single);
        let uri = self.text(from, "uri");
        let tags = from.get("tags");
        let tags = tags.and_then(|v| structure(v, from.room, &from.path.key("tags"), self.flaws));
        let offset = self.field(from, "offset", coerce::single);
        let location = self.location(from);
        let embedding = self.array(from, "embedding");
        DocumentProto {
            id,
            parent_id,
            granularity: granularity.unwrap_or_default(),
            adjacency: adjacency.unwrap_or_default(),
            content: content(text, blob, tensor),
            mime_type,
            weight: weight.unwrap_or_default(),
            uri,
            tags,
            offset: offset.unwrap_or_default(),
            location,
            embedding,
            modality: self.text(from, "modality"),
            evaluations: self.scores(from, "evaluations"),
            scores: self.scores(from, "scores"),
            chunks: self.nested(from, "chunks"),
            matches: self.nested(from, "matches"),
            metadata: None,
        }
    }

    fn field<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&Json) -> Result<T, Flaw>,
    ) -> Option<T> {
        let value = from.get(key)?;
        self.flaws.take(&from.path.key(key), read(value))
    }

    fn text(&mut self, from: &Fields<'_>, key: &str) -> String {
        self.field(from, key, coerce::text).unwrap_or_default()
    }

    fn array(&mut self, from: &Fields<'_>, key: &str) -> Option<NdArrayProto> {
        let texts = match self.author {
            Author::Client => Texts::AsTexts,
            Author::Ourselves => Texts::AsNumbers,
        };
        self.field(from, key, |value| read_array::array(value, texts))
    }

    fn location(&mut self, from: &Fields<'_>) -> Vec<f32> {
        let Some(value) = from.get("location") else {
            return Vec::new();
        };
        let path = from.path.key("location");
        let Json::List(items) = value else {
            self.flaws.add(&path, &Flaw::List);
            return Vec::new();
        };
        let numbers = items.iter().enumerate();
        numbers
            .filter_map(|(i, item)| {
                self.flaws
                    .take(&path.index(i), not_null(item, coerce::single))
            })
            .collect()
    }

    fn scores(&mut self, from: &Fields<'_>, key: &str) -> BTreeMap<String, NamedScoreProto> {
        let mut scores = BTreeMap::new();
        let Some(value) = from.get(key) else {
            return scores;
        };
        let path = from.path.key(key);
        let Some(entries) = self.flaws.take(&path, Mapping::of(value)) else {
            return scores;
        };
        for (name, value) in entries.entries() {
            let Some(name) = self.flaws.take(&path.key("__key__"), name) else {
                continue;
            };
            if let Some(score) = self.score(value, &path.key(&name)) {
                scores.insert(name.clone().into_owned(), score);
            }
        }
        scores
    }

    /// A score; none if not one of its fields is set, as a message without fields says nothing.
    fn score(&mut self, value: &Json, path: &Path<'_>) -> Option<NamedScoreProto> {
        let values = not_null(value, |_| Ok(())).and_then(|()| Mapping::of_fields(value));
        let values = self.flaws.take(path, values)?;
        let from = Fields {
            values,
            path,
            room: 0,
        };
        let score = NamedScoreProto {
            value: self
                .field(&from, "value", coerce::single)
                .unwrap_or_default(),
            op_name: self.text(&from, "op_name"),
            description: self.text(&from, "description"),
            ref_id: self.text(&from, "ref_id"),
        };
        let names = ["value", "op_name", "description", "ref_id"];
        let is_set = names.iter().any(|name| from.get(name).is_some());
        (is_set || self.author == Author::Ourselves).then_some(score)
    }

    fn nested(&mut self, from: &Fields<'_>, key: &str) -> Vec<DocumentProto> {
        from.get(key)
            .map(|value| self.documents(value, from.room, &from.path.key(key)))
            .unwrap_or_default()
    }
}

fn not_null<T>(value: &Json, read: impl Fn(&Json) -> Result<T, Flaw>) -> Result<T, Flaw> {
    if *value == Json::Null {
        return Err(Flaw::Null);
    }
    read(value)
}

fn bytes(value: &Json) -> Result<Bytes, Flaw> {
    python_base64::decode(&coerce::text(value)?).map(Bytes::from)
}

/// The content: of several, the last of text, blob and tensor; one that is there and empty puts
/// the ones before it out all the same.
fn content(
    text: Option<String>,
    blob: Option<Bytes>,
    tensor: Option<NdArrayProto>,
) -> Option<Content> {
    match (text, blob, tensor) {
        (_, _, Some(tensor)) => Some(Content::Tensor(tensor)),
        (_, Some(blob), _) => Some(Content::Blob(blob)),
        (Some(text), ..) => Some(Content::Text(text)),
        (None, None, None) => None,
    }
}
