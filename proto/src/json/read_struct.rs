//! JSON becomes a `google.protobuf.Struct`: parameters, tags, metadata. Numbers stay numbers.

use super::{
    Json, coerce,
    coerce::Mapping,
    field_error::{Flaw, Flaws, Path},
};
use crate::{Kind, Struct, Value};

/// How many messages may lie in one another on the wire. Readers of protobuf stop at 100; the rest
/// is for what an Executor or a later hop wraps around.
pub(super) const MESSAGE_DEPTH: usize = 90;

/// The mapping as a `Struct`, with `room` levels of messages left for it.
pub(super) fn structure(
    value: &Json,
    room: usize,
    path: &Path<'_>,
    flaws: &mut Flaws,
) -> Option<Struct> {
    let entries = flaws.take(path, Mapping::of(value))?;
    let mut fields = Struct::default();
    for (key, value) in entries.entries() {
        let Some(key) = flaws.take(&path.key("__key__"), key) else {
            continue;
        };
        let read = proto_value(value, room.saturating_sub(2));
        if let Some(value) = flaws.take(&path.key(&key), read) {
            fields.fields.insert(key.clone().into_owned(), value);
        }
    }
    Some(fields)
}

fn proto_value(value: &Json, room: usize) -> Result<Value, Flaw> {
    let room = room.checked_sub(1).ok_or(Flaw::TooDeep)?;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Int(_) | Json::BigInt(_) | Json::Float(_) => {
            Kind::NumberValue(coerce::double(value)?)
        }
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::List(items) => {
            let room = room.checked_sub(1).ok_or(Flaw::TooDeep)?;
            let values: Result<_, _> = items.iter().map(|item| proto_value(item, room)).collect();
            Kind::ListValue(prost_types::ListValue { values: values? })
        }
        Json::Object(entries) => {
            let room = room.checked_sub(2).ok_or(Flaw::TooDeep)?;
            let fields: Result<_, _> = entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), proto_value(value, room)?)))
                .collect();
            Kind::StructValue(Struct { fields: fields? })
        }
    };
    Ok(Value { kind: Some(kind) })
}
