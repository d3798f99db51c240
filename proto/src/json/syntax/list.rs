//! Collects the items of a JSON list: numbers of one kind without the enum around each. The memory is taken from the budget
//! before it is allocated.

use super::{ParseError, Parsed};
use crate::{
    decode_limits::{ALLOCATION_BYTES, Budget},
    json::Json,
};

/// The items of a list that is being parsed.
pub(super) enum List {
    /// No item yet, and how many numbers are expected.
    Empty(usize),
    Values(Vec<Json>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl List {
    /// A list that gets room for `numbers` at once if its first item is a number.
    pub(super) const fn new(numbers: usize) -> Self {
        Self::Empty(numbers)
    }

    /// Appends an item.
    pub(super) fn push(&mut self, item: Json, budget: &mut Budget<'_>) -> Parsed<()> {
        match (&mut *self, item) {
            (Self::Ints(items), Json::Int(n)) => push(items, n, budget),
            (Self::Floats(items), Json::Float(x)) => push(items, x, budget),
            (Self::Values(items), item) => push(items, item, budget),
            (Self::Empty(numbers), item) => {
                let numbers = *numbers;
                *self = match item {
                    Json::Int(_) => Self::Ints(with_capacity(numbers, budget)?),
                    Json::Float(_) => Self::Floats(with_capacity(numbers, budget)?),
                    _ => Self::Values(with_capacity(1, budget)?),
                };
                self.push(item, budget)
            }
            (Self::Ints(_) | Self::Floats(_), item) => {
                self.mix(budget)?;
                self.push(item, budget)
            }
        }
    }

    /// Converts numbers of one kind to values, because a value of another kind follows.
    fn mix(&mut self, budget: &mut Budget<'_>) -> Parsed<()> {
        let values = match self {
            Self::Empty(_) | Self::Values(_) => return Ok(()),
            Self::Ints(items) => converted(items, Json::Int, budget)?,
            Self::Floats(items) => converted(items, Json::Float, budget)?,
        };
        *self = Self::Values(values);
        Ok(())
    }

    pub(super) fn into_json(self, budget: &mut Budget<'_>) -> Json {
        match self {
            Self::Empty(_) => Json::List(Box::default()),
            Self::Values(items) => Json::List(boxed(items, budget)),
            Self::Ints(items) => Json::Ints(boxed(items, budget)),
            Self::Floats(items) => Json::Floats(boxed(items, budget)),
        }
    }
}

fn with_capacity<T>(capacity: usize, budget: &mut Budget<'_>) -> Parsed<Vec<T>> {
    let bytes = capacity.saturating_mul(size_of::<T>());
    take(bytes.saturating_add(ALLOCATION_BYTES), budget)?;
    Ok(Vec::with_capacity(capacity))
}

/// Converts the items, and releases the room of the numbers.
fn converted<T: Copy>(
    items: &mut Vec<T>,
    convert: fn(T) -> Json,
    budget: &mut Budget<'_>,
) -> Parsed<Vec<Json>> {
    let items = std::mem::take(items);
    let mut values = with_capacity(items.len() + 1, budget)?;
    values.extend(items.iter().copied().map(convert));
    budget.give_back(items.capacity() * size_of::<T>() + ALLOCATION_BYTES);
    Ok(values)
}

/// Appends an item to a list that doubles its room when it is full. The room that it leaves counts on, because allocators
/// keep it for a while.
pub(super) fn push<T>(items: &mut Vec<T>, item: T, budget: &mut Budget<'_>) -> Parsed<()> {
    if items.len() == items.capacity() {
        let more = items.capacity().max(1);
        take(more.saturating_mul(2 * size_of::<T>()), budget)?;
        items.reserve_exact(more);
    }
    items.push(item);
    Ok(())
}

/// Releases the room that is not used.
pub(super) fn boxed<T>(items: Vec<T>, budget: &mut Budget<'_>) -> Box<[T]> {
    budget.give_back((items.capacity() - items.len()).saturating_mul(size_of::<T>()));
    items.into()
}

/// Takes memory from the budget.
pub(super) fn take(bytes: usize, budget: &mut Budget<'_>) -> Parsed<()> {
    budget.take_bytes(bytes).map_err(ParseError::exceeded)
}
