//! Reads a client's frames from bytes as they arrive, in pieces of any size, and puts messages together.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use flowgate_server::budget::{Budget, Held, OverBudget};

use crate::message::{Close, Message, ReceiveError};

/// The most bytes of a frame's head: two, a length of eight and a mask of four.
const MAX_HEAD_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// The memory that is reserved for a message at first. The buffer of a larger message grows with what has been received, so
/// that an announced length alone takes no memory.
const FIRST_BYTES: usize = 64 << 10;

/// Reads frames. It holds memory only while a message is arriving.
#[derive(Debug)]
pub struct Decoder {
    max_message_bytes: usize,
    head: [u8; MAX_HEAD_BYTES],
    head_bytes: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message whose frames are arriving.
    message: Option<Partial>,
    control: BytesMut,
    /// The budget's account of the message that is arriving or came last.
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    is_final: bool,
    remaining: u64,
    /// The mask, rotated so that its first byte belongs to the next byte of the payload.
    mask: [u8; 4],
}

/// The beginning of a message.
#[derive(Debug)]
struct Partial {
    is_text: bool,
    payload: BytesMut,
    /// The bytes of a text that have been checked to be UTF-8.
    checked: usize,
    /// Whether the payload is skipped, because the budget had no room for the message.
    is_skipped: bool,
}

impl Decoder {
    /// Starts before the first frame. A message of more bytes is an error, from the head of the frame that exceeds them.
    #[must_use]
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            head: [0; MAX_HEAD_BYTES],
            head_bytes: 0,
            frame: None,
            message: None,
            control: BytesMut::new(),
            held: None,
        }
    }

    /// Counts the bytes of messages in this budget.
    #[must_use]
    pub fn with_budget(self, budget: &Arc<Budget>) -> Self {
        Self {
            held: Some(budget.account()),
            ..self
        }
    }

    /// Returns the budget's account of the last message, whose bytes count until it is dropped. If it is not taken, they
    /// count until the next message begins.
    pub fn take_held(&mut self) -> Option<Held> {
        self.held.as_mut().map(Held::take)
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.message.is_some()
    }

    /// The bytes of the message that is arriving, as far as they are held; `None` between messages, and while one is skipped
    /// because the budget had no room for it.
    #[must_use]
    pub fn partial_bytes(&self) -> Option<usize> {
        let message = self.message.as_ref().filter(|message| !message.is_skipped);
        message.map(|message| message.payload.len())
    }

    /// Reads from `input`, which is advanced, to the end of the next message or control frame. Returns `None` when the
    /// input ends first.
    ///
    /// # Errors
    /// When a frame violates the protocol, a text is not UTF-8 or a message exceeds the limit: nothing can be read after
    /// that. Also when the budget has no room for a message: the message is skipped, and the next ones can be read.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, ReceiveError> {
        loop {
            if self.frame.is_none() {
                if !self.take_head(input) {
                    return Ok(None);
                }
                self.begin_frame()?;
            }
            if !self.take_payload(input)? {
                return Ok(None);
            }
            if let Some(message) = self.end_frame()? {
                return Ok(Some(message));
            }
        }
    }

    /// Collects the head of a frame; returns whether it is complete.
    fn take_head(&mut self, input: &mut &[u8]) -> bool {
        loop {
            let wanted = self.wanted_head_bytes();
            if self.head_bytes == wanted {
                self.head_bytes = 0;
                return true;
            }
            let room = &mut self.head[self.head_bytes..wanted];
            let bytes = room.len().min(input.len());
            if bytes == 0 {
                return false;
            }
            input.copy_to_slice(&mut room[..bytes]);
            self.head_bytes += bytes;
        }
    }

    fn wanted_head_bytes(&self) -> usize {
        if self.head_bytes < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    /// Checks a complete head, and whether its frame fits the message before it.
    fn begin_frame(&mut self) -> Result<(), ReceiveError> {
        let frame = Frame::read(&self.head)?;
        match (frame.opcode, &mut self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
            (Opcode::Continuation, None) => {
                return Err(ReceiveError::Protocol(
                    "a continuation frame without a message before it",
                ));
            }
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(ReceiveError::Protocol(
                    "a message begins before the last one has ended",
                ));
            }
            (Opcode::Continuation, Some(message)) => {
                frame.check_size(message.payload.len(), self.max_message_bytes)?;
            }
            (opcode @ (Opcode::Text | Opcode::Binary), message @ None) => {
                frame.check_size(0, self.max_message_bytes)?;
                *message = Some(Partial {
                    is_text: opcode == Opcode::Text,
                    payload: BytesMut::new(),
                    checked: 0,
                    is_skipped: false,
                });
                if let Some(held) = &mut self.held {
                    held.set(0);
                }
            }
        }
        let is_control = frame.opcode.is_control();
        let announced = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        self.frame = Some(frame);
        match is_control {
            true => Ok(()),
            false => self.take_room(|held| held.budget().check(announced)),
        }
    }

    /// Takes room from the budget for a part of the message that is arriving. If there is none, the message is skipped.
    fn take_room(
        &mut self,
        take: impl FnOnce(&mut Held) -> Result<(), OverBudget>,
    ) -> Result<(), ReceiveError> {
        let (Some(held), Some(message)) = (&mut self.held, &mut self.message) else {
            return Ok(());
        };
        if message.is_skipped {
            return Ok(());
        }
        take(held).map_err(|error| {
            message.is_skipped = true;
            message.payload = BytesMut::new();
            held.set(0);
            error.into()
        })
    }

    /// Takes the payload as far as it has arrived; returns whether the frame is complete.
    fn take_payload(&mut self, input: &mut &[u8]) -> Result<bool, ReceiveError> {
        let Some(frame) = &mut self.frame else {
            return Ok(false);
        };
        match (frame.opcode, &mut self.message) {
            (Opcode::Continuation | Opcode::Text | Opcode::Binary, Some(message)) => {
                if message.is_skipped {
                    frame.skip(input);
                    return Ok(frame.remaining == 0);
                }
                let before = message.payload.len();
                frame.unmask(input, &mut message.payload);
                message.check_text(false)?;
                let received = message.payload.len() - before;
                let is_whole = frame.remaining == 0;
                self.take_room(|held| held.add(received))?;
                return Ok(is_whole);
            }
            _ => frame.unmask(input, &mut self.control),
        }
        Ok(frame.remaining == 0)
    }

    /// Returns the message that ends with the current frame.
    fn end_frame(&mut self) -> Result<Option<Message>, ReceiveError> {
        let Some(frame) = self.frame.take() else {
            return Ok(None);
        };
        let message = match frame.opcode {
            Opcode::Ping => Message::Ping(self.take_control()),
            Opcode::Pong => Message::Pong(self.take_control()),
            Opcode::Close => Message::Close(Close::read(&self.take_control())?),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                let Some(mut message) = self.message.take_if(|_| frame.is_final) else {
                    return Ok(None);
                };
                if message.is_skipped {
                    return Ok(None);
                }
                message.check_text(true)?;
                let payload = message.payload.freeze();
                match message.is_text {
                    true => Message::Text(payload),
                    false => Message::Binary(payload),
                }
            }
        };
        Ok(Some(message))
    }

    fn take_control(&mut self) -> Bytes {
        std::mem::take(&mut self.control).freeze()
    }
}

