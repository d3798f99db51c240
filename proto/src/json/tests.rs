//! Tests of the JSON mapping: against recordings of Jina 3.13.2 (`testdata/`), round trips, and the
//! deliberate differences from Jina.

use super::*;
use crate::DataRequest;

mod arrays;
mod lenient;
mod limits;
mod recordings;
mod round_trip;

fn json(text: &str) -> Json {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn text<'a>(row: &'a Json, key: &str) -> &'a str {
    row.get(key).and_then(Json::as_str).expect("a text")
}

fn rows(recording: &str) -> Vec<Json> {
    match json(recording) {
        Json::List(rows) => rows.into(),
        other => panic!("a list was expected: {other:?}"),
    }
}

fn to_json(request: &DataRequest) -> Json {
    parse(&write_http(request).expect("can be written")).expect("JSON")
}

fn first_document(request: &DataRequest) -> Json {
    match to_json(request).get("data") {
        Some(Json::List(documents)) => documents[0].clone(),
        other => panic!("expected documents: {other:?}"),
    }
}

/// Objects whose keys come from a protobuf map, and therefore in any order.
const UNORDERED: [&str; 5] = ["tags", "_metadata", "parameters", "scores", "evaluations"];

/// Sorts the keys that come from protobuf maps, and masks ids as in the recordings.
fn comparable(value: Json, unordered: bool) -> Json {
    match value {
        Json::Object(entries) => {
            let mut entries: Vec<_> = entries
                .into_iter()
                .map(|(key, value)| {
                    let unordered = unordered || UNORDERED.contains(&&*key);
                    (key, comparable(value, unordered))
                })
                .collect();
            if unordered {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            Json::Object(entries.into())
        }
        Json::List(items) => {
            let items = items.into_iter().map(|item| comparable(item, unordered));
            Json::List(items.collect())
        }
        Json::String(text) if is_id(&text) => Json::String("<id>".into()),
        other => other,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}
