//! `parameters` of a request: a `google.protobuf.Struct` that stays bytes while it only passes through.

use bytes::{Buf as _, Bytes};
use prost::{
    DecodeError, Message as _,
    encoding::{self, DecodeContext},
};
use prost_types::Struct;

use crate::wire;

/// The parameters of a request, absent or as they came.
///
/// The keys can be listed without decoding a value, so that a Gateway finds out cheaply whether a
/// request has anything in it that the Gateway must act on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    wire: Option<Bytes>,
}

impl Parameters {
    /// Parameters that are there, and empty.
    pub const EMPTY: Self = Self {
        wire: Some(Bytes::new()),
    };

    pub(crate) const fn from_wire(wire: Option<Bytes>) -> Self {
        Self { wire }
    }

    /// The bytes, empty when absent.
    pub(crate) fn into_wire(self) -> Bytes {
        self.wire.unwrap_or_default()
    }

    pub(crate) const fn wire(&self) -> Option<&Bytes> {
        self.wire.as_ref()
    }

    /// Whether the request has the field at all; Jina tells an absent one from an empty one.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.wire.is_some()
    }

    /// Whether there is no parameter in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wire.as_ref().is_none_or(Bytes::is_empty)
    }

    /// The top-level keys in the order of the wire.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn keys(&self) -> Result<Vec<String>, DecodeError> {
        let mut keys = Vec::new();
        let mut fields = self.wire.clone().unwrap_or_default();
        while let Some(field) = wire::next_field(&mut fields)? {
            if let (1, Some(mut entry)) = (field.number, field.bytes) {
                keys.push(entry_key(&mut entry)?);
            }
        }
        Ok(keys)
    }

    /// The parameters decoded; empty when absent.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn decode(&self) -> Result<Struct, DecodeError> {
        self.wire.as_ref().map_or_else(
            || Ok(Struct::default()),
            |wire| Struct::decode(wire.clone()),
        )
    }
}

impl From<Struct> for Parameters {
    fn from(parameters: Struct) -> Self {
        Self {
            wire: Some(parameters.encode_to_vec().into()),
        }
    }
}

impl From<Option<Struct>> for Parameters {
    fn from(parameters: Option<Struct>) -> Self {
        parameters.map_or_else(Self::default, Self::from)
    }
}

/// The key of one entry of a protobuf map: its field 1, empty when it is left out.
fn entry_key(entry: &mut Bytes) -> Result<String, DecodeError> {
    let mut key = String::new();
    while entry.has_remaining() {
        let (number, wire_type) = encoding::decode_key(entry)?;
        let context = DecodeContext::default();
        match number {
            1 => encoding::string::merge(wire_type, &mut key, entry, context)?,
            _ => encoding::skip_field(wire_type, number, entry, context)?,
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use prost_types::{Value, value::Kind};

    use super::*;

    fn number(n: f64) -> Value {
        Value {
            kind: Some(Kind::NumberValue(n)),
        }
    }

    #[test]
    fn keys_are_listed_without_decoding() {
        let fields = [
            ("a".to_owned(), number(1.0)),
            ("b__c".to_owned(), number(2.0)),
        ];
        let parameters = Parameters::from(Struct {
            fields: fields.into(),
        });
        assert_eq!(parameters.keys().expect("a Struct"), ["a", "b__c"]);
    }

    #[test]
    fn bytes_that_are_no_struct_are_an_error() {
        let parameters = Parameters::from_wire(Some(Bytes::from_static(&[0x0a, 0x05, 0x01])));
        assert!(parameters.keys().is_err());
        let bad_key =
            Parameters::from_wire(Some(Bytes::from_static(&[0x0a, 0x03, 0x0a, 0x01, 0xff])));
        assert!(bad_key.keys().is_err());
        let number_for_key =
            Parameters::from_wire(Some(Bytes::from_static(&[0x0a, 0x02, 0x08, 0x01])));
        assert!(number_for_key.keys().is_err() && number_for_key.decode().is_err());
    }

    #[test]
    fn absent_and_empty_are_told_apart() {
        assert!(!Parameters::default().is_present());
        assert!(Parameters::EMPTY.is_present() && Parameters::EMPTY.is_empty());
    }
}
