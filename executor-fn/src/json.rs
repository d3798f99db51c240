//! JSON to the `google.protobuf.Struct` of tags and results.

use flowgate_proto::{Kind, Struct, Value};
use serde_json::Value as Json;

use crate::Error;

/// A JSON object as a `Struct`; numbers become doubles.
///
/// ```
/// let tags = executor_fn::structure(serde_json::json!({"words": 3, "top": ["a", "b"]}));
/// assert_eq!(tags.expect("an object").fields.len(), 2);
/// ```
///
/// # Errors
/// When it is anything but an object.
pub fn structure(json: Json) -> Result<Struct, Error> {
    match json {
        Json::Object(object) => Ok(fields(object)),
        other => Err(Error::new(
            "TypeError",
            format!("an object is needed here, but getting {other}"),
        )),
    }
}

fn fields(object: serde_json::Map<String, Json>) -> Struct {
    let fields = object.into_iter().map(|(key, json)| (key, value(json)));
    Struct {
        fields: fields.collect(),
    }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Array(items) => return items.into_iter().map(value).collect::<Vec<_>>().into(),
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Object(object) => Kind::StructValue(fields(object)),
    };
    Value { kind: Some(kind) }
}
