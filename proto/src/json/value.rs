//! A JSON value as Python's json module parses it, with NaN and integers of any size.

use std::{borrow::Cow, slice};

/// A JSON value: 24 bytes. Lists of numbers of one kind take 8 bytes per number.
#[derive(Clone, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number without fraction and exponent.
    Int(i64),
    /// An integer that does not fit in 64 bits: its digits, after a sign if it is negative.
    BigInt(Box<str>),
    /// Any other number, including `NaN`, `Infinity` and `-Infinity`.
    Float(f64),
    /// A string.
    String(Box<str>),
    /// `[...]` with any values.
    List(Box<[Self]>),
    /// `[...]` with values that are all [`Json::Int`].
    Ints(Box<[i64]>),
    /// `[...]` with values that are all [`Json::Float`].
    Floats(Box<[f64]>),
    /// `{...}` in the order of the text. The last value of a repeated key wins.
    Object(Box<[(Box<str>, Self)]>),
}

impl Json {
    /// Returns the value of a key; `None` when it is missing or this is not an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        entries.iter().find(|(k, _)| **k == *key).map(|(_, v)| v)
    }

    /// Returns the text of a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list; `None` when this is not a list.
    #[must_use]
    pub const fn items(&self) -> Option<Items<'_>> {
        match self {
            Self::List(items) => Some(Items::Values(items)),
            Self::Ints(items) => Some(Items::Ints(items)),
            Self::Floats(items) => Some(Items::Floats(items)),
            _ => None,
        }
    }
}

/// The items of a list.
#[derive(Clone, Copy, Debug)]
pub enum Items<'a> {
    /// Any values.
    Values(&'a [Json]),
    /// Integers.
    Ints(&'a [i64]),
    /// Other numbers.
    Floats(&'a [f64]),
}

impl<'a> Items<'a> {
    /// Returns the number of items.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Values(items) => items.len(),
            Self::Ints(items) => items.len(),
            Self::Floats(items) => items.len(),
        }
    }

    /// Whether the list has no items.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl<'a> IntoIterator for Items<'a> {
    type Item = Cow<'a, Json>;
    type IntoIter = ItemsIter<'a>;

    fn into_iter(self) -> ItemsIter<'a> {
        match self {
            Self::Values(items) => ItemsIter::Values(items.iter()),
            Self::Ints(items) => ItemsIter::Ints(items.iter()),
            Self::Floats(items) => ItemsIter::Floats(items.iter()),
        }
    }
}

/// Iterates over the items of a list as JSON values.
#[derive(Clone, Debug)]
pub enum ItemsIter<'a> {
    /// Any values.
    Values(slice::Iter<'a, Json>),
    /// Integers.
    Ints(slice::Iter<'a, i64>),
    /// Other numbers.
    Floats(slice::Iter<'a, f64>),
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Cow<'a, Json>;

    fn next(&mut self) -> Option<Cow<'a, Json>> {
        match self {
            Self::Values(items) => items.next().map(Cow::Borrowed),
            Self::Ints(items) => items.next().map(|&n| Cow::Owned(Json::Int(n))),
            Self::Floats(items) => items.next().map(|&x| Cow::Owned(Json::Float(x))),
        }
    }
}

/// Compares the values, however lists of numbers are kept.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Int(left), Self::Int(right)) => left == right,
            (Self::Float(left), Self::Float(right)) => left == right,
            (Self::BigInt(left), Self::BigInt(right))
            | (Self::String(left), Self::String(right)) => left == right,
            (Self::Object(left), Self::Object(right)) => left == right,
            _ => match (self.items(), other.items()) {
                (Some(left), Some(right)) => {
                    left.len() == right.len() && left.into_iter().eq(right)
                }
                _ => false,
            },
        }
    }
}
