//! Converts JSON to a `google.protobuf.Struct`: parameters, tags, metadata.

use super::{
    Json, coerce,
    coerce::Mapping,
    field_error::{FieldErrors, Path, ValueError},
};
use crate::{Kind, Struct, Value};

/// How deep protobuf messages may be nested. Decoders stop at 100; the difference is for messages that an
/// Executor or a later hop wraps around.
pub(super) const MAX_MESSAGE_DEPTH: usize = 90;

/// Converts a mapping to a `Struct` in which messages are nested at most `depth_left` deep.
pub(super) fn read_struct(
    value: &Json,
    depth_left: usize,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Option<Struct> {
    let entries = errors.check(path, Mapping::from_value(value))?;
    let mut fields = Struct::default();
    for (key, value) in entries.entries() {
        let Some(key) = errors.check(&path.key("__key__"), key) else {
            continue;
        };
        let result = read_value(value, depth_left.saturating_sub(2));
        if let Some(value) = errors.check(&path.key(&key), result) {
            fields.fields.insert(key.clone().into_owned(), value);
        }
    }
    Some(fields)
}

fn read_value(value: &Json, depth_left: usize) -> Result<Value, ValueError> {
    let depth_left = depth_left
        .checked_sub(1)
        .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Int(_) | Json::BigInt(_) | Json::Float(_) => {
            Kind::NumberValue(coerce::float64(value)?)
        }
        Json::String(text) => Kind::StringValue(text.as_ref().to_owned()),
        Json::List(_) | Json::Ints(_) | Json::Floats(_) => {
            let depth_left = depth_left
                .checked_sub(1)
                .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
            let items = value.items().into_iter().flatten();
            let values: Result<_, ValueError> =
                items.map(|item| read_value(&item, depth_left)).collect();
            Kind::ListValue(prost_types::ListValue { values: values? })
        }
        Json::Object(entries) => {
            let depth_left = depth_left
                .checked_sub(2)
                .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
            let fields: Result<_, ValueError> = entries
                .iter()
                .map(|(key, value)| Ok((key.as_ref().to_owned(), read_value(value, depth_left)?)))
                .collect();
            Kind::StructValue(Struct { fields: fields? })
        }
    };
    Ok(Value { kind: Some(kind) })
}
