//! JSON to the `google.protobuf.Struct` of tags and results.

use flowgate_proto::Struct;
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
    if !json.is_object() {
        let text = format!("an object is needed here, but getting {json}");
        return Err(Error::new("TypeError", text));
    }
    Ok(flowgate_proto::struct_from_json(json).unwrap_or_default())
}
