//! Nested JSON lists become a dense array with the element type that numpy would choose.

use super::{Json, coerce, field_error::Flaw};
use crate::docarray::{DenseNdArrayProto, NdArrayProto, nd_array_proto};

/// numpy's own limit.
const MAX_DIMENSIONS: usize = 32;

/// How many bytes an array of text may take: each element takes as many as the longest, so that a
/// small request could ask for any amount.
const MAX_TEXT_BYTES: usize = 64 << 20;

/// How texts among the elements are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// As in a request: one text makes all elements texts.
    AsTexts,
    /// As in an answer written by us: `"NaN"`, `"Infinity"`, `"-Infinity"` are numbers, if there
    /// are no other texts; and an array of no dimension is its element.
    AsNumbers,
}

/// The array that lists in lists are; `numpy.array` for JSON.
///
/// # Errors
/// When the value is no list, the lists are not of one shape, or an element is no number, boolean
/// or text.
pub(super) fn array(value: &Json, texts: Texts) -> Result<NdArrayProto, Flaw> {
    if !matches!(value, Json::List(_)) && texts == Texts::AsTexts {
        return Err(Flaw::NoArray(python_class(value)));
    }
    let shape = shape_of(value)?;
    let mut elements = Vec::new();
    collect(value, shape.len(), &mut elements);
    let numbers = texts == Texts::AsNumbers && elements.iter().all(|e| !is_other_text(e));
    let (dtype, buffer) = encode(&elements, numbers)?;
    Ok(NdArrayProto {
        cls_name: "numpy".to_owned(),
        parameters: None,
        content: Some(nd_array_proto::Content::Dense(DenseNdArrayProto {
            buffer: buffer.into(),
            // A length is bounded by the text that was read.
            shape: shape.iter().map(|&n| n as u32).collect(),
            dtype,
        })),
    })
}

const fn python_class(value: &Json) -> &'static str {
    match value {
        Json::Null => "NoneType",
        Json::Bool(_) => "bool",
        Json::Int(_) | Json::BigInt(_) => "int",
        Json::Float(_) => "float",
        Json::String(_) => "str",
        Json::List(_) => "list",
        Json::Object(_) => "dict",
    }
}

/// The shape, which the first elements give and all others have to keep.
fn shape_of(value: &Json) -> Result<Vec<usize>, Flaw> {
    let mut shape = Vec::new();
    let mut first = Some(value);
    while let Some(Json::List(items)) = first {
        shape.push(items.len());
        first = items.first();
    }
    if shape.len() > MAX_DIMENSIONS {
        return Err(Flaw::Array(format!(
            "setting an array element with a sequence. The requested array would exceed the maximum number of dimension of {MAX_DIMENSIONS}."
        )));
    }
    match uneven_at(value, 0, &shape) {
        Some(depth) => Err(ragged(&shape[..depth])),
        None => Ok(shape),
    }
}

/// The first dimension that is not the same everywhere below `value`, which lies `depth` deep.
fn uneven_at(value: &Json, depth: usize, shape: &[usize]) -> Option<usize> {
    match (value, shape.get(depth)) {
        (Json::List(items), Some(&len)) if items.len() == len => {
            let below = items.iter().map(|i| uneven_at(i, depth + 1, shape));
            below.flatten().min()
        }
        (Json::List(_), _) | (_, Some(_)) => Some(depth),
        (_, None) => None,
    }
}

/// numpy's complaint; the shape in it is a Python tuple.
fn ragged(even: &[usize]) -> Flaw {
    let lengths: Vec<String> = even.iter().map(usize::to_string).collect();
    let comma = if even.len() == 1 { "," } else { "" };
    Flaw::Array(format!(
        "setting an array element with a sequence. The requested array has an inhomogeneous shape after {} dimensions. The detected shape was ({}{comma}) + inhomogeneous part.",
        even.len(),
        lengths.join(", "),
    ))
}

fn collect<'a>(value: &'a Json, depth: usize, elements: &mut Vec<&'a Json>) {
    match value {
        Json::List(items) if depth > 0 => {
            for item in items {
                collect(item, depth - 1, elements);
            }
        }
        other => elements.push(other),
    }
}

/// Whether the element is a text that does not stand for a number.
fn is_other_text(element: &Json) -> bool {
    element
        .as_str()
        .is_some_and(|text| !matches!(text, "NaN" | "Infinity" | "-Infinity"))
}

/// The elements in the smallest of numpy's types that holds all, and its name.
fn encode(elements: &[&Json], texts_are_numbers: bool) -> Result<(String, Vec<u8>), Flaw> {
    let any = |which: fn(&Json) -> bool| elements.iter().any(|e| which(e));
    if any(|e| matches!(e, Json::Null | Json::List(_) | Json::Object(_))) {
        return Err(Flaw::Elements);
    }
    if elements.is_empty() {
        return Ok(("<f8".to_owned(), Vec::new()));
    }
    if !texts_are_numbers && any(|e| matches!(e, Json::String(_))) {
        return encode_texts(elements);
    }
    if any(|e| matches!(e, Json::BigInt(_)) && as_u64(e).is_none()) {
        return Err(Flaw::Elements);
    }
    if !any(|e| !matches!(e, Json::Bool(_))) {
        let bytes = elements.iter().map(|e| u8::from(**e == Json::Bool(true)));
        return Ok(("|b1".to_owned(), bytes.collect()));
    }
    if let Some(bytes) = encode_all(elements, |e| as_i64(e).map(i64::to_le_bytes)) {
        return Ok(("<i8".to_owned(), bytes));
    }
    if let Some(bytes) = encode_all(elements, |e| as_u64(e).map(u64::to_le_bytes)) {
        return Ok(("<u8".to_owned(), bytes));
    }
    let doubles = encode_all(elements, |e| coerce::double(e).ok().map(f64::to_le_bytes));
    Ok(("<f8".to_owned(), doubles.ok_or(Flaw::Elements)?))
}

/// The bytes of all elements, if each has some.
fn encode_all(elements: &[&Json], bytes: impl Fn(&Json) -> Option<[u8; 8]>) -> Option<Vec<u8>> {
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

/// An integer that needs the upper half of 64 bits. numpy goes to doubles as soon as it meets
/// others beside it.
fn as_u64(element: &Json) -> Option<u64> {
    match element {
        Json::BigInt(digits) => digits.parse().ok(),
        _ => None,
    }
}

/// numpy's `<U`: UTF-32, each element as long as the longest, filled up with zeros.
fn encode_texts(elements: &[&Json]) -> Result<(String, Vec<u8>), Flaw> {
    let texts: Result<Vec<String>, Flaw> = elements.iter().map(|e| coerce::text(e)).collect();
    let texts = texts?;
    let texts: Vec<&str> = texts.iter().map(|t| t.trim_end_matches('\0')).collect();
    let longest = texts.iter().map(|t| t.chars().count()).max();
    let width = longest.unwrap_or_default().max(1);
    let size = texts.len().checked_mul(width * 4);
    let size = size.filter(|&size| size <= MAX_TEXT_BYTES);
    let mut buffer = vec![0; size.ok_or_else(too_much_text)?];
    for (text, room) in texts.iter().zip(buffer.chunks_exact_mut(width * 4)) {
        for (letter, bytes) in text.chars().zip(room.chunks_exact_mut(4)) {
            bytes.copy_from_slice(&u32::from(letter).to_le_bytes());
        }
    }
    Ok((format!("<U{width}"), buffer))
}

fn too_much_text() -> Flaw {
    Flaw::Array(format!(
        "the array of strings would take more than {MAX_TEXT_BYTES} bytes"
    ))
}
