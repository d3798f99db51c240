//! Converts a sparse array to the bytes of the equivalent dense array, within a size limit.

use super::{write_error::ArrayError, writer::Writer};
use crate::{
    array::{Dtype, Element, MAX_DIMENSIONS, size_of},
    docarray::{DenseNdArrayProto, SparseNdArrayProto},
};

/// The largest dense form of one sparse array.
const MAX_DENSE_BYTES: usize = 64 << 20;

/// Returns the elements of the dense array in C order, and their dtype. For repeated indices the last
/// value wins.
pub(super) fn densify<'a>(
    array: &'a SparseNdArrayProto,
    class: &str,
    out: &mut Writer,
) -> Result<(Vec<u8>, &'a str), ArrayError> {
    let (Some(indices), Some(values)) = (&array.indices, &array.values) else {
        return Err(ArrayError::Empty);
    };
    let element_size = parse_dtype(&values.dtype)?.size();
    let indices = Indices::parse(indices, &array.shape, class)?;
    if indices.count() * element_size != values.buffer.len() {
        return Err(ArrayError::Indices);
    }
    let count = size_of(&array.shape, 1).filter(|&count| out.reserve_unbacked(count));
    let size = count.and_then(|count| count.checked_mul(element_size));
    let size = size.filter(|&size| size <= MAX_DENSE_BYTES);
    let mut bytes = vec![0; size.ok_or_else(|| ArrayError::too_large(&array.shape))?];
    for (nth, value) in values.buffer.chunks_exact(element_size).enumerate() {
        let start = indices.offset(nth)? * element_size;
        bytes[start..start + element_size].copy_from_slice(value);
    }
    Ok((bytes, &values.dtype))
}

fn parse_dtype(dtype: &str) -> Result<Dtype, ArrayError> {
    Dtype::parse(dtype).ok_or_else(|| ArrayError::dtype(dtype))
}

/// The coordinates of the values of a sparse array.
struct Indices<'a> {
    coordinates: Vec<usize>,
    shape: &'a [u32],
    /// torch lists the coordinates dimension by dimension, the others value by value.
    by_dimension: bool,
}

impl<'a> Indices<'a> {
    fn parse(
        indices: &DenseNdArrayProto,
        shape: &'a [u32],
        class: &str,
    ) -> Result<Self, ArrayError> {
        let dimensions = shape.len();
        if dimensions > MAX_DIMENSIONS {
            return Err(ArrayError::Dimensions { dimensions });
        }
        let index_type = parse_dtype(&indices.dtype)?;
        let coordinates = indices.buffer.chunks_exact(index_type.size());
        let coordinates: Option<Vec<_>> = coordinates
            .map(|bytes| coordinate(&index_type.read(bytes)))
            .collect();
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

    /// Returns the number of values.
    fn count(&self) -> usize {
        self.coordinates.len() / self.shape.len()
    }

    /// Returns the position of the nth value in the dense array, in elements.
    fn offset(&self, nth: usize) -> Result<usize, ArrayError> {
        let mut offset = 0;
        for (dimension, &len) in self.shape.iter().enumerate() {
            let coordinate = self.coordinates[if self.by_dimension {
                dimension * self.count() + nth
            } else {
                nth * self.shape.len() + dimension
            }];
            if coordinate >= len as usize {
                return Err(ArrayError::Indices);
            }
            // Cannot overflow: the number of elements in the shape was checked before.
            offset = offset * len as usize + coordinate;
        }
        Ok(offset)
    }
}

/// Converts an element to a coordinate. Returns `None` when it cannot be one.
fn coordinate(element: &Element) -> Option<usize> {
    match *element {
        Element::Int(n) => n.try_into().ok(),
        Element::Unsigned(n) => n.try_into().ok(),
        Element::Bool(_) | Element::Float(_) | Element::Text(_) => None,
    }
}
