//! Reads fields that are null as missing: serializers of other languages write null for a field that is not set.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Deserializer, Serialize};

/// Reads null as the default value.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads an object of texts, without the keys that are null.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let texts: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    let texts = texts.unwrap_or_default().into_iter();
    Ok(texts
        .filter_map(|(name, text)| Some((name, text?)))
        .collect())
}

/// A message in base64, borrowed from the payload: in an option, serde would copy a plain `Cow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Body<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Returns the text of a body; `None` if it is missing, null or empty.
pub(super) fn body_text<'a>(body: Option<&'a Body<'_>>) -> Option<&'a str> {
    body.map(|Body(text)| &**text)
        .filter(|text| !text.is_empty())
}
