//! An Executor that searches: `/index` keeps Documents with an embedding in memory, `/search` puts the
//! nearest of them by cosine into every Document's matches, `/clear` forgets them.
//!
//! `cargo run -p executor-fn --example vector_search -- --port 9000 --name search`

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use executor_fn::{
    DocumentProto, Error, Executor, NamedScoreProto, Reply, Request, ServeError, blocking, run,
    structure, tensor, with_state,
};
use serde_json::json;

/// A bound on what one process keeps.
const MOST_DOCUMENTS: usize = 1_000_000;

/// A bound on what one answer holds: each match is a copy of a Document.
const MOST_MATCHES: usize = 100_000;

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let index = Arc::new(Index::default());
    // A search over everything keeps a thread busy, and the others wait for its lock: none of them on
    // a thread that other requests need.
    let executor = Executor::new("VectorSearch")
        .on("/index", blocking(with_state(&index, Index::add)))
        .on("/search", blocking(with_state(&index, Index::search)))
        .on("/clear", blocking(with_state(&index, Index::clear)));
    run(executor).await?;
    Ok(())
}

/// Exact search: every vector is looked at.
#[derive(Default)]
struct Index(RwLock<Entries>);

#[derive(Default)]
struct Entries {
    entries: Vec<Entry>,
    positions: HashMap<String, usize>,
}

struct Entry {
    document: DocumentProto,
    /// Of length 1, or all zeros.
    direction: Vec<f32>,
}

impl Index {
    /// Keeps the Documents; one with an id that is there already takes its place.
    fn add(self: Arc<Self>, request: Request) -> Result<Reply, Error> {
        let mut new = Vec::with_capacity(request.documents().len());
        for document in request.into_documents() {
            let direction = direction(&document)?;
            new.push((document, direction));
        }
        let mut index = self.write();
        // Nothing is kept unless everything fits.
        let mut dimension = index.dimension();
        for (document, direction) in &new {
            let expected = *dimension.get_or_insert(direction.len());
            same_dimension(document, direction, expected)?;
        }
        let ids = new.iter().map(|(document, _)| document.id.as_str());
        let unknown: HashSet<_> = ids
            .filter(|id| !index.positions.contains_key(*id))
            .collect();
        if index.entries.len() + unknown.len() > MOST_DOCUMENTS {
            return Err(Error::new("IndexFull", "no more documents fit").arg(MOST_DOCUMENTS as i64));
        }
        for (document, direction) in new {
            index.put(document, direction);
        }
        let count = index.entries.len();
        drop(index);
        Ok(Reply::results(structure(json!({"indexed": count}))?))
    }

    /// The parameter `top_k` (10 unless given) bounds the matches of each Document.
    fn search(self: Arc<Self>, mut request: Request) -> Result<Reply, Error> {
        let top_k = match request.number("top_k") {
            None => 10,
            Some(top_k) if (1.0..=10_000.0).contains(&top_k) => top_k as usize,
            Some(top_k) => return Err(Error::value("top_k must be from 1 to 10000").arg(top_k)),
        };
        let index = self.read();
        let matches = top_k.min(index.entries.len());
        if request.documents().len().saturating_mul(matches) > MOST_MATCHES {
            let text = "too many matches for one answer: send fewer documents or a lower top_k";
            return Err(Error::value(text).arg(MOST_MATCHES as i64));
        }
        for document in request.documents_mut() {
            let query = direction(document)?;
            if let Some(dimension) = index.dimension() {
                same_dimension(document, &query, dimension)?;
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

    fn put(&mut self, document: DocumentProto, direction: Vec<f32>) {
        let position = self.positions.get(&document.id).copied();
        let id = document.id.clone();
        let entry = Entry {
            document,
            direction,
        };
        match position.and_then(|position| self.entries.get_mut(position)) {
            Some(place) => *place = entry,
            None => {
                self.positions.insert(id, self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Copies of the nearest Documents, the nearest first, each with its score `cosine`.
    fn nearest(&self, query: &[f32], top_k: usize) -> Vec<DocumentProto> {
        let mut ranked: Vec<_> = self
            .entries
            .iter()
            .enumerate()
            .map(|(position, entry)| (dot(query, &entry.direction), position))
            .collect();
        // Equal scores stay in the order of indexing.
        let order = |(score, position): &(f32, usize)| (Reverse(Total(*score)), *position);
        if top_k < ranked.len() {
            ranked.select_nth_unstable_by_key(top_k, order);
            ranked.truncate(top_k);
        }
        ranked.sort_unstable_by_key(order);
        let entries = ranked
            .into_iter()
            .filter_map(|(score, position)| Some((score, self.entries.get(position)?)));
        entries
            .map(|(score, entry)| matched(entry, score))
            .collect()
    }
}

fn matched(entry: &Entry, cosine: f32) -> DocumentProto {
    let mut document = entry.document.clone();
    let score = NamedScoreProto {
        value: cosine,
        ..NamedScoreProto::default()
    };
    document.scores.insert("cosine".to_owned(), score);
    document
}

/// The embedding at length 1.
fn direction(document: &DocumentProto) -> Result<Vec<f32>, Error> {
    let Some(embedding) = &document.embedding else {
        return Err(Error::value("a document has no embedding").arg(document.id.clone()));
    };
    let mut vector = tensor::read(embedding)?;
    let length = dot(&vector, &vector).sqrt();
    if !length.is_finite() {
        return Err(Error::value("an embedding has no finite length").arg(document.id.clone()));
    }
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    Ok(vector)
}

fn same_dimension(document: &DocumentProto, vector: &[f32], expected: usize) -> Result<(), Error> {
    if vector.len() == expected {
        return Ok(());
    }
    let got = vector.len();
    let text =
        format!("the index holds vectors of dimension {expected}, but the embedding has {got}");
    Err(Error::value(text).arg(document.id.clone()))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A number with an order.
#[derive(PartialEq)]
struct Total(f32);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
