//! A message -> the text of an answer that fits into a payload, compressed further if it must be.

use std::io;

use super::Answer;
use crate::Compression;

/// Why there is no answer that could be sent.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// However it is compressed.
    #[error(
        "the answer of {bytes} bytes makes a payload of {least} bytes when it is compressed, and Lambda takes {limit}"
    )]
    TooLarge {
        /// Of the message.
        bytes: usize,
        /// The smallest payload that it makes.
        least: usize,
        /// What a payload may have.
        limit: usize,
    },
    /// The compression failed, which none does on bytes in memory.
    #[error("the answer cannot be written")]
    Unwritable(#[from] io::Error),
}

impl Answer<'_> {
    /// The text of the answer with this message: compressed as `encoding` says, which is best what the request's was;
    /// by zstd if it has more than `limit` bytes so.
    ///
    /// # Errors
    /// When it has more than `limit` bytes all the same.
    pub fn fitting(
        message: &[u8],
        encoding: Compression,
        is_error: bool,
        limit: usize,
    ) -> Result<String, AnswerError> {
        let mut least = base64_len(message.len());
        let hopeless = encoding == Compression::None && least > limit;
        let first = (!hopeless).then_some(encoding);
        let stronger = (encoding != Compression::Zstd).then_some(Compression::Zstd);
        for encoding in first.into_iter().chain(stronger) {
            let answer = Answer::of(message, encoding, is_error)?;
            let text = answer.write().map_err(io::Error::from)?;
            if text.len() <= limit {
                return Ok(text);
            }
            least = least.min(text.len());
        }
        Err(AnswerError::TooLarge {
            bytes: message.len(),
            least,
            limit,
        })
    }
}

const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}
