//! A sparse array becomes the bytes of the dense one that it stands for, if that is not too large.

use super::{ArrayError, MAX_DIMENSIONS, parsed, size_of};
use crate::{
    array::Element,
    docarray::{DenseNdArrayProto, SparseNdArrayProto},
    json::writer::Writer,
};

/// Memory that one sparse array may take while it is written.
const MAX_BYTES: usize = 64 << 20;

/// The elements of the whole array in C order, zeros included, and their type. Where indices come
/// twice the last value stays.
pub(super) fn filled<'a>(
    array: &'a SparseNdArrayProto,
    class: &str,
    out: &mut Writer,
) -> Result<(Vec<u8>, &'a str), ArrayError> {
    let (Some(indices), Some(values)) = (&array.indices, &array.values) else {
        return Err(ArrayError::Empty);
    };
    let element = parsed(&values.dtype)?.size();
    let places = Places::read(indices, &array.shape, class)?;
    if places.count() * element != values.buffer.len() {
        return Err(ArrayError::Indices);
    }
    let count = size_of(&array.shape, 1).filter(|&count| out.take_hollow(count));
    let size = count.and_then(|count| count.checked_mul(element));
    let size = size.filter(|&size| size <= MAX_BYTES);
    let mut bytes = vec![0; size.ok_or_else(|| too_large(&array.shape))?];
    for (nth, value) in values.buffer.chunks_exact(element).enumerate() {
        let at = places.offset(nth)? * element;
        bytes[at..at + element].copy_from_slice(value);
    }
    Ok((bytes, &values.dtype))
}

fn too_large(shape: &[u32]) -> ArrayError {
    ArrayError::TooLarge {
        shape: shape.to_vec(),
    }
}

/// Where the values of a sparse array stand.
struct Places<'a> {
    coordinates: Vec<usize>,
    shape: &'a [u32],
    /// torch lists the coordinates dimension by dimension, the others value by value.
    by_dimension: bool,
}

impl<'a> Places<'a> {
    fn read(
        indices: &DenseNdArrayProto,
        shape: &'a [u32],
        class: &str,
    ) -> Result<Self, ArrayError> {
        let dimensions = shape.len();
        if dimensions > MAX_DIMENSIONS {
            return Err(ArrayError::Dimensions { dimensions });
        }
        let kind = parsed(&indices.dtype)?;
        let coordinates = indices.buffer.chunks_exact(kind.size());
        let coordinates: Option<Vec<_>> =
            coordinates.map(|bytes| index(&kind.read(bytes))).collect();
        let coordinates = coordinates.ok_or(ArrayError::Indices)?;
        if dimensions == 0 || coordinates.len() % dimensions != 0 {
            return Err(ArrayError::Indices);
        }
        Ok(Self {
            coordinates,
            shape,
            by_dimension: class == "torch",
        })
    }

    /// How many values there are.
    fn count(&self) -> usize {
        self.coordinates.len() / self.shape.len()
    }

    /// Which element of the dense array the nth value is.
    fn offset(&self, nth: usize) -> Result<usize, ArrayError> {
        let mut offset = 0;
        for (dimension, &len) in self.shape.iter().enumerate() {
            let at = self.coordinates[if self.by_dimension {
                dimension * self.count() + nth
            } else {
                nth * self.shape.len() + dimension
            }];
            if at >= len as usize {
                return Err(ArrayError::Indices);
            }
            // Stays within the count of elements, which has been checked.
            offset = offset * len as usize + at;
        }
        Ok(offset)
    }
}

/// An element as a coordinate; `None` when it cannot be one.
fn index(element: &Element) -> Option<usize> {
    match *element {
        Element::Int(n) => n.try_into().ok(),
        Element::Unsigned(n) => n.try_into().ok(),
        Element::Bool(_) | Element::Float(_) | Element::Text(_) => None,
    }
}
