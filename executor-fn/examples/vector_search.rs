//! An Executor for vector search: `/index` stores Documents with an embedding in memory, `/search` puts the nearest stored
//! Documents by cosine similarity into every Document's matches, and `/clear` deletes all.
//!
//! `cargo run -p executor-fn --example vector_search -- --port 9000 --name search`

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use executor_fn::{
    DocumentProto, Error, Executor, NamedScoreProto, Reply, Request, blocking, run,
    struct_from_json, tensor, with_state,
};
use serde_json::json;

/// The largest number of Documents in the index, which bounds the memory.
const MAX_DOCUMENTS: usize = 1_000_000;

/// The largest number of matches in one answer: each is a copy of a Document.
const MAX_MATCHES: usize = 100_000;

#[tokio::main]
async fn main() -> ExitCode {
    let index = Arc::new(Index::default());
    // A search keeps a thread busy, and `/index` and `/clear` wait for its lock: all three run on the pool for blocking
    // work.
    let executor = Executor::new("VectorSearch")
        .on("/index", blocking(with_state(&index, Index::add)))
        .on("/search", blocking(with_state(&index, Index::search)))
        .on("/clear", blocking(with_state(&index, Index::clear)));
    run(executor).await
}

/// The stored Documents. A search compares the query with each of them.
#[derive(Default)]
struct Index(RwLock<Entries>);

#[derive(Default)]
struct Entries {
    entries: Vec<Entry>,
    positions: HashMap<String, usize>,
}

struct Entry {
    document: DocumentProto,
    /// The embedding, normalized to length 1 unless it is all zeros.
    direction: Vec<f32>,
}

impl Index {
    /// Stores the Documents. One with the id of a stored Document replaces it.
    fn add(self: Arc<Self>, request: Request) -> Result<Reply, Error> {
        let mut new = Vec::with_capacity(request.documents().len());
        for document in request.into_documents() {
            let direction = direction(&document)?;
            new.push((document, direction));
        }
        let mut index = self.write();
        // Stores all of the request's Documents or none.
        let mut dimension = index.dimension();
        for (document, direction) in &new {
            let expected = *dimension.get_or_insert(direction.len());
            check_dimension(document, direction, expected)?;
        }
        let ids = new.iter().map(|(document, _)| document.id.as_str());
        let new_ids: HashSet<_> = ids
            .filter(|id| !index.positions.contains_key(*id))
            .collect();
        if index.entries.len() + new_ids.len() > MAX_DOCUMENTS {
            return Err(Error::new("IndexFull", "the index is full").arg(MAX_DOCUMENTS as i64));
        }
        for (document, direction) in new {
            index.insert(document, direction);
        }
        let count = index.entries.len();
        drop(index);
        Ok(Reply::results(struct_from_json(json!({"indexed": count}))?))
    }

    /// Sets the matches of each Document. The parameter `top_k`, by default 10, is the largest number of matches.
    fn search(self: Arc<Self>, mut request: Request) -> Result<Reply, Error> {
        let top_k = match request.number_parameter("top_k") {
            None => 10,
            Some(top_k) if (1.0..=10_000.0).contains(&top_k) => top_k as usize,
            Some(top_k) => {
                return Err(Error::value_error("top_k must be from 1 to 10000").arg(top_k));
            }
        };
        let index = self.read();
        let matches = top_k.min(index.entries.len());
        if request.documents().len().saturating_mul(matches) > MAX_MATCHES {
            let text = "too many matches for one answer: send fewer documents or a lower top_k";
            return Err(Error::value_error(text).arg(MAX_MATCHES as i64));
        }
        for document in request.documents_mut() {
            let query = direction(document)?;
            if let Some(dimension) = index.dimension() {
                check_dimension(document, &query, dimension)?;
            }
            document.matches = index.nearest(&query, top_k);
        }
        Ok(request.into_documents().into())
    }

    fn clear(self: Arc<Self>, _: Request) -> Result<Reply, Error> {
        *self.write() = Entries::default();
        Ok(Reply::unchanged())
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn dimension(&self) -> Option<usize> {
        self.entries.first().map(|entry| entry.direction.len())
    }

    fn insert(&mut self, document: DocumentProto, direction: Vec<f32>) {
        let position = self.positions.get(&document.id).copied();
        let id = document.id.clone();
        let entry = Entry {
            document,
            direction,
        };
        match position.and_then(|position| self.entries.get_mut(position)) {
            Some(existing) => *existing = entry,
            None => {
                self.positions.insert(id, self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Returns copies of the nearest Documents, the nearest first, each with its score `cosine`.
    fn nearest(&self, query: &[f32], top_k: usize) -> Vec<DocumentProto> {
        let mut ranked: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (dot(query, &entry.direction), position))
            .collect();
        // Equal scores keep the order of indexing.
        let order = |(score, position): &(f32, usize)| (Reverse(TotalOrder(*score)), *position);
        if top_k < ranked.len() {
            ranked.select_nth_unstable_by_key(top_k, order);
            ranked.truncate(top_k);
        }
        ranked.sort_unstable_by_key(order);
        let entries = ranked
            .into_iter()
            .filter_map(|(score, position)| Some((score, self.entries.get(position)?)));
        entries
            .map(|(score, entry)| with_score(entry, score))
            .collect()
    }
}

fn with_score(entry: &Entry, cosine: f32) -> DocumentProto {
    let mut document = entry.document.clone();
    let score = NamedScoreProto {
        value: cosine,
        ..NamedScoreProto::default()
    };
    document.scores.insert("cosine".to_owned(), score);
    document
}

/// Returns the embedding normalized to length 1.
fn direction(document: &DocumentProto) -> Result<Vec<f32>, Error> {
    let Some(embedding) = &document.embedding else {
        return Err(Error::value_error("a document has no embedding").arg(document.id.clone()));
    };
    let mut vector = tensor::to_vec(embedding)?;
    let length = dot(&vector, &vector).sqrt();
    if !length.is_finite() {
        return Err(
            Error::value_error("the length of an embedding is not finite").arg(document.id.clone()),
        );
    }
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    Ok(vector)
}

fn check_dimension(document: &DocumentProto, vector: &[f32], expected: usize) -> Result<(), Error> {
    if vector.len() == expected {
        return Ok(());
    }
    let dimension = vector.len();
    let text =
        format!("the embedding has {dimension} dimensions: expected {expected}, as in the index");
    Err(Error::value_error(text).arg(document.id.clone()))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A number in the total order of [`f32::total_cmp`], NaN included.
#[derive(PartialEq)]
struct TotalOrder(f32);

impl Eq for TotalOrder {}

impl PartialOrd for TotalOrder {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TotalOrder {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
