//! The body in an event, which may be megabytes: it is read in the same scan as the keys, and borrowed where the JSON has no
//! escapes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The value of the key `body`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::host::lambda) enum EventBody<'a> {
    /// The key is missing, or its value is null.
    #[default]
    Missing,
    /// A text, which may be base64.
    Text(Cow<'a, str>),
    /// Another JSON value, which no front door sends.
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for EventBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = EventBody<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a body")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Text(Cow::Owned(text)))
    }

    fn visit_unit<E>(self) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Missing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<EventBody<'de>, E> {
        Ok(EventBody::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<EventBody<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(EventBody::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventBody<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(EventBody::Other)
    }
}
