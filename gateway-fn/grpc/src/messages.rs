//! Reads the messages of a gRPC stream from the HTTP/2 frames in which they come.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use flowgate_proto::Chunks;
use flowgate_server::{
    MinRate, PaceLimit,
    budget::{Held, OverBudget},
};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue};
use tonic::Status;

use crate::{
    compression::{DecompressError, Encoding, decompress_held},
    frames::{Frame, Frames, TooLarge},
    send::PREFIX_BYTES,
};

/// The stream of bytes in which messages come.
pub trait Pieces {
    /// Returns the next piece; `None` at the end of the stream.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, MessageError>>>;

    /// Lets the peer send as many bytes more, in place of those of a piece.
    ///
    /// # Errors
    /// When the stream or its connection has failed.
    fn release(&mut self, bytes: usize) -> Result<(), MessageError>;
}

impl Pieces for RecvStream {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, MessageError>>> {
        self.poll_data(context)
            .map(|piece| piece.map(|piece| piece.map_err(MessageError::from)))
    }

    fn release(&mut self, bytes: usize) -> Result<(), MessageError> {
        Ok(self.flow_control().release_capacity(bytes)?)
    }
}

/// The messages of one direction of a call.
#[derive(Debug)]
pub struct Messages<P = RecvStream> {
    body: P,
    frames: Frames,
    encoding: Result<Option<Encoding>, HeaderValue>,
    max_message_bytes: usize,
    /// The budget's account of the message that is being read.
    held: Option<Held>,
    /// How slowly the rest of a message may arrive.
    pace: Option<PaceLimit>,
    /// Whether the peer may pause before and after a message.
    may_pause: bool,
    ahead: Ahead,
}

/// What [`Messages::poll_ahead`] has read.
#[derive(Debug, Default)]
struct Ahead {
    /// Bytes for which the peer may not send others yet.
    unreleased: usize,
    /// How the stream ended.
    end: Option<Result<(), MessageError>>,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The message is larger than the limit.
    #[error("received a message of {size} bytes, more than the limit of {limit} bytes")]
    TooLarge {
        /// The announced size in bytes.
        size: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// The message is larger than the limit when it is decompressed.
    #[error(
        "received a message that is larger than the limit of {limit} bytes when it is decompressed"
    )]
    TooLargeDecompressed {
        /// The largest size in bytes.
        limit: usize,
    },
    /// All requests together hold too many bytes.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The message is compressed in a way that is not supported.
    #[error("received a message with the unsupported grpc-encoding {}; supported are gzip, deflate and identity", String::from_utf8_lossy(.0.as_bytes()).escape_debug())]
    UnknownEncoding(HeaderValue),
    /// The message is marked as compressed, but the call has no `grpc-encoding`.
    #[error("received a compressed message without grpc-encoding")]
    MissingEncoding,
    /// The message cannot be decompressed.
    #[error("received a message that cannot be decompressed: {0}")]
    Decompress(io::Error),
    /// The first byte of the frame is neither 0 nor 1.
    #[error("received a gRPC frame that begins with the byte {0}; expected 0 or 1")]
    InvalidFlag(u8),
    /// The peer has begun a message and sends the rest too slowly.
    #[error("the message did not arrive in time")]
    TooSlow,
    /// The stream ended within a message.
    #[error("the stream ended within a message")]
    CutOff,
    /// The stream or its connection failed.
    #[error("the stream failed: {0}")]
    Stream(#[from] h2::Error),
    /// The body that contains the stream cannot be read.
    #[error("{}", .0.message())]
    Body(Box<Status>),
}

impl From<TooLarge> for MessageError {
    fn from(TooLarge { size, limit }: TooLarge) -> Self {
        Self::TooLarge { size, limit }
    }
}

impl Messages {
    /// Returns the trailers, once [`Messages::next`] has returned `None`.
    ///
    /// # Errors
    /// When the stream or its connection fails.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        poll_fn(|context| self.body.poll_trailers(context)).await
    }
}

impl From<DecompressError> for MessageError {
    fn from(error: DecompressError) -> Self {
        match error {
            DecompressError::TooLarge { limit } => Self::TooLargeDecompressed { limit },
            DecompressError::OverBudget(error) => Self::OverBudget(error),
            DecompressError::Invalid(error) => Self::Decompress(error),
        }
    }
}

impl<P: Pieces> Messages<P> {
    /// Reads messages of at most `max_message_bytes` bytes, also when they are decompressed. `headers` name the compression.
    #[must_use]
    pub fn new(body: P, headers: &HeaderMap, max_message_bytes: usize) -> Self {
        Self {
            body,
            frames: Frames::new(max_message_bytes),
            encoding: encoding(headers),
            max_message_bytes,
            held: None,
            pace: None,
            may_pause: true,
            ahead: Ahead::default(),
        }
    }

    /// Requires that a message which has begun arrives at this rate.
    #[must_use]
    pub fn with_min_rate(mut self, rate: MinRate) -> Self {
        self.pace = PaceLimit::new(rate);
        self
    }

