//! serde_json's values become those of `google.protobuf.Struct`, for tags, parameters and results that
//! Rust code makes.

use prost_types::{Struct, Value, value::Kind};
use serde_json::Value as Json;

/// A JSON object as a `Struct`, `None` for anything else; numbers become doubles.
#[must_use]
pub fn structure(json: Json) -> Option<Struct> {
    match value(json).kind {
        Some(Kind::StructValue(object)) => Some(object),
        _ => None,
    }
}

/// Any JSON value; numbers become doubles.
#[must_use]
pub fn value(json: Json) -> Value {
    let kind = match json {
        Json::Array(items) => return items.into_iter().map(value).collect::<Vec<_>>().into(),
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Object(object) => {
            let fields = object.into_iter().map(|(key, json)| (key, value(json)));
            Kind::StructValue(Struct {
                fields: fields.collect(),
            })
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_becomes_a_struct_and_nothing_else_does() {
        let read = structure(json!({"a": [1, null, true], "b": {"c": "x"}})).expect("an object");
        assert_eq!(read.fields["a"], value(json!([1.0, null, true])));
        assert_eq!(
            read.fields["b"].kind,
            structure(json!({"c": "x"})).map(Kind::StructValue)
        );
        assert_eq!(structure(json!([1])), None);
    }
}
