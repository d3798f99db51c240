//! Converts nested JSON lists to a dense array, with the element type that numpy would choose.

use std::borrow::Cow;

use super::{Json, coerce, field_error::ValueError, value::Items};
use crate::{
    array::{MAX_DIMENSIONS, empty_lists},
    decode_limits::{ALLOCATION_BYTES, Budget, MAX_UNBACKED_VALUES},
    docarray::{DenseNdArrayProto, NdArrayProto, nd_array_proto},
};

/// The largest array of strings. Each element takes as many bytes as the longest, so that a small request
/// could otherwise need any amount of memory.
const MAX_STRING_ARRAY_BYTES: usize = 64 << 20;

/// The memory of one element while an array of mixed types is encoded: the element in a growing list, and its bytes.
const ELEMENT_BYTES: usize = 64;

/// The memory of the text of one element while an array of strings is encoded, beside its bytes.
const STRING_BYTES: usize = size_of::<String>() + size_of::<&str>() + ALLOCATION_BYTES;

/// How string elements are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StringElements {
    /// As in a request: one string makes all elements strings.
    AsStrings,
    /// As in a response of the Gateway: `"NaN"`, `"Infinity"` and `"-Infinity"` are numbers, if there are
    /// no other strings, and a single element is an array without dimensions.
    AsNumbers,
}

/// Converts nested lists to an array, as `numpy.array` does. Takes the memory that the array needs in addition to the
/// lists from the budget.
///
/// # Errors
/// When the value is not a list, the lists have different shapes, an element is not a number, boolean or string, or the
/// array is too large.
pub(super) fn read_array(
    value: &Json,
    strings: StringElements,
    budget: &mut Budget<'_>,
) -> Result<NdArrayProto, ValueError> {
    if value.items().is_none() && strings == StringElements::AsStrings {
        return Err(ValueError::NotAnArray(python_class(value)));
    }
    let shape = detect_shape(value)?;
    check_empty_lists(&shape, budget)?;
    let (dtype, buffer) = match encode_numbers(value, &shape, budget)? {
        Some(numbers) => numbers,
        None => encode_elements(value, shape.len(), strings, budget)?,
    };
    Ok(NdArrayProto {
        cls_name: "numpy".to_owned(),
        parameters: None,
        content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto {
            buffer: buffer.into(),
            // Cannot truncate: the length of the request bounds the lengths of its lists.
            shape: shape.iter().map(|&n| n as u32).collect(),
            dtype,
        })),
    })
}

/// Refuses arrays of many empty lists: the array has no bytes for them, so that no response could have it.
fn check_empty_lists(shape: &[usize], budget: &mut Budget<'_>) -> Result<(), ValueError> {
    if !shape.contains(&0) {
        return Ok(());
    }
    // Cannot truncate: the length of the request bounds the lengths of its lists.
    let shape: Vec<u32> = shape.iter().map(|&n| n as u32).collect();
    let lists = empty_lists(&shape);
    if lists.is_some_and(|lists| budget.take_empty_lists(lists)) {
        return Ok(());
    }
    Err(ValueError::InvalidArray(format!(
        "the arrays of the request have more than {MAX_UNBACKED_VALUES} empty lists"
    )))
}

/// Encodes lists of numbers that are all of one kind. Returns `None` for any other lists.
fn encode_numbers(
    value: &Json,
    shape: &[usize],
    budget: &mut Budget<'_>,
) -> Result<Option<(String, Vec<u8>)>, ValueError> {
    // Not more than the elements that exist: the lists have this shape.
    let size = shape.iter().product::<usize>().saturating_mul(8);
    budget.take_bytes(size)?;
    let mut buffer = Vec::with_capacity(size);
    if append_doubles(value, &mut buffer) {
        return Ok(Some(("<f8".to_owned(), buffer)));
    }
    buffer.clear();
    if append_integers(value, &mut buffer) {
        return Ok(Some(("<i8".to_owned(), buffer)));
    }
    budget.give_back(size);
    Ok(None)
}

/// Appends the doubles of nested lists. Returns `false` when there are other values.
fn append_doubles(value: &Json, buffer: &mut Vec<u8>) -> bool {
    match value {
        Json::Floats(items) => {
            buffer.extend(items.iter().flat_map(|x| x.to_le_bytes()));
            true
        }
        Json::List(items) if !items.is_empty() => {
            items.iter().all(|item| append_doubles(item, buffer))
        }
        _ => false,
    }
}

