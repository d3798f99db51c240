//! The tree of what is written in a Flow, whatever it was written in: values with the lines where they stand.
//! It knows YAML's kinds of values, but no key of a Flow.

use serde_json::Value as Json;

use super::{diagnostic::quoted, scalar::guess, variables::Variables};

/// A value and where it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) value: Value,
    /// Set where the text was made from variables.
    pub(super) variables: Option<Box<Variables>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Whole(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) line: Option<usize>,
}

/// Whether text is given the type that it looks like, as Jina does with every text of a Flow file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    AsWritten,
    Guessed,
}

impl Node {
    pub(super) fn new(value: Value, line: Option<usize>) -> Self {
        Self {
            line,
            value,
            variables: None,
        }
    }

    /// The value at a key of this map; the last one counts.
    pub(super) fn at(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .rev()
            .find(|(found, _)| found.text == key)
            .map(|(_, node)| node)
    }

    /// The value with Jina's guess of its type.
    pub(super) fn guessed(&self) -> Value {
        match &self.value {
            Value::Text(text) => guess(text),
            value => value.clone(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
            || matches!(&self.value, Value::Text(text) if guess(text) == Value::Null)
    }

    /// A single value as text; `None` for lists, maps and nothing.
    pub(super) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(unquoted(text).to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Whole(value) => Some(value.to_string()),
            Value::Real(value) => Some(format!("{value:?}")),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What a fault says was found here: as written, so without what variables stand for.
    pub(super) fn found(&self) -> String {
        match (&self.variables, &self.value) {
            (Some(variables), _) => quoted(&variables.written),
            (None, Value::Text(text)) => quoted(text),
            (None, Value::Null) => "nothing".to_owned(),
            (None, Value::List(_)) => "a list".to_owned(),
            (None, Value::Map(_)) => "a map".to_owned(),
            (None, Value::Bool(_) | Value::Whole(_) | Value::Real(_)) => {
                self.text().unwrap_or_default()
            }
        }
    }

    /// The kind of value that stands here, and nothing of the value, which may be a secret.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Whole(_) | Value::Real(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub(super) fn to_json(&self, typing: Typing) -> Json {
        match typing {
            Typing::AsWritten => json(&self.value, typing),
            Typing::Guessed => json(&self.guessed(), typing),
        }
    }

    /// How many values there are here, this one included.
    pub(super) fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum::<usize>() + 1,
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum::<usize>() + 1,
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Real(_) | Value::Text(_) => 1,
        }
    }
}

impl Key {
    pub(super) fn new(text: &str, line: Option<usize>) -> Self {
        Self {
            text: text.to_owned(),
            line,
        }
    }
}

impl From<Json> for Node {
    fn from(json: Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => number.as_i64().map_or_else(
                || Value::Real(number.as_f64().unwrap_or(f64::MAX)),
                Value::Whole,
            ),
            Json::String(text) => Value::Text(text),
            Json::Array(items) => Value::List(items.into_iter().map(Self::from).collect()),
            Json::Object(map) => Value::Map(
                map.into_iter()
                    .map(|(key, value)| (Key::new(&key, None), value.into()))
                    .collect(),
            ),
        };
        Self::new(value, None)
    }
}

/// The text inside quotes that are part of the text: Jina takes them off, however many there are.
pub(super) fn unquoted(text: &str) -> &str {
    let mut inner = text;
    while inner.len() >= 2 && inner.starts_with(['"', '\'']) && inner.ends_with(['"', '\'']) {
        inner = &inner[1..inner.len() - 1];
    }
    inner
}

fn json(value: &Value, typing: Typing) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Whole(value) => Json::from(*value),
        // JSON has no number for infinity and NaN; their names are left as text.
        Value::Real(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| Json::from(value.to_string()), Json::Number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(items) => items.iter().map(|item| item.to_json(typing)).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.text.clone(), node.to_json(typing)))
            .collect(),
    }
}
