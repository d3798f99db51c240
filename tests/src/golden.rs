//! Recordings of Jina 3.13.2 in `golden/`: reading them, and masking what differs from run to run.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// One recording.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Its file's name without the ending, `03-echo` for example.
    pub name: String,
    /// What was recorded.
    pub json: Value,
    folder: PathBuf,
}

impl Recording {
    /// The Flow that was running.
    ///
    /// # Panics
    /// When the recording names none.
    #[must_use]
    pub fn flow(&self) -> &str {
        self.json["flow"]
            .as_str()
            .expect("every recording names its Flow")
    }

    /// The raw bytes beside it, `.req.bin` for example.
    #[must_use]
    pub fn bytes(&self, ending: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.join(format!("{}{ending}", self.name))).ok()
    }
}

/// All recordings of a kind (`grpc`, `http` or `ws`) that one Flow answered, in their order.
///
/// # Panics
/// When there is none, or one cannot be read.
#[must_use]
pub fn recordings(kind: &str, flow: &str) -> Vec<Recording> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(kind);
    let mut names: Vec<String> = fs::read_dir(&folder)
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
            let text = fs::read_to_string(folder.join(format!("{name}.json")))
                .expect("a readable recording");
            let json = serde_json::from_str(&text).expect("a recording is JSON");
            Recording {
                name,
                json,
                folder: folder.clone(),
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
pub fn masked(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(masked_member).collect()),
        Value::Array(list) => list.into_iter().map(masked).collect(),
        Value::String(text) => Value::String(masked_text(&text)),
        other => other,
    }
}

fn masked_member((key, value): (String, Value)) -> (String, Value) {
    let masked = match (key.as_str(), &value) {
        ("requestId" | "request_id", Value::String(id)) if is_id(id) => "<request_id>".into(),
        // Their content is free; that there are any, is not.
        ("stacks", Value::Array(lines)) if !lines.is_empty() => {
            Value::Array(vec!["<stack line>".into()])
        }
        _ => masked(value),
    };
    (key, masked)
}

fn masked_text(text: &str) -> String {
    if is_id(text) {
        return "<doc_id>".to_owned();
    }
    match time_form(text) {
        Some(form) => format!("<timestamp {form}>"),
        None => masked_ports(text),
    }
}

/// The ports in the addresses of an error text, `'localhost:PORT'` and `'0.0.0.0:PORT'`, as `<port>`.
#[must_use]
pub fn masked_ports(text: &str) -> String {
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

/// `Z` or `+00:00` when the text is a time as Jina writes one: `2026-11-22T13:27:13.551334Z`.
fn time_form(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let date = bytes.len() > 19 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':';
    match date {
        true if text.ends_with("+00:00") => Some("+00:00"),
        true if text.ends_with('Z') => Some("Z"),
        _ => None,
    }
}
