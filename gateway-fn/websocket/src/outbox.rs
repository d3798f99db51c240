//! The frames of a socket that have not been sent yet.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::message::{Close, Message};

/// The most slices of one write: 32 frames with their heads.
const MAX_SLICES: usize = 64;

/// The queue of frames to send.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Frame>,
    /// The bytes of all frames that have not been sent.
    bytes: usize,
    /// Whether part of the first frame has been sent.
    is_begun: bool,
    /// How many frames have left the queue, and would stand before the last pong if they had not.
    sent_frames: u64,
    pong_position: Option<u64>,
}

#[derive(Debug)]
struct Frame {
    head: Head,
    payload: Bytes,
}

/// The head of a frame without mask, as far as it has not been sent.
#[derive(Debug)]
struct Head {
    bytes: [u8; 10],
    begin: u8,
    end: u8,
}

impl Outbox {
    pub(crate) fn push(&mut self, message: Message) {
        let (opcode, payload) = match message {
            Message::Text(text) => (0x1, text),
            Message::Binary(bytes) => (0x2, bytes),
            Message::Close(close) => (0x8, close.as_ref().map(Close::payload).unwrap_or_default()),
            Message::Ping(payload) => (0x9, payload),
            Message::Pong(payload) => (0xa, payload),
        };
        let head = Head::new(opcode, payload.len());
        self.bytes += head.left().len() + payload.len();
        self.frames.push_back(Frame { head, payload });
    }

    /// Queues the answer to a ping. It takes the place of an earlier one that has not been sent (RFC 6455, section 5.5.3), so
    /// that a client that pings and reads nothing makes none pile up.
    pub(crate) fn push_pong(&mut self, payload: Bytes) {
        let queued = self.pong_position.and_then(|position| {
            let index = usize::try_from(position.checked_sub(self.sent_frames)?).ok()?;
            self.frames
                .get_mut(index)
                .filter(|_| index > 0 || !self.is_begun)
        });
        let Some(pong) = queued else {
            self.pong_position = Some(self.sent_frames + self.frames.len() as u64);
            return self.push(Message::Pong(payload));
        };
        self.bytes -= pong.bytes();
        pong.head = Head::new(0xa, payload.len());
        pong.payload = payload;
        self.bytes += pong.bytes();
    }

    /// The bytes that have not been sent.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The number of frames that have not been sent.
    #[cfg(test)]
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Drops the frames that have not been begun.
    pub(crate) fn discard(&mut self) {
        self.frames.truncate(usize::from(self.is_begun));
        self.pong_position = None;
        self.bytes = self.frames.iter().map(Frame::bytes).sum();
    }

    /// Writes once, and returns how many bytes were taken.
    pub(crate) fn poll_write<I: AsyncWrite + Unpin>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let parts = self.frames.iter().flat_map(Frame::parts);
        let mut used = 0;
        for part in parts.filter(|part| !part.is_empty()).take(MAX_SLICES) {
            slices[used] = IoSlice::new(part);
            used += 1;
        }
        let sent = ready!(Pin::new(io).poll_write_vectored(cx, &slices[..used]))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(sent);
        Poll::Ready(Ok(sent))
    }

    /// Removes what has been sent.
    fn advance(&mut self, mut sent: usize) {
        self.bytes = self.bytes.saturating_sub(sent);
        while let Some(first) = self.frames.front_mut() {
            let bytes = first.bytes();
            if sent < bytes {
                self.is_begun |= sent > 0;
                first.advance(sent);
                return;
            }
            sent -= bytes;
            self.is_begun = false;
            self.frames.pop_front();
            self.sent_frames += 1;
        }
        // An idle socket holds no memory for a burst that has passed.
        self.frames = VecDeque::new();
    }
}

impl Frame {
    fn parts(&self) -> [&[u8]; 2] {
        [self.head.left(), &self.payload]
    }

    const fn bytes(&self) -> usize {
        self.head.left_bytes() + self.payload.len()
    }

    fn advance(&mut self, bytes: usize) {
        let of_head = bytes.min(self.head.left_bytes());
        self.head.begin += of_head as u8;
        self.payload.advance(bytes - of_head);
    }
}

impl Head {
    fn new(opcode: u8, payload_bytes: usize) -> Self {
        let mut bytes = [0; 10];
        bytes[0] = 0x80 | opcode;
        let end = match payload_bytes {
            0..=125 => {
                bytes[1] = payload_bytes as u8;
                2
            }
            126..=0xffff => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
                10
            }
        };
        Self {
            bytes,
            begin: 0,
            end,
        }
    }

    fn left(&self) -> &[u8] {
        &self.bytes[usize::from(self.begin)..usize::from(self.end)]
    }

    const fn left_bytes(&self) -> usize {
        (self.end - self.begin) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(outbox: &Outbox) -> Vec<&[u8]> {
        outbox
            .frames
            .iter()
            .map(|frame| &frame.payload[..])
            .collect()
    }

    #[test]
    fn only_the_last_ping_is_answered_while_nothing_is_sent() {
        let mut outbox = Outbox::default();
        outbox.push(Message::Text("a".into()));
        for payload in ["1", "22", "333"] {
            outbox.push_pong(payload.into());
        }
        outbox.push(Message::Text("b".into()));
        outbox.push_pong("4".into());
        assert_eq!(payloads(&outbox), [&b"a"[..], b"4", b"b"]);
        assert_eq!(outbox.bytes(), 3 * 3);
        // Part of the pong has been sent.
        outbox.advance(4);
        outbox.push_pong("5".into());
        outbox.push_pong("6".into());
        assert_eq!(payloads(&outbox), [&b"4"[..], b"b", b"6"]);
        outbox.advance(8);
        assert!(outbox.is_empty());
        outbox.push_pong("7".into());
        assert_eq!((payloads(&outbox), outbox.bytes()), (vec![&b"7"[..]], 3));
        outbox.discard();
        outbox.push_pong("8".into());
        assert_eq!(payloads(&outbox), [b"8"]);
    }
}
