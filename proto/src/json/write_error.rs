//! Errors of writing a response as JSON.

use prost::DecodeError;

use crate::DocumentsError;

/// Why a response cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The documents cannot be decoded.
    #[error("cannot decode the documents of the response")]
    Documents(#[from] DocumentsError),
    /// The parameters cannot be decoded.
    #[error("cannot decode the parameters of the response")]
    Parameters(#[source] DecodeError),
    /// A tensor or an embedding is invalid or has no JSON representation.
    #[error("cannot write the {field} of document `{document}` as JSON")]
    Array {
        /// The document's id.
        document: String,
        /// `tensor` or `embedding`.
        field: &'static str,
        /// Why the array cannot be written.
        source: ArrayError,
    },
    /// Documents or values are nested deeper than protobuf decoding allows.
    #[error("the response is nested too deep")]
    TooDeep,
}

/// Why an array cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    /// A type without a JSON representation.
    #[error("dtype {dtype:?} has no JSON representation")]
    Dtype {
        /// numpy's name of the type.
        dtype: String,
    },
    /// The number of bytes does not match shape and type.
    #[error("an array of shape {shape:?} and dtype {dtype:?} cannot have {bytes} bytes")]
    Size {
        /// The number of bytes in the buffer.
        bytes: usize,
        /// The array's shape.
        shape: Vec<u32>,
        /// numpy's name of the type.
        dtype: String,
    },
    /// More than 32 dimensions.
    #[error("an array cannot have {dimensions} dimensions: numpy allows 32")]
    Dimensions {
        /// The number of dimensions.
        dimensions: usize,
    },
    /// A sparse array, or nested empty lists, that would become too large when written.
    #[error("an array of shape {shape:?} is too large to be written as lists")]
    TooLarge {
        /// The array's shape.
        shape: Vec<u32>,
    },
    /// Neither dense nor sparse.
    #[error("the array has no content")]
    Empty,
    /// Indices of a sparse array that do not match its shape or its values.
    #[error("the indices of the sparse array do not match its shape or values")]
    Indices,
}

impl ArrayError {
    pub(super) fn dtype(dtype: &str) -> Self {
        Self::Dtype {
            dtype: dtype.to_owned(),
        }
    }

    pub(super) fn too_large(shape: &[u32]) -> Self {
        Self::TooLarge {
            shape: shape.to_vec(),
        }
    }
}
