//! A JSON value becomes the text, the number or the mapping that a field wants, wherever
//! pydantic 1.10 and Python's `str`, `int`, `float` and `dict` make one of it.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

use super::{Json, field_error::Flaw};
use crate::python;

/// A string. Numbers and booleans become what Python prints of them.
pub(super) fn text(value: &Json) -> Result<String, Flaw> {
    Ok(match value {
        Json::String(text) | Json::BigInt(text) => text.clone(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Int(n) => n.to_string(),
        Json::Float(x) => python::float(*x),
        Json::Null | Json::List(_) | Json::Object(_) => return Err(Flaw::Str),
    })
}

/// A `uint32`. Fractions are cut off; text may hold an integer.
pub(super) fn unsigned(value: &Json) -> Result<u32, Flaw> {
    let n = match value {
        Json::Bool(truth) => i64::from(*truth),
        Json::Int(n) => *n,
        Json::BigInt(digits) => saturated(digits),
        // `as` saturates, which is enough: the ends are out of range.
        Json::Float(x) if x.is_finite() => *x as i64,
        Json::String(text) => integer_in(text).ok_or(Flaw::Integer)?,
        _ => return Err(Flaw::Integer),
    };
    match u32::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) if n < 0 => Err(Flaw::AtLeast(0.0)),
        Err(_) => Err(Flaw::AtMost(f64::from(u32::MAX))),
    }
}

fn saturated(digits: &str) -> i64 {
    let end = if digits.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    digits.parse().unwrap_or(end)
}

/// What Python's `int` makes of a text: blanks around, a sign, single underscores between digits.
fn integer_in(text: &str) -> Option<i64> {
    let digits = without_underscores(text.trim())?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    let fine = !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit());
    fine.then(|| saturated(&digits))
}

/// The text without its underscores, each of which has to stand between two digits.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let fine = (0..bytes.len())
        .filter(|&at| bytes[at] == b'_')
        .all(|at| at > 0 && digit(at - 1) && digit(at + 1));
    fine.then(|| Cow::Owned(text.replace('_', "")))
}

/// A double. Text may hold a number, `nan` and `inf` too.
pub(super) fn double(value: &Json) -> Result<f64, Flaw> {
    match value {
        Json::Bool(truth) => Ok(f64::from(u8::from(*truth))),
        Json::Int(n) => Ok(*n as f64),
        Json::BigInt(digits) => Some(digits.parse().unwrap_or(f64::INFINITY))
            .filter(|x: &f64| x.is_finite())
            .ok_or(Flaw::Huge),
        Json::Float(x) => Ok(*x),
        Json::String(text) => without_underscores(text.trim())
            .and_then(|number| number.parse().ok())
            .ok_or(Flaw::Float),
        Json::Null | Json::List(_) | Json::Object(_) => Err(Flaw::Float),
    }
}

/// The largest double that protobuf still rounds down to the largest `float`.
const MAX_ROUNDED: f64 = 3.402_823_567_797_336_6e38;

/// A protobuf `float`: a double that does not overflow.
pub(super) fn single(value: &Json) -> Result<f32, Flaw> {
    let x = double(value)?;
    let narrow = x as f32;
    if narrow.is_finite() || !x.is_finite() {
        Ok(narrow)
    } else if x.abs() <= MAX_ROUNDED {
        Ok(f32::MAX.copysign(narrow))
    } else if x > 0.0 {
        Err(Flaw::AtMost(f64::from(f32::MAX)))
    } else {
        Err(Flaw::AtLeast(f64::from(f32::MIN)))
    }
}

/// An object, or the pairs that Python's `dict()` takes for one.
pub(super) enum Mapping<'a> {
    Object(&'a [(String, Json)]),
    Pairs(Vec<Pair<'a>>),
}

impl<'a> Mapping<'a> {
    /// The mapping that the value is, or that `dict()` makes of it.
    pub(super) fn of(value: &'a Json) -> Result<Self, Flaw> {
        match value {
            Json::Object(entries) => Ok(Self::Object(entries)),
            Json::List(items) => {
                let pairs: Option<Vec<_>> = items.iter().map(pair).collect();
                pairs.map(last_wins).map(Self::Pairs).ok_or(Flaw::Dict)
            }
            Json::String(text) if text.is_empty() => Ok(Self::Object(&[])),
            _ => Err(Flaw::Dict),
        }
    }

    /// The same as the arguments of a model, whose names have to be strings.
    pub(super) fn of_fields(value: &'a Json) -> Result<Self, Flaw> {
        let fields = Self::of(value)?;
        match &fields {
            Self::Pairs(pairs) if pairs.iter().any(|(key, _)| key.as_str().is_none()) => {
                Err(Flaw::Keywords)
            }
            _ => Ok(fields),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            Self::Pairs(pairs) => {
                let found = pairs.iter().find(|(k, _)| k.as_str() == Some(key));
                found.map(|(_, v)| v.as_ref())
            }
        }
    }

    /// Keys, each with its value. A key is `Err` where it is no string and cannot become one.
    pub(super) fn entries(&self) -> Vec<(Result<Cow<'_, str>, Flaw>, &Json)> {
        match self {
            Self::Object(entries) => entries
                .iter()
                .map(|(key, value)| (Ok(Cow::Borrowed(key.as_str())), value))
                .collect(),
            Self::Pairs(pairs) => pairs
                .iter()
                .map(|(key, value)| (key_text(key), value.as_ref()))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Object(entries) => entries.is_empty(),
            Self::Pairs(pairs) => pairs.is_empty(),
        }
    }
}

fn key_text(key: &Json) -> Result<Cow<'_, str>, Flaw> {
    match key {
        Json::String(text) => Ok(Cow::Borrowed(text)),
        Json::Null => Err(Flaw::Null),
        other => text(other).map(Cow::Owned),
    }
}

/// A key and its value; both are made where a text or an object stands for a pair.
type Pair<'a> = (Cow<'a, Json>, Cow<'a, Json>);

/// Of pairs with the same key the first, with the value of the last.
fn last_wins(pairs: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Pair<'_>> = Vec::new();
    for (key, value) in pairs {
        match places.entry(format!("{key:?}")) {
            Entry::Occupied(place) => kept[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push((key, value));
            }
        }
    }
    kept
}

/// What counts as a pair in `dict()`: anything of two items of which the first can be a key.
fn pair(item: &Json) -> Option<Pair<'_>> {
    match item {
        Json::List(items) => match items.as_slice() {
            [Json::List(_) | Json::Object(_), _] => None,
            [key, value] => Some((Cow::Borrowed(key), Cow::Borrowed(value))),
            _ => None,
        },
        Json::Object(entries) => match entries.as_slice() {
            [(key, _), (value, _)] => Some((string(key), string(value))),
            _ => None,
        },
        Json::String(text) => {
            let mut letters = text.chars();
            let (key, value) = (letters.next()?, letters.next()?);
            let both = (string(&key.to_string()), string(&value.to_string()));
            letters.next().is_none().then_some(both)
        }
        _ => None,
    }
}

fn string(text: &str) -> Cow<'static, Json> {
    Cow::Owned(Json::String(text.to_owned()))
}
