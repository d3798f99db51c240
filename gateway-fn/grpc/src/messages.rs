//! Reads the messages of a gRPC stream from the HTTP/2 frames in which they come.

use std::{future::poll_fn, io, sync::Arc, task::Poll};

use flowgate_proto::Chunks;
use flowgate_server::{
    MinRate, PaceLimit,
    blocking::{self, COMPRESSION_COST},
    budget::{Budget, Held, OverBudget},
};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue};

use crate::{
    compression::{Encoding, decompress},
    frames::{Frame, Frames, TooLarge},
};

/// The messages of one direction of a call.
#[derive(Debug)]
pub struct Messages {
    body: RecvStream,
    frames: Frames,
    encoding: Result<Option<Encoding>, HeaderValue>,
    max_message_bytes: usize,
    /// The budget's account of the message that is being read.
    held: Option<Held>,
    /// How slowly the rest of a message may arrive; the peer may pause between two messages.
    pace: Option<PaceLimit>,
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
}

impl From<TooLarge> for MessageError {
    fn from(TooLarge { size, limit }: TooLarge) -> Self {
        Self::TooLarge { size, limit }
    }
}

impl Messages {
    /// Reads messages of at most `max_message_bytes` bytes, also when they are decompressed. `headers` name the compression.
    #[must_use]
    pub fn new(body: RecvStream, headers: &HeaderMap, max_message_bytes: usize) -> Self {
        Self {
            body,
            frames: Frames::new(max_message_bytes),
            encoding: encoding(headers),
            max_message_bytes,
            held: None,
            pace: None,
        }
    }

    /// Requires that a message which has begun arrives at this rate.
    #[must_use]
    pub fn with_min_rate(mut self, rate: MinRate) -> Self {
        self.pace = PaceLimit::new(rate);
        self
    }

    /// Counts the bytes of messages in this budget.
    #[must_use]
    pub fn with_budget(mut self, budget: &Arc<Budget>) -> Self {
        self.held = Some(budget.account());
        self
    }

    /// Counts the bytes of answers in this budget, also in its reserve.
    #[must_use]
    pub fn with_budget_for_answers(mut self, budget: &Arc<Budget>) -> Self {
        self.held = Some(budget.answer_account());
        self
    }

    /// Returns the budget's account of the last message, whose bytes count until it is dropped.
    pub fn take_held(&mut self) -> Option<Held> {
        self.held.as_mut().map(Held::take)
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
        if let Some(held) = &self.held {
            held.check(self.frames.missing_bytes())?;
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
        match flag {
            0 => Ok(Some(message)),
            1 => self.decompress(message).await.map(Some),
            flag => Err(MessageError::InvalidFlag(flag)),
        }
    }

    /// Returns the trailers, once [`Messages::next`] has returned `None`.
    ///
    /// # Errors
    /// When the stream or its connection fails.
    pub async fn trailers(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        poll_fn(|context| self.body.poll_trailers(context)).await
    }

    /// Receives a piece. Returns `false` at the end of the stream.
    async fn receive(&mut self) -> Result<bool, MessageError> {
        let mut pace = match self.frames.is_at_border() {
            true => None,
            false => self.pace.as_mut(),
        };
        let received = poll_fn(|context| match self.body.poll_data(context) {
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
        self.body.flow_control().release_capacity(piece.len())?;
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
        let room = self.held.as_ref().map_or(limit, Held::room);
        let cost = message.len().saturating_mul(COMPRESSION_COST);
        let work = move |max| decompress(encoding, message.clone(), max);
        let is_too_large = |error: &io::Error| error.kind() == io::ErrorKind::FileTooLarge;
        let decompressed = blocking::run_growing(cost, limit.min(room), work, is_too_large).await;
        match decompressed.unwrap_or_else(|_panic| Err(io::Error::other("internal error"))) {
            Ok(message) => {
                if let Some(held) = &mut self.held {
                    held.add(message.len())?;
                }
                Ok(message.into())
            }
            Err(error) if is_too_large(&error) => Err(match &self.held {
                Some(held) if room < limit => OverBudget {
                    limit: held.budget().limit(),
                }
                .into(),
                _ => MessageError::TooLargeDecompressed { limit },
            }),
            Err(error) => Err(MessageError::Decompress(error)),
        }
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
