//! The tree of keys and values that every source of a Flow becomes, with the lines of the source. It knows YAML's kinds
//! of values but no key of a Flow.

use serde_json::Value as Json;

use super::diagnostic::quoted;

/// A value and its line.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) value: Value,
    /// Set if variables were replaced in the text.
    pub(super) variables: Option<Box<Variables>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) line: Option<usize>,
}

/// The origin of a text in which variables were replaced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variables {
    /// The text as it is in the file. Errors show this one, because a variable's value may be a secret.
    pub(super) written: String,
    pub(super) unset: Vec<UnsetVariable>,
}

/// A variable without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnsetVariable {
    pub(super) kind: VariableKind,
    /// The name, path or expression as it is written.
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VariableKind {
    /// `${{ ENV.X }}`.
    Environment,
    /// `$X` or `${X}`, which may also be literal text.
    Dollar,
    /// `${{ CONTEXT.X }}`, which only Jina's Python interface can set.
    Context,
    /// A reference `${{root.x}}` or `${{this.x}}` without a target, or anything else in `${{ }}`.
    Expression,
}

impl Node {
    pub(super) fn new(value: Value, line: Option<usize>) -> Self {
        Self {
            line,
            value,
            variables: None,
        }
    }

    /// Returns the value at a key of this map; of equal keys the last one.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .rev()
            .find(|(found, _)| found.text == key)
            .map(|(_, node)| node)
    }

    /// Returns a single value as text; `None` for lists, maps and null.
    pub(super) fn text(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(unquoted(text).to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(format!("{value:?}")),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Describes the value for an error: as written, so without the values of variables.
    pub(super) fn found(&self) -> String {
        match (&self.variables, &self.value) {
            (Some(variables), _) => quoted(&variables.written),
            (None, Value::Text(text)) => quoted(text),
            (None, Value::Null) => "nothing".to_owned(),
            (None, Value::List(_)) => "a list".to_owned(),
            (None, Value::Map(_)) => "a map".to_owned(),
            (None, Value::Bool(_) | Value::Int(_) | Value::Float(_)) => {
                self.text().unwrap_or_default()
            }
        }
    }

    /// Describes the kind of the value and not the value itself, which may be a secret.
    pub(super) const fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Counts the values in this tree, including this one.
    pub(super) fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum::<usize>() + 1,
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum::<usize>() + 1,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => 1,
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

    /// The key with underscores: Jina accepts `timeout-send` for `timeout_send`.
    pub(super) fn normalized(&self) -> String {
        self.text.replace('-', "_")
    }
}

impl From<Json> for Node {
    fn from(json: Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(value),
            Json::Number(number) => number.as_i64().map_or_else(
                || Value::Float(number.as_f64().unwrap_or(f64::MAX)),
                Value::Int,
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

/// Removes quotes that are part of the text, however many pairs there are, as Jina does.
pub(super) fn unquoted(text: &str) -> &str {
    let mut inner = text;
    while inner.len() >= 2 && inner.starts_with(['"', '\'']) && inner.ends_with(['"', '\'']) {
        inner = &inner[1..inner.len() - 1];
    }
    inner
}