    /// Requires the rate also before and after a message, for a call that has only one.
    #[must_use]
    pub fn without_pauses(mut self) -> Self {
        self.may_pause = false;
        self
    }

    /// Counts the bytes of messages in this account of a budget, which holds nothing yet.
    #[must_use]
    pub fn with_account(mut self, account: Held) -> Self {
        self.held = Some(account);
        self
    }

    /// Returns the budget's account of the last message, whose bytes count until it is dropped.
    pub fn take_held(&mut self) -> Option<Held> {
        let buffered = self.frames.buffered_bytes();
        let held = self.held.as_mut()?;
        Some(held.split(held.bytes().saturating_sub(buffered)))
    }

    /// Counts what the peer has sent although no message is wanted now: HTTP/2 keeps up to a window of it. The peer may not
    /// send more before it is used. Wakes the task when more arrives.
    pub fn poll_ahead(&mut self, context: &mut Context<'_>) {
        while self.ahead.end.is_none() {
            let Poll::Ready(received) = self.body.poll_piece(context) else {
                return;
            };
            match received {
                Some(Ok(piece)) => {
                    if let Some(held) = &mut self.held {
                        // Also if it does not fit: it has arrived.
                        held.set(held.bytes() + piece.len());
                    }
                    self.ahead.unreleased += piece.len();
                    self.frames.add(piece);
                }
                Some(Err(error)) => self.ahead.end = Some(Err(error)),
                None => self.ahead.end = Some(Ok(())),
            }
        }
    }

    /// Lets the peer send as many bytes more, if they were read ahead.
    fn release_ahead(&mut self, bytes: usize) -> Result<(), MessageError> {
        let bytes = bytes.min(self.ahead.unreleased);
        self.ahead.unreleased -= bytes;
        match bytes {
            0 => Ok(()),
            _ => self.body.release(bytes),
        }
    }

    /// Returns the next message; `None` when the peer has ended its messages.
    ///
    /// # Errors
    /// When the message cannot be read. Nothing more can be read then.
    pub async fn next(&mut self) -> Result<Option<Chunks>, MessageError> {
        while !self.frames.read_head()? {
            if !self.receive().await? {
                return match self.frames.is_at_border() {
                    true => Ok(None),
                    false => Err(MessageError::CutOff),
                };
            }
        }
        if let (Some(held), missing @ 1..) = (&self.held, self.frames.missing_bytes()) {
            held.check(missing)?;
        }
        let Frame { flag, message } = loop {
            if let Some(frame) = self.frames.take() {
                break frame;
            }
            if !self.receive().await? {
                return Err(MessageError::CutOff);
            }
        };
        if let Some(pace) = &mut self.pace {
            pace.reset();
        }
        self.release_ahead(PREFIX_BYTES + message.len())?;
        match flag {
            0 => Ok(Some(message)),
            1 => self.decompress(message).await.map(Some),
            flag => Err(MessageError::InvalidFlag(flag)),
        }
    }

    /// Receives a piece. Returns `false` at the end of the stream.
    async fn receive(&mut self) -> Result<bool, MessageError> {
        match self.ahead.end.take() {
            Some(Err(error)) => return Err(error),
            Some(Ok(())) => {
                self.ahead.end = Some(Ok(()));
                return Ok(false);
            }
            // All that was read ahead belongs to the message that is being read.
            None => self.release_ahead(usize::MAX)?,
        }
        let mut pace = match self.frames.is_at_border() && self.may_pause {
            true => None,
            false => self.pace.as_mut(),
        };
        let received = poll_fn(|context| match self.body.poll_piece(context) {
            Poll::Ready(received) => Poll::Ready(Ok(received)),
            Poll::Pending => match &mut pace {
                Some(pace) => pace
                    .poll_slow(context)
                    .map(|_rate| Err(MessageError::TooSlow)),
                None => Poll::Pending,
            },
        });
        let Some(piece) = received.await? else {
            return Ok(false);
        };
        let piece = piece?;
        if let Some(pace) = pace {
            pace.progress(piece.len());
        }
        if let Some(held) = &mut self.held {
            held.add(piece.len())?;
        }
        self.body.release(piece.len())?;
        self.frames.add(piece);
        Ok(true)
    }

    async fn decompress(&mut self, message: Chunks) -> Result<Chunks, MessageError> {
        let encoding = match &self.encoding {
            Ok(Some(encoding)) => *encoding,
            Ok(None) => return Err(MessageError::MissingEncoding),
            Err(name) => return Err(MessageError::UnknownEncoding(name.clone())),
        };
        let limit = self.max_message_bytes;
        let held = self.held.as_mut();
        let message = decompress_held(encoding, message, limit, held).await?;
        Ok(message.into())
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, HeaderValue> {
    match headers.get("grpc-encoding") {
        None => Ok(None),
        Some(value) if value == "identity" => Ok(None),
        Some(value) => Encoding::named(value.as_bytes())
            .map(Some)
            .ok_or_else(|| value.clone()),
    }
}

#[cfg(test)]
mod tests;
