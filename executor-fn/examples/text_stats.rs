//! An Executor that counts: words, characters and the most frequent words of every Document's text,
//! written into its tags.
//!
//! `cargo run -p executor-fn --example text_stats -- --port 9000 --name stats`

use std::collections::HashMap;

use executor_fn::{
    Error, Executor, Reply, Request, ServeError, document_proto::Content, run, structure,
};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let executor = Executor::new("TextStats")
        .on("/stats", stats)
        .on("/total", total);
    run(executor).await?;
    Ok(())
}

/// Tags every Document; the parameter `top` (3 unless given) says how many words to list.
async fn stats(mut request: Request) -> Result<Reply, Error> {
    let top = match request.number("top") {
        None => 3,
        Some(top) if (0.0..=1000.0).contains(&top) => top as usize,
        Some(top) => return Err(Error::value("top must be from 0 to 1000").arg(top)),
    };
    for document in request.documents_mut() {
        let Some(Content::Text(text)) = &document.content else {
            continue;
        };
        let counted = json!({
            "words": words(text).count(),
            "characters": text.chars().count(),
            "top": most_frequent(text, top),
        });
        let tags = document.tags.get_or_insert_default();
        tags.fields.extend(structure(counted)?.fields);
    }
    Ok(request.into_documents().into())
}

/// Leaves the Documents alone and returns the words of all of them as a result.
async fn total(request: Request) -> Result<Reply, Error> {
    let texts = request.documents().iter().filter_map(|document| {
        let Some(Content::Text(text)) = &document.content else {
            return None;
        };
        Some(text)
    });
    let total: usize = texts.map(|text| words(text).count()).sum();
    Ok(Reply::results(structure(json!({"words": total}))?))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// The words in lower case, the most frequent first, equal ones by the alphabet.
fn most_frequent(text: &str, top: usize) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in words(text) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
    ranked.into_iter().take(top).map(|(word, _)| word).collect()
}
