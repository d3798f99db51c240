//! Reads the recordings of Jina 3.13.2 in `golden/`, and masks values that differ from run to run.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// One recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file's name without its extension, for example `03-echo`.
    pub name: String,
    /// The content of the file.
    pub json: Value,
    directory: PathBuf,
}

impl Recording {
    /// Returns the name of the recorded Flow.
    ///
    /// # Panics
    /// When the recording has none.
    #[must_use]
    pub fn flow(&self) -> &str {
        self.json["flow"]
            .as_str()
            .expect("every recording names its Flow")
    }

    /// Reads the raw bytes with this file name ending, for example `.req.bin`.
    #[must_use]
    pub fn bytes(&self, ending: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.join(format!("{}{ending}", self.name))).ok()
    }
}

/// Reads all recordings of a kind (`grpc`, `http` or `ws`) of one Flow, in order.
///
/// # Panics
/// When there are none, or one cannot be read.
#[must_use]
pub fn recordings(kind: &str, flow: &str) -> Vec<Recording> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(kind);
    let mut names: Vec<String> = fs::read_dir(&directory)
        .expect("the recordings are in the tree")
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .into_string()
                .ok()?
                .strip_suffix(".json")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    let recordings: Vec<_> = names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(directory.join(format!("{name}.json")))
                .expect("a readable recording");
            let json = serde_json::from_str(&text).expect("a recording is JSON");
            Recording {
                name,
                json,
                directory: directory.clone(),
            }
        })
        .filter(|recording| recording.flow() == flow)
        .collect();
    assert!(
        !recordings.is_empty(),
        "no {kind} recording of the Flow {flow}"
    );
    recordings
}

/// Masks ids, times and stacks as the recordings do, and ports that a test cannot choose.
#[must_use]
pub fn mask(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(mask_member).collect()),
        Value::Array(list) => list.into_iter().map(mask).collect(),
        Value::String(text) => Value::String(mask_text(&text)),
        other => other,
    }
}

fn mask_member((key, value): (String, Value)) -> (String, Value) {
    let masked = match (key.as_str(), &value) {
        ("requestId" | "request_id", Value::String(id)) if is_id(id) => "<request_id>".into(),
        // The content may differ, but not whether there are any.
        ("stacks", Value::Array(lines)) if !lines.is_empty() => {
            Value::Array(vec!["<stack line>".into()])
        }
        _ => mask(value),
    };
    (key, masked)
}

fn mask_text(text: &str) -> String {
    if is_id(text) {
        return "<doc_id>".to_owned();
    }
    match timestamp_suffix(text) {
        Some(suffix) => format!("<timestamp {suffix}>"),
        None => mask_ports(text),
    }
}

/// Replaces the ports in the addresses of an error text, `'localhost:PORT'` and `'0.0.0.0:PORT'`, by `<port>`.
#[must_use]
pub fn mask_ports(text: &str) -> String {
    ["'localhost:", "'0.0.0.0:"]
        .iter()
        .fold(text.to_owned(), |text, host| {
            let mut pieces = text.split(host);
            let first = pieces.next().unwrap_or_default().to_owned();
            pieces.fold(first, |masked, piece| {
                let rest = piece.trim_start_matches(|digit: char| digit.is_ascii_digit());
                format!("{masked}{host}<port>{rest}")
            })
        })
}

fn is_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns `Z` or `+00:00` when the text is a time in Jina's format: `2026-11-22T13:27:13.551334Z`.
fn timestamp_suffix(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let is_time = bytes.len() > 19 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':';
    match is_time {
        true if text.ends_with("+00:00") => Some("+00:00"),
        true if text.ends_with('Z') => Some("Z"),
        _ => None,
    }
}
