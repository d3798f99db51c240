//! Limits of what a request may become when it is decoded: a few bytes on the wire can stand for many
//! documents, and a compressed body for many bytes.

/// The default of `limits.max_documents`: 2500 times the request size of Jina's client. A Gateway needs less than 150 MB
/// for as many empty documents.
pub const DEFAULT_MAX_DOCUMENTS: usize = 250_000;

/// The default of `limits.max_decoded_bytes`, as a multiple of the largest message. Numbers in JSON take two bytes or more
/// as text and eight when decoded, so that a message of numbers within its own limit is within this one too.
pub const DECODED_BYTES_PER_MESSAGE_BYTE: usize = 4;

/// How much a request, or an Executor's answer, may become when it is decoded. Decoding ends as soon as a limit is
/// exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Documents, including chunks and matches.
    pub max_documents: usize,
    /// Estimated bytes of memory of the documents and parameters.
    pub max_decoded_bytes: usize,
}

impl DecodeLimits {
    /// The limits for the default of `max_message_bytes`, 256 MiB.
    pub(crate) const DEFAULT: Self = Self::for_messages(256 << 20);

    /// Returns the default limits for messages of up to `max_message_bytes`.
    #[must_use]
    pub const fn for_messages(max_message_bytes: usize) -> Self {
        Self {
            max_documents: DEFAULT_MAX_DOCUMENTS,
            max_decoded_bytes: max_message_bytes.saturating_mul(DECODED_BYTES_PER_MESSAGE_BYTE),
        }
    }
}

impl Default for DecodeLimits {
    /// The limits for the default of `max_message_bytes`, 256 MiB.
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The limit that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// Too many documents.
    #[error(
        "more than {limit} documents in one message, chunks and matches included (limits.max_documents)"
    )]
    Documents {
        /// The value of `max_documents`.
        limit: usize,
    },
    /// Too much memory.
    #[error(
        "the message would take more than {limit} bytes of memory when decoded (limits.max_decoded_bytes)"
    )]
    DecodedBytes {
        /// The value of `max_decoded_bytes`.
        limit: usize,
    },
}

/// What is left of the limits while one request is being decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limits: DecodeLimits,
    documents_left: usize,
    bytes_left: usize,
}

impl Budget {
    pub(crate) const fn new(limits: DecodeLimits) -> Self {
        Self {
            limits,
            documents_left: limits.max_documents,
            bytes_left: limits.max_decoded_bytes,
        }
    }

    /// Takes one document that uses `bytes` without its content.
    pub(crate) fn take_document(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.documents_left =
            self.documents_left
                .checked_sub(1)
                .ok_or(LimitExceeded::Documents {
                    limit: self.limits.max_documents,
                })?;
        self.take_bytes(bytes)
    }

    /// Takes `bytes` of memory.
    pub(crate) fn take_bytes(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.bytes_left =
            self.bytes_left
                .checked_sub(bytes)
                .ok_or(LimitExceeded::DecodedBytes {
                    limit: self.limits.max_decoded_bytes,
                })?;
        Ok(())
    }
}
