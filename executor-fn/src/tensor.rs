//! Converts between the dense arrays of `NdArrayProto`, which hold numpy's raw bytes, and vectors of `f32`.

use bytes::Bytes;
use flowgate_proto::{
    array::{Dtype, Element},
    docarray::{DenseNdArrayProto, NdArrayProto, nd_array_proto::Content},
};

/// The largest number of elements of an array with a shape and no bytes, which stands for zeros.
pub const MAX_IMPLIED_ZEROS: usize = 1 << 20;

/// Why an array cannot be converted to numbers.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    /// The array is sparse or missing.
    #[error("the array is sparse or missing: expected a dense array")]
    NotDense,
    /// The dtype is not one of real numbers.
    #[error("the dtype {dtype:?} is not supported: expected a float, integer or bool")]
    Dtype {
        /// The dtype in numpy's notation.
        dtype: String,
    },
    /// The number of bytes does not match shape and dtype.
    #[error("an array of shape {shape:?} and dtype {dtype:?} cannot have {bytes} bytes")]
    Length {
        /// The shape of the array.
        shape: Vec<u32>,
        /// The dtype of the array.
        dtype: String,
        /// The number of bytes in the array.
        bytes: usize,
    },
}

/// Returns the numbers of a dense array of any shape in C order, converted from any float, integer or bool
/// dtype. An array with a shape and no bytes stands for zeros, as in docarray 0.21.
///
/// ```
/// use executor_fn::tensor;
///
/// let array = tensor::from_slice(&[0.5, 1.5]);
/// assert_eq!(tensor::to_vec(&array), Ok(vec![0.5, 1.5]));
/// ```
///
/// # Errors
/// When the array is not dense, has another dtype, or its number of bytes does not match its shape.
pub fn to_vec(array: &NdArrayProto) -> Result<Vec<f32>, TensorError> {
    let Some(Content::Dense(dense)) = &array.content else {
        return Err(TensorError::NotDense);
    };
    let mut sizes = dense.shape.iter().map(|size| *size as usize);
    let count = sizes.try_fold(1_usize, usize::checked_mul);
    let length_error = || TensorError::Length {
        shape: dense.shape.clone(),
        dtype: dense.dtype.clone(),
        bytes: dense.buffer.len(),
    };
    let count = count.ok_or_else(length_error)?;
    if dense.buffer.is_empty() && !dense.shape.is_empty() {
        return (count <= MAX_IMPLIED_ZEROS)
            .then(|| vec![0.0; count])
            .ok_or_else(length_error);
    }
    let dtype = Dtype::parse(&dense.dtype).filter(|dtype| dtype.is_number());
    let dtype = dtype.ok_or_else(|| TensorError::Dtype {
        dtype: dense.dtype.clone(),
    })?;
    if count.checked_mul(dtype.size()) != Some(dense.buffer.len()) {
        return Err(length_error());
    }
    let elements = dense.buffer.chunks_exact(dtype.size());
    Ok(elements.map(|bytes| number(&dtype.read(bytes))).collect())
}

/// Returns a one-dimensional numpy array of dtype `<f4`.
#[must_use]
pub fn from_slice(vector: &[f32]) -> NdArrayProto {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    NdArrayProto {
        content: Some(Content::Dense(DenseNdArrayProto {
            buffer: Bytes::from(bytes),
            shape: vec![u32::try_from(vector.len()).unwrap_or(u32::MAX)],
            dtype: "<f4".to_owned(),
        })),
        cls_name: "numpy".to_owned(),
        ..NdArrayProto::default()
    }
}

/// Rounds to the nearest `f32`.
fn number(element: &Element) -> f32 {
    match element {
        Element::Bool(truth) => f32::from(u8::from(*truth)),
        Element::Int(n) => *n as f32,
        Element::Unsigned(n) => *n as f32,
        Element::Float(x) => *x as f32,
        Element::Text(_) => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: &str, shape: &[u32], bytes: &[u8]) -> NdArrayProto {
        NdArrayProto {
            content: Some(Content::Dense(DenseNdArrayProto {
                buffer: Bytes::copy_from_slice(bytes),
                shape: shape.to_vec(),
                dtype: dtype.to_owned(),
            })),
            ..NdArrayProto::default()
        }
    }

    #[test]
    fn every_real_dtype_is_read() {
        let cases: [(&str, &[u8], f32); 13] = [
            ("<f4", &1.5_f32.to_le_bytes(), 1.5),
            ("<f8", &(-2.25_f64).to_le_bytes(), -2.25),
            (">f8", &(-2.25_f64).to_be_bytes(), -2.25),
            ("<f2", &0x3e00_u16.to_le_bytes(), 1.5),
            ("<f2", &0xfc00_u16.to_le_bytes(), f32::NEG_INFINITY),
            ("<f2", &0x0001_u16.to_le_bytes(), 5.960_464_5e-8),
            ("<i8", &(-3_i64).to_le_bytes(), -3.0),
            (">i2", &(-3_i16).to_be_bytes(), -3.0),
            ("|i1", &[0xff], -1.0),
            ("|u1", &[0xff], 255.0),
            ("|b1", &[1], 1.0),
            ("|b1", &[2], 1.0),
            ("float32", &1.5_f32.to_le_bytes(), 1.5),
        ];
        for (dtype, bytes, number) in cases {
            assert_eq!(
                to_vec(&array(dtype, &[1], bytes)),
                Ok(vec![number]),
                "{dtype}"
            );
        }
    }

    #[test]
    fn a_vector_survives_the_round_trip() {
        let vector = [0.1, -2.0, f32::MAX];
        assert_eq!(to_vec(&from_slice(&vector)), Ok(vector.to_vec()));
        assert_eq!(to_vec(&from_slice(&[])), Ok(vec![]));
    }

    #[test]
    fn a_shape_that_does_not_match_the_bytes_is_an_error() {
        assert!(to_vec(&array("<f4", &[2], &[0; 4])).is_err());
        assert!(to_vec(&array("<f4", &[u32::MAX, u32::MAX, u32::MAX], &[0; 4])).is_err());
        assert!(
            to_vec(&array("<f4", &[u32::MAX], &[])).is_err(),
            "too many implied zeros"
        );
        assert!(to_vec(&array("<U1", &[1], &[0; 4])).is_err());
        assert!(to_vec(&array("é", &[1], &[0; 4])).is_err());
        assert!(to_vec(&array("", &[1], &[0; 4])).is_err());
        assert_eq!(to_vec(&NdArrayProto::default()), Err(TensorError::NotDense));
        assert_eq!(
            to_vec(&array("<f8", &[3], &[])),
            Ok(vec![0.0; 3]),
            "implied zeros"
        );
    }
}