/// Appends the integers of nested lists. Returns `false` when there are other values.
fn append_integers(value: &Json, buffer: &mut Vec<u8>) -> bool {
    match value {
        Json::Ints(items) => {
            buffer.extend(items.iter().flat_map(|n| n.to_le_bytes()));
            true
        }
        Json::List(items) if !items.is_empty() => {
            items.iter().all(|item| append_integers(item, buffer))
        }
        _ => false,
    }
}

/// Encodes elements of any types. Returns the name of the type that numpy chooses for them, and the bytes.
fn encode_elements(
    value: &Json,
    dimensions: usize,
    strings: StringElements,
    budget: &mut Budget<'_>,
) -> Result<(String, Vec<u8>), ValueError> {
    let mut elements = Vec::new();
    collect_elements(value, dimensions, &mut elements, budget)?;
    let strings_are_numbers =
        strings == StringElements::AsNumbers && elements.iter().all(|e| !is_other_string(e));
    encode(&elements, strings_are_numbers, budget)
}

const fn python_class(value: &Json) -> &'static str {
    match value {
        Json::Null => "NoneType",
        Json::Bool(_) => "bool",
        Json::Int(_) | Json::BigInt(_) => "int",
        Json::Float(_) => "float",
        Json::String(_) => "str",
        Json::List(_) | Json::Ints(_) | Json::Floats(_) => "list",
        Json::Object(_) => "dict",
    }
}

/// Returns the shape, which the first elements determine and all others must have.
fn detect_shape(value: &Json) -> Result<Vec<usize>, ValueError> {
    let mut shape = Vec::new();
    let mut first = Some(value);
    while let Some(items) = first.and_then(Json::items) {
        shape.push(items.len());
        first = match items {
            Items::Values(items) => items.first(),
            Items::Ints(_) | Items::Floats(_) => None,
        };
    }
    if shape.len() > MAX_DIMENSIONS {
        return Err(ValueError::InvalidArray(format!(
            "setting an array element with a sequence. The requested array would exceed the maximum number of dimension of {MAX_DIMENSIONS}."
        )));
    }
    match find_ragged_dimension(value, 0, &shape) {
        Some(depth) => Err(ragged_error(&shape[..depth])),
        None => Ok(shape),
    }
}

/// Returns the first dimension whose length differs within `value`, which is nested `depth` deep.
fn find_ragged_dimension(value: &Json, depth: usize, shape: &[usize]) -> Option<usize> {
    match (value.items(), shape.get(depth)) {
        (Some(items), Some(&len)) if items.len() == len => match items {
            Items::Values(items) => {
                let inner = items
                    .iter()
                    .map(|i| find_ragged_dimension(i, depth + 1, shape));
                inner.flatten().min()
            }
            // Numbers where the first item is a list.
            Items::Ints(_) | Items::Floats(_) => (depth + 1 < shape.len()).then_some(depth + 1),
        },
        (Some(_), _) | (None, Some(_)) => Some(depth),
        (None, None) => None,
    }
}

/// numpy's error message, with the regular part of the shape as a Python tuple.
fn ragged_error(regular: &[usize]) -> ValueError {
    let lengths: Vec<String> = regular.iter().map(usize::to_string).collect();
    let comma = if regular.len() == 1 { "," } else { "" };
    ValueError::InvalidArray(format!(
        "setting an array element with a sequence. The requested array has an inhomogeneous shape after {} dimensions. The detected shape was ({}{comma}) + inhomogeneous part.",
        regular.len(),
        lengths.join(", "),
    ))
}

fn collect_elements<'a>(
    value: &'a Json,
    depth: usize,
    elements: &mut Vec<Cow<'a, Json>>,
    budget: &mut Budget<'_>,
) -> Result<(), ValueError> {
    match value.items() {
        Some(Items::Values(items)) if depth > 1 => {
            for item in items {
                collect_elements(item, depth - 1, elements, budget)?;
            }
        }
        Some(items) if depth > 0 => {
            budget.take_bytes(items.len().saturating_mul(ELEMENT_BYTES))?;
            elements.extend(items);
        }
        _ => elements.push(Cow::Borrowed(value)),
    }
    Ok(())
}

