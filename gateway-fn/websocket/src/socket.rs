//! An open WebSocket over any connection: sends what is queued while it receives, and ends with the closing handshake.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use flowgate_server::budget::{Budget, Held, OverBudget};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    decoder::Decoder,
    message::{Close, Message, ReceiveError},
    outbox::Outbox,
    scratch,
};

/// An open WebSocket, on the server's side. Messages are queued by [`Socket::push`] and sent while [`Socket::receive`]
/// waits.
#[derive(Debug)]
pub struct Socket<I> {
    io: I,
    decoder: Decoder,
    /// The bytes that have arrived after the last message.
    ahead: Bytes,
    outbox: Outbox,
    /// Whether the connection may still hold back what was written.
    needs_flush: bool,
    sent_bytes: u64,
    received_bytes: u64,
}

/// What the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text or binary message.
    Message(Message),
    /// A ping, to which the answer is queued, or a pong.
    Alive,
    /// A close frame. The caller must answer it with [`Socket::close`].
    Close(Option<Close>),
    /// A message for which the budget has no room. It is skipped, and later messages can be received.
    Refused(OverBudget),
    /// A frame that cannot be read. The caller must report this to the client with [`Socket::close`].
    Invalid(ReceiveError),
}

/// The client has disconnected without a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnected;

/// What the client may still send before the connection is closed.
#[derive(Debug)]
struct Closing {
    /// Whether frames of the client are read: until its close frame, or until one cannot be read.
    reads_frames: bool,
    /// Whether the client has ended its side of the connection.
    is_at_end: bool,
    is_shut_down: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    /// Takes over a connection after the handshake.
    #[must_use]
    pub fn new(io: I, max_message_bytes: usize) -> Self {
        Self {
            io,
            decoder: Decoder::new(max_message_bytes),
            ahead: Bytes::new(),
            outbox: Outbox::default(),
            needs_flush: false,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// Counts the bytes of messages that arrive in this budget.
    #[must_use]
    pub fn with_budget(self, budget: &Arc<Budget>) -> Self {
        Self {
            decoder: self.decoder.with_budget(budget),
            ..self
        }
    }

    /// Returns the budget's account of the last message, whose bytes count until it is dropped. If it is not taken, they
    /// count until the next message begins.
    pub fn take_held(&mut self) -> Option<Held> {
        self.decoder.take_held()
    }

    /// Whether the client has sent only a part of a message.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        self.decoder.is_within_message()
    }

    /// Queues a message. Nothing is sent until [`Socket::receive`] or [`Socket::close`] waits.
    pub fn push(&mut self, message: Message) {
        self.outbox.push(message);
    }

    /// The bytes that are queued and not sent.
    #[must_use]
    pub const fn unsent_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// The number of frames that are queued and not wholly sent.
    #[cfg(test)]
    fn unsent_frames(&self) -> usize {
        self.outbox.frames()
    }

    /// The bytes that have been sent since the handshake.
    #[must_use]
    pub const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// The bytes that have been received since the handshake, also those of a frame that is not complete.
    #[must_use]
    pub const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The bytes of the message that is arriving, as far as they are held; `None` between messages, and while one is skipped
    /// because the budget had no room for it.
    #[must_use]
    pub fn partial_bytes(&self) -> Option<usize> {
        self.decoder.partial_bytes()
    }

    /// Drops all queued messages except one of which the client has received a part.
    pub fn discard_unsent(&mut self) {
        self.outbox.discard();
    }

    /// Sends what is queued and returns what the client sends next. Reads nothing while more than `max_unsent_bytes` are
    /// queued, or while that is `None`: the client must then wait. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the client has disconnected.
    pub async fn receive(
        &mut self,
        max_unsent_bytes: Option<usize>,
    ) -> Result<Received, Disconnected> {
        poll_fn(|cx| self.poll_receive(cx, max_unsent_bytes)).await
    }

    /// Does the same as [`Socket::receive`], but returns `None` as soon as everything that was queued is sent.
    ///
    /// # Errors
    /// When the client has disconnected.
    pub async fn drain(
        &mut self,
        max_unsent_bytes: Option<usize>,
    ) -> Result<Option<Received>, Disconnected> {
        poll_fn(|cx| match self.poll_send(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(None)),
            Poll::Ready(Err(_)) => Poll::Ready(Err(Disconnected)),
            Poll::Pending => self.poll_receive(cx, max_unsent_bytes).map_ok(Some),
        })
        .await
    }

