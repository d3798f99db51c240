//! `parameters` of a request: a `google.protobuf.Struct` that stays encoded until a caller decodes it.

use bytes::Bytes;
use prost::{
    DecodeError, Message as _,
    encoding::{self, DecodeContext, WireType},
};
use prost_types::{Struct, Value, value::Kind};

use crate::{RESULTS_KEY, wire};

/// The parameters of a request, absent or encoded.
///
/// The keys can be listed without decoding a value, so that a Gateway can cheaply check for keys that
/// it must act on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    wire: Option<Bytes>,
}

impl Parameters {
    /// Parameters that are present and empty.
    pub const EMPTY: Self = Self {
        wire: Some(Bytes::new()),
    };

    pub(crate) const fn from_wire(wire: Option<Bytes>) -> Self {
        Self { wire }
    }

    /// Returns the encoded parameters, empty when absent.
    pub(crate) fn into_wire(self) -> Bytes {
        self.wire.unwrap_or_default()
    }

    pub(crate) const fn wire(&self) -> Option<&Bytes> {
        self.wire.as_ref()
    }

    /// Whether the request has the field. Jina distinguishes absent from empty parameters.
    #[must_use]
    pub const fn is_present(&self) -> bool {
        self.wire.is_some()
    }

    /// The bytes of the encoded parameters.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.wire.as_ref().map_or(0, Bytes::len)
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wire.as_ref().is_none_or(Bytes::is_empty)
    }

    /// Lists the top-level keys in the order in which they are encoded.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn keys(&self) -> Result<Vec<String>, DecodeError> {
        let mut keys = Vec::new();
        self.any_key(|key| {
            keys.push(key.to_owned());
            false
        })?;
        Ok(keys)
    }

    /// Whether a top-level key fulfils a condition. Looks at the keys in the order in which they are encoded, up to the first
    /// that does, and decodes nothing else.
    ///
    /// # Errors
    /// When the bytes up to there are not a `Struct`.
    pub fn any_key(&self, mut is_wanted: impl FnMut(&str) -> bool) -> Result<bool, DecodeError> {
        let mut fields: &[u8] = self.wire.as_deref().unwrap_or_default();
        while !fields.is_empty() {
            let (number, wire_type) = encoding::decode_key(&mut fields)?;
            if wire_type != WireType::LengthDelimited {
                encoding::skip_field(wire_type, number, &mut fields, DecodeContext::default())?;
                continue;
            }
            let payload = wire::take_slice(&mut fields)?;
            if number == 1 && is_wanted(entry_key(payload)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decodes the parameters; absent ones give an empty `Struct`.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn decode(&self) -> Result<Struct, DecodeError> {
        self.wire.as_ref().map_or_else(
            || Ok(Struct::default()),
            |wire| Struct::decode(wire.clone()),
        )
    }

    /// Returns the handlers' results, which a response carries under `__results__`. Without that key nothing is decoded.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn results(&self) -> Result<Option<Struct>, DecodeError> {
        if !self.any_key(|key| key == RESULTS_KEY)? {
            return Ok(None);
        }
        let results = self.decode()?.fields.remove(RESULTS_KEY);
        Ok(match results.and_then(|results| results.kind) {
            Some(Kind::StructValue(results)) if !results.fields.is_empty() => Some(results),
            _ => None,
        })
    }

    /// Returns the parameters with their results replaced by `results`.
    ///
    /// # Errors
    /// When the bytes are not a `Struct`.
    pub fn with_results(&self, results: Struct) -> Result<Self, DecodeError> {
        let mut parameters = self.decode()?;
        let results = Value {
            kind: Some(Kind::StructValue(results)),
        };
        parameters.fields.insert(RESULTS_KEY.to_owned(), results);
        Ok(parameters.into())
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

/// Reads the key of one entry of a protobuf map: its field 1, empty when it is missing.
fn entry_key(mut entry: &[u8]) -> Result<&str, DecodeError> {
    let mut key = "";
    while !entry.is_empty() {
        let (number, wire_type) = encoding::decode_key(&mut entry)?;
        let context = DecodeContext::default();
        if (number, wire_type) == (1, WireType::LengthDelimited) {
            let bytes = wire::take_slice(&mut entry)?;
            key = str::from_utf8(bytes).or_else(|_| invalid_key(bytes))?;
        } else if number == 1 {
            // An error, because a key is a string.
            encoding::string::merge(wire_type, &mut String::new(), &mut entry, context)?;
        } else {
            encoding::skip_field(wire_type, number, &mut entry, context)?;
        }
    }
    Ok(key)
}

/// Returns prost's error for a string that is not UTF-8, which only decoding one returns.
fn invalid_key(bytes: &[u8]) -> Result<&'static str, DecodeError> {
    let mut field = Vec::new();
    encoding::encode_varint(bytes.len() as u64, &mut field);
    field.extend_from_slice(bytes);
    let (wire_type, context) = (WireType::LengthDelimited, DecodeContext::default());
    encoding::string::merge(wire_type, &mut String::new(), &mut &field[..], context)?;
    Ok("")
}

#[cfg(test)]
mod tests {
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
    fn malformed_bytes_are_an_error() {
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
    fn absent_and_empty_parameters_are_distinguished() {
        assert!(!Parameters::default().is_present());
        assert!(Parameters::EMPTY.is_present() && Parameters::EMPTY.is_empty());
    }

    fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
        let fields = fields.map(|(key, value)| (key.to_owned(), value));
        Struct {
            fields: fields.into(),
        }
    }

    fn nested(object: Struct) -> Value {
        Value {
            kind: Some(Kind::StructValue(object)),
        }
    }

    #[test]
    fn only_a_non_empty_object_is_read_as_results() {
        let results = |value: Value| {
            let parameters = Parameters::from(object([(RESULTS_KEY, value)]));
            parameters.results().expect("a Struct")
        };
        assert_eq!(results(nested(Struct::default())), None);
        assert_eq!(results(number(1.0)), None);
        let some = object([("a/rep-0", number(1.0))]);
        assert_eq!(results(nested(some.clone())), Some(some));
        assert_eq!(Parameters::default().results(), Ok(None));
    }

    #[test]
    fn results_replace_the_clients_results() {
        let client = Parameters::from(object([(RESULTS_KEY, number(1.0)), ("a", number(2.0))]));
        let results = object([("a/rep-0", number(1.0))]);
        let answer = client.with_results(results.clone()).expect("a Struct");
        let expected = object([("a", number(2.0)), (RESULTS_KEY, nested(results))]);
        assert_eq!(answer.decode(), Ok(expected));
    }
}