impl Frame {
    /// Reads a complete head.
    fn read(head: &[u8; MAX_HEAD_BYTES]) -> Result<Self, ReceiveError> {
        let [first, second, rest @ ..] = head;
        if first & 0x70 != 0 {
            return Err(ReceiveError::Protocol("a reserved bit is set"));
        }
        if second & 0x80 == 0 {
            return Err(ReceiveError::Protocol("the frame is not masked"));
        }
        let opcode = Opcode::read(first & 0x0f)?;
        let mut rest = &rest[..];
        let remaining = match second & 0x7f {
            126 => u64::from(rest.get_u16()),
            127 => rest.get_u64(),
            length => u64::from(length),
        };
        let is_final = first & 0x80 != 0;
        if opcode.is_control() && !is_final {
            return Err(ReceiveError::Protocol("the control frame is fragmented"));
        }
        if opcode.is_control() && remaining > MAX_CONTROL_BYTES {
            return Err(ReceiveError::Protocol("the control frame is too long"));
        }
        if remaining >> 63 != 0 {
            return Err(ReceiveError::Protocol(
                "the highest bit of the frame's length is set",
            ));
        }
        let mut mask = [0; 4];
        rest.copy_to_slice(&mut mask);
        Ok(Self {
            opcode,
            is_final,
            remaining,
            mask,
        })
    }

    /// Checks the size of a message that has `received` bytes before this frame.
    fn check_size(&self, received: usize, limit: usize) -> Result<(), ReceiveError> {
        let room = limit.saturating_sub(received);
        match usize::try_from(self.remaining).is_ok_and(|bytes| bytes <= room) {
            true => Ok(()),
            false => Err(ReceiveError::TooLarge { limit }),
        }
    }

    /// Drops the payload from `input`, as far as it has arrived.
    fn skip(&mut self, input: &mut &[u8]) {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let bytes = remaining.min(input.len());
        *input = &input[bytes..];
        self.remaining -= bytes as u64;
    }

    /// Moves the payload from `input` to the end of `payload`, as far as it has arrived, and removes the mask.
    fn unmask(&mut self, input: &mut &[u8], payload: &mut BytesMut) {
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        let (now, later) = input.split_at(remaining.min(input.len()));
        if payload.capacity() - payload.len() < now.len() {
            payload.reserve(remaining.min(payload.len().max(FIRST_BYTES)).max(now.len()));
        }
        let begin = payload.len();
        payload.extend_from_slice(now);
        apply_mask(&mut payload[begin..], self.mask);
        self.mask.rotate_left(now.len() % 4);
        self.remaining -= now.len() as u64;
        *input = later;
    }
}

/// Masks or unmasks: both are the same operation.
fn apply_mask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

impl Partial {
    /// Checks the part of a text that is new. A character may be split between pieces, but must be complete at the end.
    fn check_text(&mut self, is_whole: bool) -> Result<(), ReceiveError> {
        if !self.is_text {
            return Ok(());
        }
        match str::from_utf8(&self.payload[self.checked..]) {
            Ok(_) => self.checked = self.payload.len(),
            Err(error) if is_whole || error.error_len().is_some() => {
                return Err(ReceiveError::InvalidText);
            }
            Err(error) => self.checked += error.valid_up_to(),
        }
        Ok(())
    }
}

impl Opcode {
    const fn read(number: u8) -> Result<Self, ReceiveError> {
        Ok(match number {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(ReceiveError::Protocol("the opcode is unknown")),
        })
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[cfg(test)]
mod tests;
