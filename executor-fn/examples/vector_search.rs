//! An Executor that searches: `/index` keeps Documents with an embedding in memory, `/search` puts the
//! nearest of them by cosine into every Document's matches, `/clear` forgets them.
//!
//! `cargo run -p executor-fn --example vector_search -- --port 9000`

use std::{
    cmp::Reverse,
    collections::HashMap,
    env,
    net::Ipv4Addr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use executor_fn::{
    DocumentProto, Error, Executor, NamedScoreProto, Reply, Request, ServeOptions, blocking,
    serve_on, stop_signal, structure, tensor, with_state,
};
use serde_json::json;
use tokio::net::TcpListener;

/// A bound on what one process keeps.
const MOST_DOCUMENTS: usize = 1_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let index = Arc::new(Index::default());
    let searched = Arc::clone(&index);
    let executor = Executor::new("VectorSearch")
        .on("/index", with_state(&index, Index::add))
        .on("/clear", with_state(&index, Index::clear))
        // A search over everything keeps a thread busy: not one that others wait for.
        .on("/search", blocking(move |request| searched.search(request)));
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port()?)).await?;
    announce(&listener)?;
    serve_on(listener, executor, ServeOptions::default(), stop_signal()?).await?;
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
    async fn add(self: Arc<Self>, request: Request) -> Result<Reply, Error> {
        let mut new = Vec::with_capacity(request.documents().len());
        for document in request.documents() {
            let direction = direction(document)?;
            new.push((document.clone(), direction));
        }
        let mut index = self.write();
        // Nothing is kept unless everything fits.
        let mut dimension = index.dimension();
        for (document, direction) in &new {
            let expected = *dimension.get_or_insert(direction.len());
            same_dimension(document, direction, expected)?;
        }
        if index.entries.len() + new.len() > MOST_DOCUMENTS {
            return Err(Error::new("IndexFull", "no more documents fit").arg(1_000_000));
        }
        for (document, direction) in new {
            index.put(document, direction);
        }
        let count = index.entries.len();
        drop(index);
        Ok(Reply::results(structure(json!({"indexed": count}))?))
    }

    /// The parameter `top_k` (10 unless given) bounds the matches of each Document.
    fn search(&self, mut request: Request) -> Result<Reply, Error> {
        let top_k = match request.number("top_k") {
            None => 10,
            Some(top_k) if (1.0..=10_000.0).contains(&top_k) => top_k as usize,
            Some(top_k) => return Err(Error::value("top_k must be from 1 to 10000").arg(top_k)),
        };
        let index = self.read();
        for document in request.documents_mut() {
            let query = direction(document)?;
            if let Some(dimension) = index.dimension() {
                same_dimension(document, &query, dimension)?;
            }
            document.matches = index.nearest(&query, top_k);
        }
        Ok(request.into_documents().into())
    }

    async fn clear(self: Arc<Self>, _: Request) -> Result<Reply, Error> {
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

/// `--port P`, else the variable `PORT`, else any free port.
fn port() -> Result<u16, Box<dyn std::error::Error>> {
    let argument = env::args()
        .skip_while(|argument| argument != "--port")
        .nth(1);
    let port = argument.or_else(|| env::var("PORT").ok());
    Ok(port.map_or(Ok(0), |port| port.parse())?)
}

#[expect(clippy::print_stdout, reason = "the user needs the port")]
fn announce(listener: &TcpListener) -> std::io::Result<()> {
    println!("VectorSearch listens on {}", listener.local_addr()?);
    Ok(())
}
