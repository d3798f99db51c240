//! Collects the items of a JSON list: numbers of one kind without the enum around each.

use super::{ParseError, Parsed};
use crate::{decode_limits::Budget, json::Json};

/// The items of a list that is being parsed.
pub(super) enum List {
    Values(Vec<Json>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl List {
    pub(super) const fn new() -> Self {
        Self::Values(Vec::new())
    }

    /// Appends an item, whose memory it takes from the budget.
    pub(super) fn push(&mut self, item: Json, budget: &mut Budget) -> Parsed<()> {
        match (&mut *self, item) {
            (Self::Ints(items), Json::Int(n)) => {
                take(size_of::<i64>(), budget)?;
                items.push(n);
            }
            (Self::Floats(items), Json::Float(x)) => {
                take(size_of::<f64>(), budget)?;
                items.push(x);
            }
            (Self::Values(items), item) => {
                if items.is_empty() {
                    return self.push_first(item, budget);
                }
                take(size_of::<Json>(), budget)?;
                items.push(item);
            }
            (Self::Ints(_) | Self::Floats(_), item) => {
                self.mix(budget)?;
                return self.push(item, budget);
            }
        }
        Ok(())
    }

    fn push_first(&mut self, item: Json, budget: &mut Budget) -> Parsed<()> {
        take(size_of::<Json>(), budget)?;
        *self = match item {
            Json::Int(n) => Self::Ints(vec![n]),
            Json::Float(x) => Self::Floats(vec![x]),
            item => Self::Values(vec![item]),
        };
        Ok(())
    }

    /// Converts numbers of one kind to values, because a value of another kind follows.
    fn mix(&mut self, budget: &mut Budget) -> Parsed<()> {
        let count = match self {
            Self::Values(_) => return Ok(()),
            Self::Ints(items) => items.len(),
            Self::Floats(items) => items.len(),
        };
        take(count.saturating_mul(size_of::<Json>()), budget)?;
        let values = match self {
            Self::Values(items) => std::mem::take(items),
            Self::Ints(items) => items.iter().map(|&n| Json::Int(n)).collect(),
            Self::Floats(items) => items.iter().map(|&x| Json::Float(x)).collect(),
        };
        *self = Self::Values(values);
        Ok(())
    }

    pub(super) fn into_json(self) -> Json {
        match self {
            Self::Values(items) => Json::List(items.into()),
            Self::Ints(items) => Json::Ints(items.into()),
            Self::Floats(items) => Json::Floats(items.into()),
        }
    }
}

/// Takes memory from the budget.
pub(super) fn take(bytes: usize, budget: &mut Budget) -> Parsed<()> {
    budget.take_bytes(bytes).map_err(ParseError::exceeded)
}
