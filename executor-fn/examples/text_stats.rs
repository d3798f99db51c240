//! An Executor that writes the number of words and characters and the most frequent words of every Document's text into
//! its tags.
//!
//! `cargo run -p executor-fn --example text_stats -- --port 9000 --name stats`

use std::{collections::HashMap, process::ExitCode};

use executor_fn::{
    Error, Executor, Reply, Request, document_proto::Content, run, struct_from_json,
};
use serde_json::json;

#[tokio::main]
async fn main() -> ExitCode {
    let executor = Executor::new("TextStats")
        .on("/stats", stats)
        .on("/total", total);
    run(executor).await
}

/// Writes the statistics into every Document's tags. The parameter `top`, by default 3, is the number of words to list.
async fn stats(mut request: Request) -> Result<Reply, Error> {
    let top = match request.number_parameter("top") {
        None => 3,
        Some(top) if (0.0..=1000.0).contains(&top) => top as usize,
        Some(top) => return Err(Error::value_error("top must be from 0 to 1000").arg(top)),
    };
    for document in request.documents_mut() {
        let Some(Content::Text(text)) = &document.content else {
            continue;
        };
        let statistics = json!({
            "words": words(text).count(),
            "characters": text.chars().count(),
            "top": most_frequent(text, top),
        });
        let tags = document.tags.get_or_insert_default();
        tags.fields.extend(struct_from_json(statistics)?.fields);
    }
    Ok(request.into_documents().into())
}

/// Returns the number of words of all Documents as a result, and the Documents unchanged.
async fn total(request: Request) -> Result<Reply, Error> {
    let texts = request.documents().iter().filter_map(|document| {
        let Some(Content::Text(text)) = &document.content else {
            return None;
        };
        Some(text)
    });
    let total: usize = texts.map(|text| words(text).count()).sum();
    Ok(Reply::results(struct_from_json(json!({"words": total}))?))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// Returns the most frequent words in lower case, the most frequent first; equally frequent ones in alphabetical order.
fn most_frequent(text: &str, top: usize) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in words(text) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    ranked.into_iter().take(top).map(|(word, _)| word).collect()
}
