//! Converts JSON to a `google.protobuf.Struct`: parameters, tags, metadata.

use std::collections::BTreeMap;

use super::{
    Json, coerce,
    coerce::Mapping,
    field_error::{FieldErrors, Path, ValueError},
    value::Items,
};
use crate::{
    Kind, Struct, Value,
    decode_limits::{ALLOCATION_BYTES, Budget},
};

/// How deep protobuf messages may be nested. Decoders stop at 100; the difference is for messages that an
/// Executor or a later hop wraps around.
pub(super) const MAX_MESSAGE_DEPTH: usize = 90;

/// The memory of an entry of a `Struct` beside the content of its key and value: the nodes of a B-tree are at least about
/// half full, and the entries are listed before they are converted.
const ENTRY_BYTES: usize = 2 * size_of::<(String, Value)>() + 64;

/// Converts a mapping to a `Struct` in which messages are nested at most `depth_left` deep.
pub(super) fn read_struct(
    value: &Json,
    depth_left: usize,
    path: &Path<'_>,
    errors: &mut FieldErrors<'_>,
) -> Option<Struct> {
    let before = errors.budget().taken();
    let entries = errors.check_with(path, |budget| Mapping::from_value(value, budget))?;
    let pairs = errors.budget().taken() - before;
    errors.check_with(path, |budget| {
        let bytes = entries.len().saturating_mul(ENTRY_BYTES);
        budget.take_bytes(bytes).map_err(ValueError::from)
    })?;
    let mut fields = Struct::default();
    for (key, value) in entries.entries() {
        let Some(key) = errors.check(&path.key("__key__"), key) else {
            continue;
        };
        let value = errors.check_with(&path.key(&key), |budget| {
            budget.take_bytes(key.len().saturating_add(ALLOCATION_BYTES))?;
            read_value(value, depth_left.saturating_sub(2), budget)
        });
        if let Some(value) = value {
            fields.fields.insert(key.clone().into_owned(), value);
        }
        if errors.exceeded().is_some() {
            return None;
        }
    }
    errors.budget_mut().give_back(pairs);
    Some(fields)
}

/// Converts a value. Takes the memory of its content from the budget.
fn read_value(
    value: &Json,
    depth_left: usize,
    budget: &mut Budget<'_>,
) -> Result<Value, ValueError> {
    let depth_left = depth_left
        .checked_sub(1)
        .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Int(_) | Json::BigInt(_) | Json::Float(_) => {
            Kind::NumberValue(coerce::float64(value)?)
        }
        Json::String(text) => {
            budget.take_bytes(text.len().saturating_add(ALLOCATION_BYTES))?;
            Kind::StringValue(text.as_ref().to_owned())
        }
        Json::List(_) | Json::Ints(_) | Json::Floats(_) => {
            let depth_left = depth_left
                .checked_sub(1)
                .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
            let count = value.items().map_or(0, Items::len);
            budget.take_bytes(count.saturating_mul(size_of::<Value>()))?;
            let mut values = Vec::with_capacity(count);
            for item in value.items().into_iter().flatten() {
                values.push(read_value(&item, depth_left, budget)?);
            }
            Kind::ListValue(prost_types::ListValue { values })
        }
        Json::Object(entries) => {
            let depth_left = depth_left
                .checked_sub(2)
                .ok_or(ValueError::TooDeep(MAX_MESSAGE_DEPTH))?;
            budget.take_bytes(entries.len().saturating_mul(ENTRY_BYTES))?;
            let mut fields = BTreeMap::new();
            for (key, value) in entries {
                budget.take_bytes(key.len().saturating_add(ALLOCATION_BYTES))?;
                let value = read_value(value, depth_left, budget)?;
                fields.insert(key.as_ref().to_owned(), value);
            }
            Kind::StructValue(Struct { fields })
        }
    };
    Ok(Value { kind: Some(kind) })
}