/// Whether the element is a string other than the name of a number.
fn is_other_string(element: &Json) -> bool {
    element
        .as_str()
        .is_some_and(|text| !matches!(text, "NaN" | "Infinity" | "-Infinity"))
}

/// Encodes the elements in the type that numpy chooses for them. Returns the type's name and the bytes.
fn encode(
    elements: &[Cow<'_, Json>],
    strings_are_numbers: bool,
    budget: &mut Budget<'_>,
) -> Result<(String, Vec<u8>), ValueError> {
    let any = |predicate: fn(&Json) -> bool| elements.iter().any(|e| predicate(e));
    if any(|e| matches!(e, Json::Null | Json::Object(_)) || e.items().is_some()) {
        return Err(ValueError::UnsupportedElements);
    }
    if elements.is_empty() {
        return Ok(("<f8".to_owned(), Vec::new()));
    }
    if !strings_are_numbers && any(|e| matches!(e, Json::String(_))) {
        return encode_strings(elements, budget);
    }
    if any(|e| matches!(e, Json::BigInt(_)) && as_u64(e).is_none()) {
        return Err(ValueError::UnsupportedElements);
    }
    if !any(|e| !matches!(e, Json::Bool(_))) {
        let bytes = elements
            .iter()
            .map(|e| u8::from(matches!(**e, Json::Bool(true))));
        return Ok(("|b1".to_owned(), bytes.collect()));
    }
    if let Some(bytes) = encode_all(elements, |e| as_i64(e).map(i64::to_le_bytes)) {
        return Ok(("<i8".to_owned(), bytes));
    }
    if let Some(bytes) = encode_all(elements, |e| as_u64(e).map(u64::to_le_bytes)) {
        return Ok(("<u8".to_owned(), bytes));
    }
    let doubles = encode_all(elements, |e| coerce::float64(e).ok().map(f64::to_le_bytes));
    Ok((
        "<f8".to_owned(),
        doubles.ok_or(ValueError::UnsupportedElements)?,
    ))
}

/// Encodes all elements. Returns `None` when `bytes` does for one of them.
fn encode_all(
    elements: &[Cow<'_, Json>],
    bytes: impl Fn(&Json) -> Option<[u8; 8]>,
) -> Option<Vec<u8>> {
    let mut buffer = Vec::with_capacity(elements.len() * 8);
    for element in elements {
        buffer.extend_from_slice(&bytes(element)?);
    }
    Some(buffer)
}

fn as_i64(element: &Json) -> Option<i64> {
    match element {
        Json::Bool(truth) => Some(i64::from(*truth)),
        Json::Int(n) => Some(*n),
        _ => None,
    }
}

/// Returns an integer that needs an unsigned 64-bit type. numpy chooses doubles when smaller integers are
/// among the elements.
fn as_u64(element: &Json) -> Option<u64> {
    match element {
        Json::BigInt(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// Encodes strings as numpy's `<U`: UTF-32, each padded with zeros to the length of the longest.
fn encode_strings(
    elements: &[Cow<'_, Json>],
    budget: &mut Budget<'_>,
) -> Result<(String, Vec<u8>), ValueError> {
    let text_bytes = |e: &Cow<'_, Json>| STRING_BYTES + e.as_str().map_or(0, str::len);
    budget.take_bytes(elements.iter().map(text_bytes).sum())?;
    let texts: Result<Vec<String>, ValueError> =
        elements.iter().map(|e| coerce::string(e)).collect();
    let texts = texts?;
    let texts: Vec<&str> = texts.iter().map(|t| t.trim_end_matches('\0')).collect();
    let longest = texts.iter().map(|t| t.chars().count()).max();
    let width = longest.unwrap_or_default().max(1);
    let size = texts.len().checked_mul(width * 4);
    let size = size.filter(|&size| size <= MAX_STRING_ARRAY_BYTES);
    let size = size.ok_or_else(strings_too_large)?;
    budget.take_bytes(size)?;
    let mut buffer = vec![0; size];
    for (text, slot) in texts.iter().zip(buffer.chunks_exact_mut(width * 4)) {
        for (character, bytes) in text.chars().zip(slot.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&u32::from(character).to_le_bytes());
        }
    }
    Ok((format!("<U{width}"), buffer))
}

fn strings_too_large() -> ValueError {
    ValueError::InvalidArray(format!(
        "the array of strings would take more than {MAX_STRING_ARRAY_BYTES} bytes"
    ))
}
