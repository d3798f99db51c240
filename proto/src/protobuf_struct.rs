//! Converts serde_json values to `google.protobuf.Struct`, for tags, parameters and results that Rust
//! code creates.

use prost_types::{Struct, Value, value::Kind};
use serde_json::Value as Json;

/// Converts a JSON object to a `Struct`; returns `None` for any other value. Numbers become doubles.
#[must_use]
pub fn struct_from_json(json: Json) -> Option<Struct> {
    match value_from_json(json).kind {
        Some(Kind::StructValue(object)) => Some(object),
        _ => None,
    }
}

/// Converts a JSON value to a protobuf `Value`. Numbers become doubles.
#[must_use]
pub fn value_from_json(json: Json) -> Value {
    let kind = match json {
        Json::Array(items) => {
            let values: Vec<Value> = items.into_iter().map(value_from_json).collect();
            return values.into();
        }
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Object(object) => {
            let fields = object.into_iter();
            Kind::StructValue(Struct {
                fields: fields
                    .map(|(key, json)| (key, value_from_json(json)))
                    .collect(),
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
    fn only_an_object_becomes_a_struct() {
        let read = struct_from_json(json!({"a": [1, null, true], "b": {"c": "x"}}));
        let read = read.expect("an object");
        assert_eq!(read.fields["a"], value_from_json(json!([1.0, null, true])));
        assert_eq!(
            read.fields["b"].kind,
            struct_from_json(json!({"c": "x"})).map(Kind::StructValue)
        );
        assert_eq!(struct_from_json(json!([1])), None);
    }
}
