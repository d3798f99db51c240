//! Converts JSON values to the string, number or mapping that a field requires, as leniently as pydantic
//! 1.10 and Python's `str`, `int`, `float` and `dict`.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use super::{Json, field_error::ValueError};
use crate::{decode_limits::Budget, python};

/// Converts to a string. Numbers and booleans are formatted as by Python.
pub(super) fn string(value: &Json) -> Result<String, ValueError> {
    Ok(match value {
        Json::String(text) | Json::BigInt(text) => text.as_ref().to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Int(n) => n.to_string(),
        Json::Float(x) => python::format_float(*x),
        Json::Null | Json::List(_) | Json::Ints(_) | Json::Floats(_) | Json::Object(_) => {
            return Err(ValueError::NotAString);
        }
    })
}

/// Converts to a `uint32`. Fractions are cut off. A string must be an integer in Python's notation.
pub(super) fn uint32(value: &Json) -> Result<u32, ValueError> {
    let n = match value {
        Json::Bool(truth) => i64::from(*truth),
        Json::Int(n) => *n,
        Json::BigInt(digits) => parse_saturating(digits),
        // `as` saturates, like `parse_saturating`; a saturated value is out of range for `u32` and is rejected
        // below.
        Json::Float(x) if x.is_finite() => *x as i64,
        Json::String(text) => parse_integer(text).ok_or(ValueError::NotAnInteger)?,
        _ => return Err(ValueError::NotAnInteger),
    };
    match u32::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) if n < 0 => Err(ValueError::BelowMinimum(0.0)),
        Err(_) => Err(ValueError::AboveMaximum(f64::from(u32::MAX))),
    }
}

/// Parses a valid integer with an optional sign. An integer out of range becomes the nearest limit.
fn parse_saturating(integer: &str) -> i64 {
    let limit = if integer.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    integer.parse().unwrap_or(limit)
}

/// Parses an integer as Python's `int` does: with surrounding whitespace, a sign, and single underscores
/// between digits. Values out of range saturate.
fn parse_integer(text: &str) -> Option<i64> {
    let digits = without_underscores(text.trim())?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    let is_valid = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
    is_valid.then(|| parse_saturating(&digits))
}

/// Removes underscores. Returns `None` when one is not between two digits.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_valid = (0..bytes.len())
        .filter(|&at| bytes[at] == b'_')
        .all(|at| at > 0 && is_digit(at - 1) && is_digit(at + 1));
    is_valid.then(|| Cow::Owned(text.replace('_', "")))
}

/// Converts to a double. A string may contain a number, `nan` or `inf`.
pub(super) fn float64(value: &Json) -> Result<f64, ValueError> {
    match value {
        Json::Bool(truth) => Ok(f64::from(u8::from(*truth))),
        Json::Int(n) => Ok(*n as f64),
        Json::BigInt(digits) => Some(digits.parse().unwrap_or(f64::INFINITY))
            .filter(|x: &f64| x.is_finite())
            .ok_or(ValueError::IntegerTooLarge),
        Json::Float(x) => Ok(*x),
        Json::String(text) => without_underscores(text.trim())
            .and_then(|number| number.parse().ok())
            .ok_or(ValueError::NotAFloat),
        Json::Null | Json::List(_) | Json::Ints(_) | Json::Floats(_) | Json::Object(_) => {
            Err(ValueError::NotAFloat)
        }
    }
}

/// The largest double that protobuf accepts as a `float`, half a step above `f32::MAX`. Rust rounds exactly this value
/// to infinity; protobuf rounds it to `f32::MAX`.
const MAX_FLOAT32_INPUT: f64 = 3.402_823_567_797_336_6e38;

/// Converts to a protobuf `float`. An overflow is an error.
pub(super) fn float32(value: &Json) -> Result<f32, ValueError> {
    let x = float64(value)?;
    let narrow = x as f32;
    if narrow.is_finite() || !x.is_finite() {
        Ok(narrow)
    } else if x.abs() <= MAX_FLOAT32_INPUT {
        Ok(f32::MAX.copysign(narrow))
    } else if x > 0.0 {
        Err(ValueError::AboveMaximum(f64::from(f32::MAX)))
    } else {
        Err(ValueError::BelowMinimum(f64::from(f32::MIN)))
    }
}

