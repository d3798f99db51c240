//! Finds the messages of a gRPC stream in the pieces in which it comes, without I/O.

use bytes::{Buf as _, Bytes, BytesMut};
use flowgate_proto::Chunks;

use crate::send::PREFIX_BYTES;

/// A smaller piece of an unfinished message is copied and joined with the pieces before it, so that a peer that sends a
/// message byte by byte does not make each byte cost a buffer.
const MIN_PIECE_BYTES: usize = 1 << 10;

/// Reads frames from pieces of any size.
#[derive(Debug)]
pub struct Frames {
    received: Chunks,
    /// The end of `received`, if it came in small pieces.
    tail: BytesMut,
    /// The head of the frame whose message is arriving.
    head: Option<Head>,
    max_message_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    flag: u8,
    size: usize,
}

/// An announced message is larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The announced size in bytes.
    pub size: usize,
    /// The largest size in bytes.
    pub limit: usize,
}

/// A frame that has arrived.
#[derive(Debug, PartialEq)]
pub struct Frame {
    /// The first byte, which is 1 if the message is compressed and 0 if not.
    pub flag: u8,
    /// The message.
    pub message: Chunks,
}

impl Frames {
    /// Starts before the first frame. A message of more than `max_message_bytes` is an error as soon as its length has
    /// arrived.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            received: Chunks::default(),
            tail: BytesMut::new(),
            head: None,
            max_message_bytes,
        }
    }

    /// Adds what has arrived.
    pub fn add(&mut self, piece: Bytes) {
        if piece.len() < MIN_PIECE_BYTES && self.len() > 0 {
            self.tail.extend_from_slice(&piece);
        } else {
            self.join_tail();
            self.received.push(piece);
        }
    }

    /// Whether the stream may end here, between two frames.
    #[must_use]
    pub fn is_at_border(&self) -> bool {
        self.head.is_none() && self.len() == 0
    }

    /// Reads the head of the next frame; returns whether it has arrived.
    ///
    /// # Errors
    /// When the message is larger than the limit.
    pub fn read_head(&mut self) -> Result<bool, TooLarge> {
        if self.head.is_some() {
            return Ok(true);
        }
        if self.len() < PREFIX_BYTES {
            return Ok(false);
        }
        self.join_tail();
        let flag = self.received.get_u8();
        let size = self.received.get_u32() as usize;
        if size > self.max_message_bytes {
            let limit = self.max_message_bytes;
            return Err(TooLarge { size, limit });
        }
        self.head = Some(Head { flag, size });
        Ok(true)
    }

    /// The bytes of the announced message that have not arrived yet.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        let size = self.head.map_or(0, |head| head.size);
        size.saturating_sub(self.len())
    }

    /// The bytes that have arrived and do not belong to a frame that was taken.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.len()
    }

    /// Takes the frame whose head has been read, if it has arrived.
    pub fn take(&mut self) -> Option<Frame> {
        let len = self.len();
        let Head { flag, size } = self.head.take_if(|head| head.size <= len)?;
        self.join_tail();
        let message = self.received.split_to(size);
        Some(Frame { flag, message })
    }

    fn join_tail(&mut self) {
        if !self.tail.is_empty() {
            self.received.push(self.tail.split().freeze());
        }
    }

    fn len(&self) -> usize {
        self.received.len() + self.tail.len()
    }
}
