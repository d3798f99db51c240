//! Writes an `NdArrayProto` as nested JSON lists.

use super::{sparse_array, write_error::ArrayError, writer::Writer};
use crate::{
    array::{Dtype, Element, MAX_DIMENSIONS, empty_lists, size_of},
    docarray::{DenseNdArrayProto, NdArrayProto, nd_array_proto},
};

/// Writes an array as nested lists; an array without dimensions as its only element.
pub(super) fn write_array(array: &NdArrayProto, out: &mut Writer) -> Result<(), ArrayError> {
    match &array.content {
        Some(nd_array_proto::Content::Dense(dense)) => {
            let DenseNdArrayProto {
                buffer,
                shape,
                dtype,
            } = dense;
            write_dense(buffer, shape, dtype, out)
        }
        Some(nd_array_proto::Content::Sparse(sparse)) => {
            let (buffer, dtype) = sparse_array::densify(sparse, &array.cls_name, out)?;
            write_dense(&buffer, &sparse.shape, dtype, out)
        }
        None => Err(ArrayError::Empty),
    }
}

fn write_dense(
    buffer: &[u8],
    shape: &[u32],
    dtype: &str,
    out: &mut Writer,
) -> Result<(), ArrayError> {
    let size_error = || ArrayError::Size {
        bytes: buffer.len(),
        shape: shape.to_vec(),
        dtype: dtype.to_owned(),
    };
    let dimensions = shape.len();
    if dimensions > MAX_DIMENSIONS {
        return Err(ArrayError::Dimensions { dimensions });
    }
    let element_type = Dtype::parse(dtype).ok_or_else(|| ArrayError::dtype(dtype))?;
    if shape.contains(&0) {
        return if buffer.is_empty() {
            write_empty_lists(shape, out)
        } else {
            Err(size_error())
        };
    }
    if size_of(shape, element_type.size()) != Some(buffer.len()) {
        return Err(size_error());
    }
    // The buffer's size bounds the output from here on.
    write_nested(shape, buffer, element_type, out);
    Ok(())
}

/// Writes an array with a dimension of zero as nested empty lists. Their number is limited, because a
/// shape of few bytes can stand for billions of lists.
fn write_empty_lists(shape: &[u32], out: &mut Writer) -> Result<(), ArrayError> {
    let outer: Vec<u32> = shape.iter().copied().take_while(|&n| n > 0).collect();
    let count = empty_lists(shape);
    if !count.is_some_and(|count| out.reserve_unbacked(count)) {
        return Err(ArrayError::too_large(shape));
    }
    write_nested_empty(&outer, out);
    Ok(())
}

fn write_nested_empty(outer: &[u32], out: &mut Writer) {
    out.open_list();
    if let [len, inner @ ..] = outer {
        for _ in 0..*len {
            out.write_separator();
            write_nested_empty(inner, out);
        }
    }
    out.close_list();
}

fn write_nested(shape: &[u32], bytes: &[u8], element_type: Dtype, out: &mut Writer) {
    match shape {
        [] => write_element(&element_type.read(bytes), out),
        [_] => {
            out.open_list();
            write_row(bytes, element_type, out);
            out.close_list();
        }
        [len, inner @ ..] => {
            out.open_list();
            for part in bytes.chunks_exact(bytes.len() / *len as usize) {
                out.write_separator();
                write_nested(inner, part, element_type, out);
            }
            out.close_list();
        }
    }
}

/// Writes the elements of the innermost dimension. The floats of embeddings are read without the enum around each.
fn write_row(bytes: &[u8], element_type: Dtype, out: &mut Writer) {
    if element_type == Dtype::LITTLE_F32 {
        let (items, _) = bytes.as_chunks();
        out.write_doubles(items.iter().map(|item| f32::from_le_bytes(*item).into()));
    } else if element_type == Dtype::LITTLE_F64 {
        let (items, _) = bytes.as_chunks();
        out.write_doubles(items.iter().map(|item| f64::from_le_bytes(*item)));
    } else {
        for bytes in bytes.chunks_exact(element_type.size()) {
            out.write_separator();
            write_element(&element_type.read(bytes), out);
        }
    }
}

fn write_element(element: &Element, out: &mut Writer) {
    match element {
        Element::Bool(truth) => out.write_bool(*truth),
        Element::Int(n) => out.write_integer(*n),
        Element::Unsigned(n) => out.write_integer(*n),
        Element::Float(x) => out.write_double(*x),
        Element::Text(text) => out.write_text(text),
    }
}
