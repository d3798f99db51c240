//! `uvicorn_kwargs` in the forms in which Jina takes them: a map, JSON, or `KEY:VALUE` texts. Only the keys for TLS have an
//! effect here.

use serde_json::Value as Json;

use crate::{
    diagnostic::{Place, Report, suggestion},
    node::{Key, Node, Value, Variables},
    section::Section,
};

/// Returns the options with their place, and warns of those without effect.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> (Place, Vec<(Key, Node)>) {
    let Some(entry) = section.find(&["uvicorn_kwargs"]) else {
        return (section.place().key("uvicorn_kwargs", None), Vec::new());
    };
    let Some(entries) = options(entry.node) else {
        report.error(&entry.place, entry.node.kind(), "a map, or KEY:VALUE");
        return (entry.place, Vec::new());
    };
    if entries.iter().any(|(key, _)| !is_for_tls(key)) {
        report.warn(
            &entry.place,
            "uvicorn_kwargs",
            format!(
                "only {}: this Gateway does not use uvicorn, so others have no effect",
                KEYS.join(", ")
            ),
        );
    }
    (entry.place, entries)
}

/// Returns the options; `None` if they are in none of Jina's forms.
pub(crate) fn options(node: &Node) -> Option<Vec<(Key, Node)>> {
    match &node.value {
        Value::Map(entries) => Some(entries.clone()),
        Value::List(items) => {
            let items: Option<Vec<_>> = items.iter().map(options_of_item).collect();
            items.map(|items| items.into_iter().flatten().collect())
        }
        _ => options_of_item(node),
    }
}

fn options_of_item(node: &Node) -> Option<Vec<(Key, Node)>> {
    match &node.value {
        Value::Null => Some(Vec::new()),
        Value::Map(entries) => Some(entries.clone()),
        Value::Text(text) => options_of_text(node, text),
        Value::List(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) => None,
    }
}

fn options_of_text(node: &Node, text: &str) -> Option<Vec<(Key, Node)>> {
    let child = |key: &str, value| {
        let variables = node.variables.as_ref();
        let variables = variables.map(|variables| Box::new(of_option(key, variables)));
        let child = Node {
            line: node.line,
            value,
            variables,
        };
        (Key::new(key, node.line), child)
    };
    if let Ok(Json::Object(map)) = serde_json::from_str(text) {
        let entries = map.into_iter();
        return Some(
            entries
                .map(|(key, json)| child(&key, Node::from(json).value))
                .collect(),
        );
    }
    let (key, value) = text.split_once(':')?;
    Some(vec![child(key.trim(), Value::Text(value.to_owned()))])
}

/// Returns the variables of one option without the text of the others, which may be a password.
fn of_option(key: &str, variables: &Variables) -> Variables {
    let value = variables.written.split_once(':');
    let written = value.filter(|(written, _)| written.trim() == key);
    Variables {
        written: written.map_or("...", |(_, value)| value).to_owned(),
        unset: variables.unset.clone(),
    }
}

/// Rejects keys that look as if they set up TLS: without effect they would leave it weaker than intended.
pub(super) fn report_unknown_ssl_keys(
    options: &Section<'_>,
    entries: &[(Key, Node)],
    report: &mut Report,
) {
    for (key, _) in entries.iter().filter(|(key, _)| is_for_tls(key)) {
        let name = key.normalized();
        if !KEYS.contains(&name.as_str()) {
            let hint = suggestion(&name, KEYS);
            report.error(
                &options.place().key(&key.text, key.line),
                "an unknown key",
                format!("one of {}{hint}", KEYS.join(", ")),
            );
        }
    }
}

fn is_for_tls(key: &Key) -> bool {
    key.normalized().starts_with("ssl")
}

/// The options with an effect.
const KEYS: [&str; 7] = [
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_keyfile_password",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_version",
    "ssl_ciphers",
];
