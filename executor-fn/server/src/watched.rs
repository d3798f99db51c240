//! A connection's socket that reports what happens on it, that answers a request whose head does not arrive, and that is closed
//! without losing the response.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::{Activity, HeadError};

/// How much of what a client still sends is read after its response: as much as the largest message is by default, because
/// many clients write a whole request before they read.
const MAX_LINGER_BYTES: u64 = 256 << 20;

/// How much of it is read at once.
const DISCARD_BYTES: usize = 16 << 10;

/// Returns the answer to a head (RFC 9110, sections 15.5.9 and 15.5.1).
const fn answer_to_head(error: HeadError) -> &'static [u8] {
    match error {
        HeadError::Late => {
            b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        }
        HeadError::Length => {
            b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        }
    }
}

/// A socket whose reads and writes are reported to an [`Activity`].
#[derive(Debug)]
pub(crate) struct Watched<I> {
    inner: I,
    activity: Activity,
    closing: Closing,
    /// The bytes of [`answer_to_head`] that have been written.
    answered: usize,
}

#[derive(Debug)]
enum Closing {
    Open,
    /// The sending side is shut down, and what the client still sends is discarded.
    ShutDown {
        may_have_unread: bool,
        left: u64,
    },
    Done,
}

impl<I> Watched<I> {
    pub(crate) const fn new(inner: I, activity: Activity) -> Self {
        Self {
            inner,
            activity,
            closing: Closing::Open,
            answered: 0,
        }
    }

    fn report_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(bytes)) => self.activity.note_written(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.note_write_blocked(),
        }
    }

    fn report_flush(&self, flushed: &Poll<io::Result<()>>) {
        match flushed {
            Poll::Ready(_) => self.activity.note_flushed(),
            Poll::Pending => self.activity.note_write_blocked(),
        }
    }
}

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Reads and discards until the client has closed its side. If nothing more is expected from the client, only discards
    /// the bytes that have arrived already.
    fn poll_discard(
        &mut self,
        cx: &mut Context<'_>,
        may_have_unread: bool,
        mut left: u64,
    ) -> Poll<()> {
        let mut space = [0; DISCARD_BYTES];
        let mut expects_bytes = may_have_unread;
        while left > 0 {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.activity.note_received(buf.filled());
                    left = left.saturating_sub(buf.filled().len() as u64);
                    expects_bytes = true;
                }
                Poll::Pending if expects_bytes => {
                    self.activity.linger();
                    self.closing = Closing::ShutDown {
                        may_have_unread: true,
                        left,
                    };
                    return Poll::Pending;
                }
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Answers a head that hyper does not get to see, and closes.
    fn poll_end(&mut self, error: HeadError, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let answer = answer_to_head(error);
        while self.answered < answer.len() {
            let rest = &answer[self.answered..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.answered += written,
            }
        }
        Pin::new(self).poll_shutdown(cx)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<I> {
    /// Reads what the client sends. After a head that hyper must not see, writes its answer and then reports the end of the
    /// stream.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.activity.head_error() {
            return self.poll_end(error, cx);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.note_received(&buf.filled()[before..]);
            if let Some(error) = self.activity.head_error() {
                buf.set_filled(before);
                return self.poll_end(error, cx);
            }
        }
        read
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.report_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.report_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.report_flush(&flushed);
        flushed
    }

    /// Shuts down the sending side and then reads on for a while, unless another protocol has taken over.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::Open) {
            let shut_down = Pin::new(&mut self.inner).poll_shutdown(cx);
            self.report_flush(&shut_down);
            ready!(shut_down)?;
            self.closing = match self.activity.is_unlimited() {
                true => Closing::Done,
                false => Closing::ShutDown {
                    may_have_unread: self.activity.may_have_unread(),
                    left: MAX_LINGER_BYTES,
                },
            };
        }
        if let Closing::ShutDown {
            may_have_unread,
            left,
        } = self.closing
        {
            ready!(self.poll_discard(cx, may_have_unread, left));
            self.closing = Closing::Done;
        }
        Poll::Ready(Ok(()))
    }
}
