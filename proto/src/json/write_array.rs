//! An `NdArrayProto` becomes nested JSON lists, whatever its element type.

use super::writer::Writer;
use crate::{
    array::{Dtype, Element},
    docarray::{DenseNdArrayProto, NdArrayProto, nd_array_proto},
};

mod sparse;

/// numpy's own limit.
const MAX_DIMENSIONS: usize = 32;

/// What can be wrong with an array.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    /// A type that has no form in JSON.
    #[error("dtype {dtype:?} has no JSON form")]
    Dtype {
        /// numpy's name of it.
        dtype: String,
    },
    /// Shape and type ask for more or fewer bytes than there are.
    #[error("{bytes} bytes are no array of shape {shape:?} and dtype {dtype:?}")]
    Size {
        /// Bytes that are there.
        bytes: usize,
        /// The shape asked for.
        shape: Vec<u32>,
        /// numpy's name of the type.
        dtype: String,
    },
    /// More than 32 dimensions.
    #[error("{dimensions} dimensions are more than the 32 of numpy")]
    Dimensions {
        /// How many there are.
        dimensions: usize,
    },
    /// Sparse arrays, or lists with nothing in them, that would be too large when written out.
    #[error("an array of shape {shape:?} is too large to be written out")]
    TooLarge {
        /// The shape asked for.
        shape: Vec<u32>,
    },
    /// Neither dense nor sparse.
    #[error("the array has no content")]
    Empty,
    /// Indices of a sparse array that do not fit its shape or its values.
    #[error("the indices of a sparse array do not fit it")]
    Indices,
}

/// Writes the array; one of no dimension as its element.
pub(super) fn array(array: &NdArrayProto, out: &mut Writer) -> Result<(), ArrayError> {
    match &array.content {
        Some(nd_array_proto::Content::Dense(held)) => {
            let DenseNdArrayProto {
                buffer,
                shape,
                dtype,
            } = held;
            dense(buffer, shape, dtype, out)
        }
        Some(nd_array_proto::Content::Sparse(held)) => {
            let (buffer, dtype) = sparse::filled(held, &array.cls_name, out)?;
            dense(&buffer, &held.shape, dtype, out)
        }
        None => Err(ArrayError::Empty),
    }
}

fn dense(buffer: &[u8], shape: &[u32], dtype: &str, out: &mut Writer) -> Result<(), ArrayError> {
    let size_error = || ArrayError::Size {
        bytes: buffer.len(),
        shape: shape.to_vec(),
        dtype: dtype.to_owned(),
    };
    let dimensions = shape.len();
    if dimensions > MAX_DIMENSIONS {
        return Err(ArrayError::Dimensions { dimensions });
    }
    let kind = parsed(dtype)?;
    if shape.contains(&0) {
        return if buffer.is_empty() {
            hollow(shape, out)
        } else {
            Err(size_error())
        };
    }
    if size_of(shape, kind.size()) != Some(buffer.len()) {
        return Err(size_error());
    }
    // From here on the bytes bound what is written.
    nested(shape, buffer, kind, out);
    Ok(())
}

/// Bytes that an array takes; `None` when a `usize` does not hold them.
fn size_of(shape: &[u32], element: usize) -> Option<usize> {
    let mut lengths = shape.iter();
    lengths.try_fold(element, |size, &n| size.checked_mul(n as usize))
}

/// Lists down to a dimension without elements: a shape of few bytes could ask for billions.
fn hollow(shape: &[u32], out: &mut Writer) -> Result<(), ArrayError> {
    let outer: Vec<u32> = shape.iter().copied().take_while(|&n| n > 0).collect();
    let count = size_of(&outer, outer.len() + 1);
    if !count.is_some_and(|count| out.take_hollow(count)) {
        let shape = shape.to_vec();
        return Err(ArrayError::TooLarge { shape });
    }
    hollow_lists(&outer, out);
    Ok(())
}

fn hollow_lists(outer: &[u32], out: &mut Writer) {
    out.open();
    if let [len, inner @ ..] = outer {
        for _ in 0..*len {
            out.item();
            hollow_lists(inner, out);
        }
    }
    out.close();
}

fn nested(shape: &[u32], bytes: &[u8], kind: Dtype, out: &mut Writer) {
    match shape {
        [] => element(&kind.read(bytes), out),
        [_] => {
            out.open();
            row(bytes, kind, out);
            out.close();
        }
        [len, inner @ ..] => {
            out.open();
            for part in bytes.chunks_exact(bytes.len() / *len as usize) {
                out.item();
                nested(inner, part, kind, out);
            }
            out.close();
        }
    }
}

/// The elements of one innermost list.
fn row(bytes: &[u8], kind: Dtype, out: &mut Writer) {
    for bytes in bytes.chunks_exact(kind.size()) {
        out.item();
        element(&kind.read(bytes), out);
    }
}

fn element(element: &Element, out: &mut Writer) {
    match element {
        Element::Bool(truth) => out.boolean(*truth),
        Element::Int(n) => out.integer(*n),
        Element::Unsigned(n) => out.integer(*n),
        Element::Float(x) => out.double(*x),
        Element::Text(text) => out.text(text),
    }
}

fn parsed(dtype: &str) -> Result<Dtype, ArrayError> {
    Dtype::parse(dtype).ok_or_else(|| ArrayError::Dtype {
        dtype: dtype.to_owned(),
    })
}