/// An object, or a list of pairs that Python's `dict()` accepts.
pub(super) enum Mapping<'a> {
    Object(&'a [(Box<str>, Json)]),
    Pairs(Vec<Pair<'a>>),
}

impl<'a> Mapping<'a> {
    /// Converts a value as `dict()` does. Takes the memory of the pairs from the budget.
    pub(super) fn from_value(value: &'a Json, budget: &mut Budget<'_>) -> Result<Self, ValueError> {
        match value {
            Json::Object(entries) => Ok(Self::Object(entries)),
            Json::List(items) => {
                // A list that is no mapping must not fail for its size alone.
                let is_pair = |item: &Json| parse_pair(item).is_some();
                if !items.iter().all(is_pair) {
                    return Err(ValueError::NotADict);
                }
                budget.take_bytes(items.iter().map(pair_bytes).sum())?;
                let pairs: Option<Vec<_>> = items.iter().map(parse_pair).collect();
                pairs
                    .map(last_wins)
                    .map(Self::Pairs)
                    .ok_or(ValueError::NotADict)
            }
            // A number is no pair, and these lists have at least one.
            Json::Ints(_) | Json::Floats(_) => Err(ValueError::NotADict),
            Json::String(text) if text.is_empty() => Ok(Self::Object(&[])),
            _ => Err(ValueError::NotADict),
        }
    }

    /// Converts a value as `from_value` does, and rejects keys that are not strings, as pydantic does for a model's
    /// fields.
    pub(super) fn with_string_keys(
        value: &'a Json,
        budget: &mut Budget<'_>,
    ) -> Result<Self, ValueError> {
        let fields = Self::from_value(value, budget)?;
        match &fields {
            Self::Pairs(pairs) if pairs.iter().any(|(key, _)| key.as_str().is_none()) => {
                Err(ValueError::NonStringKeys)
            }
            _ => Ok(fields),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(entries) => {
                let found = entries.iter().find(|(k, _)| **k == *key);
                found.map(|(_, v)| v)
            }
            Self::Pairs(pairs) => {
                let found = pairs.iter().find(|(k, _)| k.as_str() == Some(key));
                found.map(|(_, v)| v.as_ref())
            }
        }
    }

    /// Returns the keys with their values. A key is `Err` when it cannot be converted to a string.
    pub(super) fn entries(&self) -> Vec<(Result<Cow<'_, str>, ValueError>, &Json)> {
        match self {
            Self::Object(entries) => entries
                .iter()
                .map(|(key, value)| (Ok(Cow::Borrowed(&**key)), value))
                .collect(),
            Self::Pairs(pairs) => pairs
                .iter()
                .map(|(key, value)| (key_to_string(key), value.as_ref()))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Object(entries) => entries.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }
}

fn key_to_string(key: &Json) -> Result<Cow<'_, str>, ValueError> {
    match key {
        Json::String(text) => Ok(Cow::Borrowed(text)),
        Json::Null => Err(ValueError::NullNotAllowed),
        other => string(other).map(Cow::Owned),
    }
}

/// A key and its value. Both are owned when the pair was given as a string or an object.
type Pair<'a> = (Cow<'a, Json>, Cow<'a, Json>);

/// Removes repeated keys: the first position stays, with the last value. Keys are compared by type and value, so 1, 1.0
/// and true stay apart, unlike in Python.
fn last_wins(pairs: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut unique: Vec<Pair<'_>> = Vec::new();
    for (key, value) in pairs {
        match places.entry(format!("{key:?}")) {
            Entry::Occupied(place) => unique[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(unique.len());
                unique.push((key, value));
            }
        }
    }
    unique
}

/// Converts what `dict()` accepts as a pair: anything with two items of which the first can be a key.
fn parse_pair(item: &Json) -> Option<Pair<'_>> {
    match item {
        Json::List(items) => match &**items {
            [key, _] if key.items().is_some() || matches!(key, Json::Object(_)) => None,
            [key, value] => Some((Cow::Borrowed(key), Cow::Borrowed(value))),
            _ => None,
        },
        Json::Ints(items) => match **items {
            [key, value] => Some((Cow::Owned(Json::Int(key)), Cow::Owned(Json::Int(value)))),
            _ => None,
        },
        Json::Floats(items) => match **items {
            [key, value] => Some((Cow::Owned(Json::Float(key)), Cow::Owned(Json::Float(value)))),
            _ => None,
        },
        Json::Object(entries) => match &**entries {
            [(key, _), (value, _)] => Some((owned_string(key), owned_string(value))),
            _ => None,
        },
        Json::String(text) => {
            let mut characters = text.chars();
            let (key, value) = (characters.next()?, characters.next()?);
            let pair = (
                owned_string(&key.to_string()),
                owned_string(&value.to_string()),
            );
            characters.next().is_none().then_some(pair)
        }
        _ => None,
    }
}

/// The memory of a pair: itself, in a growing list that is copied once without repeated keys, its texts if it owns them, and
/// its place among the keys.
const PAIR_BYTES: usize = 4 * size_of::<Pair<'_>>() + 2 * size_of::<(String, usize)>() + 64;

fn pair_bytes(item: &Json) -> usize {
    let key = match item {
        Json::List(items) => items.first().and_then(Json::as_str),
        // Both keys of an object become values.
        Json::Object(entries) => entries
            .iter()
            .map(|(key, _)| &**key)
            .max_by_key(|key| key.len()),
        _ => None,
    };
    // The key is compared in its escaped form.
    PAIR_BYTES.saturating_add(key.map_or(0, |key| key.len().saturating_mul(4)))
}

fn owned_string(text: &str) -> Cow<'static, Json> {
    Cow::Owned(Json::String(text.into()))
}
