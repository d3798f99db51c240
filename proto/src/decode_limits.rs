//! Limits of what a request may become when it is decoded: a few bytes on the wire can stand for many
//! documents, and a compressed body for many bytes.

use std::fmt::Debug;

/// The default of `limits.max_documents`: 2500 times the request size of Jina's client. A Gateway needs less than 150 MB
/// for as many empty documents.
pub const DEFAULT_MAX_DOCUMENTS: usize = 250_000;

/// The most that the default of `limits.max_decoded_bytes` can be, as a multiple of the largest message. Numbers in JSON take
/// two bytes or more as text and eight when decoded, so that a message of arrays within its own limit is within this one too,
/// unless one of them is most of it: while an array is converted, its numbers exist twice.
pub const DECODED_BYTES_PER_MESSAGE_BYTE: usize = 4;

/// The memory of an allocation in addition to its content.
pub(crate) const ALLOCATION_BYTES: usize = 16;

/// How much a request, or an Executor's answer, may become when it is decoded. Decoding ends as soon as a limit is
/// exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Documents, including chunks and matches.
    pub max_documents: usize,
    /// Bytes of memory that the documents and parameters take at most while they are decoded: values with their allocations,
    /// the room of growing lists, and what exists twice while it is converted.
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
    /// The memory of other requests leaves no room for this one now. Only reported where a [`DecodedMemory`] is given.
    #[error(
        "the decoded documents and parameters of other requests leave no room for this one (limits.max_bytes_in_flight); try again later"
    )]
    NoRoom,
}

/// Holds the memory of one request's decoded documents and parameters, in a budget that requests share.
pub trait DecodedMemory: Debug + Sync {
    /// Holds `bytes` instead of what was held before. Returns `false`, and changes nothing, if they do not fit.
    fn hold(&self, bytes: usize) -> bool;
}

/// What is left of the limits while one request is being decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget<'m> {
    limits: DecodeLimits,
    documents_left: usize,
    /// The bytes that may be taken in all before `memory` is asked for more.
    granted: usize,
    /// What is left of `granted`.
    bytes_left: usize,
    /// Empty lists that the arrays may still have.
    empty_lists_left: usize,
    memory: Option<&'m dyn DecodedMemory>,
}

/// How many elements and lists of arrays one JSON body may have for which its message has no bytes: the zeros of sparse
/// arrays, and empty lists.
pub(crate) const MAX_UNBACKED_VALUES: usize = 4 << 20;

/// How many bytes more than needed are held at least, so that not every value asks for its own.
const GRANT_STEP: usize = 4 << 10;

impl Budget<'static> {
    /// Only the limits bound the request.
    pub(crate) const fn new(limits: DecodeLimits) -> Self {
        Self {
            limits,
            documents_left: limits.max_documents,
            granted: limits.max_decoded_bytes,
            bytes_left: limits.max_decoded_bytes,
            empty_lists_left: MAX_UNBACKED_VALUES,
            memory: None,
        }
    }
}

impl<'m> Budget<'m> {
    /// What is taken is also held by `memory`.
    pub(crate) const fn counted(limits: DecodeLimits, memory: &'m dyn DecodedMemory) -> Self {
        Self {
            limits,
            documents_left: limits.max_documents,
            granted: 0,
            bytes_left: 0,
            empty_lists_left: MAX_UNBACKED_VALUES,
            memory: Some(memory),
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
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => self.take_more(bytes),
        }
    }

    /// Takes bytes beyond those that are granted.
    #[cold]
    fn take_more(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        let limit = self.limits.max_decoded_bytes;
        let exceeded = LimitExceeded::DecodedBytes { limit };
        let needed = self.taken().saturating_add(bytes);
        let memory = self.memory.filter(|_| needed <= limit).ok_or(exceeded)?;
        let step = GRANT_STEP.max(needed / 16);
        let generous = needed.saturating_add(step).min(limit);
        let granted = [generous, needed].into_iter().find(|&n| memory.hold(n));
        self.granted = granted.ok_or(LimitExceeded::NoRoom)?;
        self.bytes_left = self.granted - needed;
        Ok(())
    }

    /// Takes empty lists of an array. Returns `false` if the request has too many.
    pub(crate) const fn take_empty_lists(&mut self, lists: usize) -> bool {
        match self.empty_lists_left.checked_sub(lists) {
            Some(left) => {
                self.empty_lists_left = left;
                true
            }
            None => false,
        }
    }

    /// Returns bytes whose memory is free again.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.bytes_left += bytes.min(self.taken());
    }

    /// The bytes that are taken.
    pub(crate) const fn taken(&self) -> usize {
        self.granted - self.bytes_left
    }

    /// Ends the decoding: from now on `memory` holds only `bytes`, which stay.
    pub(crate) fn settle(&self, bytes: usize) {
        if let Some(memory) = self.memory {
            // Fails only if more has been taken than before, which is held already.
            memory.hold(bytes.min(self.granted));
        }
    }
}
