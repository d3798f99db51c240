//! Reads the maps of an event: headers, query parameters and path parameters, whose values are texts or lists of texts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, value::RawValue};

use super::{HttpEventError, read_key};

/// Parameters with one value each.
pub(super) type Parameters = HashMap<String, String>;

/// A map of an event. Values that are null are missing; numbers and booleans, which emulators write, are texts.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the value of the key, which may be missing.
    pub(super) fn read(
        key: &'static str,
        value: Option<&RawValue>,
    ) -> Result<Self, HttpEventError> {
        let map = value.map(|value| read_key(key, value)).transpose()?;
        Ok(Self(map.unwrap_or_default()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns names and values, and those of `other` whose names this map lacks. `comparable` makes equal what is the same
    /// name.
    pub(super) fn and_missing_of<'a>(
        &'a self,
        other: &'a Self,
        comparable: impl Fn(&str) -> String,
    ) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let names: HashSet<_> = self.0.keys().map(|name| comparable(name)).collect();
        let missing = other.pairs();
        let missing = missing.filter(move |(name, _)| !names.contains(&comparable(name)));
        self.pairs().chain(missing)
    }

    /// Returns the last value of each name.
    pub(super) fn into_single(self) -> Parameters {
        let pairs = self.pairs();
        pairs
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.0.iter().flat_map(|(name, value)| {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            let texts = values.iter().filter_map(to_text);
            texts.map(|text| (name.as_str(), text))
        })
    }
}

fn to_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Adds a header. `lambda_http` refuses a whole event for a name or a value that HTTP does not allow; a client cannot send
/// one, so it is left out.
pub(super) fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.as_bytes()),
    ) {
        // Fails for more than 32,768 of them, which are left out.
        let _ = headers.try_append(name, value);
    }
}