    /// Does the same as [`Socket::receive`], but returns `None` as soon as at most `drained_bytes` are queued, if that is not
    /// `None`.
    ///
    /// # Errors
    /// When the client has disconnected.
    pub async fn receive_or_drain(
        &mut self,
        max_unsent_bytes: Option<usize>,
        drained_bytes: Option<usize>,
    ) -> Result<Option<Received>, Disconnected> {
        poll_fn(|cx| {
            let received = self.poll_receive(cx, max_unsent_bytes);
            // What has been received is returned first: it would be lost.
            match received {
                Poll::Pending if drained_bytes.is_some_and(|max| self.outbox.bytes() <= max) => {
                    Poll::Ready(Ok(None))
                }
                received => received.map_ok(Some),
            }
        })
        .await
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        max_unsent_bytes: Option<usize>,
    ) -> Poll<Result<Received, Disconnected>> {
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            return Poll::Ready(Err(Disconnected));
        }
        if max_unsent_bytes.is_none_or(|max| self.outbox.bytes() > max) {
            return Poll::Pending;
        }
        match ready!(self.poll_message(cx)) {
            Err(_) | Ok(Ok(None)) => Poll::Ready(Err(Disconnected)),
            Ok(Err(ReceiveError::OverBudget(error))) => Poll::Ready(Ok(Received::Refused(error))),
            Ok(Err(error)) => Poll::Ready(Ok(Received::Invalid(error))),
            Ok(Ok(Some(message))) => Poll::Ready(Ok(self.received(message))),
        }
    }

    fn received(&mut self, message: Message) -> Received {
        match message {
            Message::Text(_) | Message::Binary(_) => Received::Message(message),
            Message::Ping(payload) => {
                self.outbox.push_pong(payload);
                Received::Alive
            }
            Message::Pong(_) => Received::Alive,
            Message::Close(close) => Received::Close(close),
        }
    }

    /// Reads the next message; `None` at the end of the connection.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Result<Option<Message>, ReceiveError>>> {
        let Self {
            io,
            decoder,
            ahead,
            received_bytes,
            ..
        } = self;
        loop {
            let mut input = &ahead[..];
            let decoded = decoder.decode(&mut input);
            let left = input.len();
            ahead.advance(ahead.len() - left);
            if ahead.is_empty() {
                *ahead = Bytes::new();
            }
            if !matches!(decoded, Ok(None)) {
                return Poll::Ready(Ok(decoded));
            }
            let (is_at_end, decoded) = ready!(scratch::poll_read(io, cx, |mut input| {
                let is_at_end = input.is_empty();
                *received_bytes += input.len() as u64;
                let decoded = decoder.decode(&mut input);
                *ahead = Bytes::copy_from_slice(input);
                (is_at_end, decoded)
            }))?;
            if is_at_end || !matches!(decoded, Ok(None)) {
                return Poll::Ready(Ok(decoded));
            }
        }
    }

    /// Sends what is queued; ready when nothing is.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            let sent = ready!(self.outbox.poll_write(&mut self.io, cx))?;
            self.sent_bytes += sent as u64;
            self.needs_flush = true;
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what is queued and a close frame, and waits until the client has closed too. Reads on meanwhile: if the
    /// connection were closed with unread data in it, the system would reset it, and the client might never see the close
    /// frame. `last` is what was received last: after a close frame or an invalid frame, no more frames are expected.
    ///
    /// Returns whether the client has closed within `timeout`.
    pub async fn close(
        mut self,
        close: Option<Close>,
        last: Option<&Received>,
        timeout: Duration,
    ) -> bool {
        self.outbox.push(Message::Close(close));
        let mut closing = Closing {
            reads_frames: !matches!(last, Some(Received::Close(_) | Received::Invalid(_))),
            is_at_end: false,
            is_shut_down: false,
        };
        let closed = poll_fn(|cx| self.poll_close(cx, &mut closing));
        matches!(tokio::time::timeout(timeout, closed).await, Ok(Ok(())))
    }

    /// Ready when the close frame is sent and the client has ended the connection.
    fn poll_close(&mut self, cx: &mut Context<'_>, closing: &mut Closing) -> Poll<io::Result<()>> {
        loop {
            let is_sent = self.poll_send(cx)?.is_ready();
            if is_sent && !closing.reads_frames && !closing.is_shut_down {
                let shut_down = Pin::new(&mut self.io).poll_shutdown(cx)?;
                closing.is_shut_down = shut_down.is_ready();
            }
            if closing.is_at_end {
                return match closing.is_shut_down {
                    true => Poll::Ready(Ok(())),
                    false => Poll::Pending,
                };
            }
            ready!(self.poll_discard(cx, closing))?;
        }
    }

    /// Reads something and drops it. The client's close frame is the last frame that is read.
    fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        closing: &mut Closing,
    ) -> Poll<io::Result<()>> {
        if closing.reads_frames {
            match ready!(self.poll_message(cx))? {
                Ok(Some(Message::Close(_))) => closing.reads_frames = false,
                Ok(Some(_)) | Err(ReceiveError::OverBudget(_)) => {}
                Err(_) => closing.reads_frames = false,
                Ok(None) => {
                    closing.reads_frames = false;
                    closing.is_at_end = true;
                }
            }
            return Poll::Ready(Ok(()));
        }
        closing.is_at_end = ready!(scratch::poll_read(&mut self.io, cx, <[u8]>::is_empty))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
