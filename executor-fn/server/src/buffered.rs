//! Buffers a connection on which small frames come and go: reads ahead of what is asked for, and joins what is written until
//! the connection's task has nothing more to write.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, IoSlice},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of a buffer: four times the largest frame that HTTP/2 allows by default, and what one system call moves over
/// the loopback interface.
const BUFFER_BYTES: usize = 64 << 10;

/// A write of at least this many bytes is not copied into the buffer, because copying would cost more than the system call
/// that it saves.
const MIN_UNCOPIED_BYTES: usize = 32 << 10;

/// The buffers that a thread keeps for the next connection that needs one. A connection holds buffers only while they are
/// filled, which is rarely longer than its task runs.
const MAX_SPARE_BUFFERS: usize = 2;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A connection whose writes wait until they are flushed by [`flushing`].
#[derive(Debug)]
pub struct Buffered<S>(Arc<Mutex<State<S>>>);

#[derive(Debug)]
struct State<S> {
    stream: S,
    received: Buffer,
    to_send: Buffer,
    /// Whether the stream has taken bytes that it may still hold, as TLS does.
    needs_flush: bool,
    /// A failure of a flush, which the next read or write reports.
    failed: Option<io::Error>,
}

impl<S> Buffered<S> {
    /// Buffers this connection.
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(State {
            stream,
            received: Buffer::default(),
            to_send: Buffer::default(),
            needs_flush: false,
            failed: None,
        })))
    }

    /// Returns a second handle to the connection, for [`flushing`].
    #[must_use]
    pub fn flusher(&self) -> Flusher<S> {
        Flusher(Arc::clone(&self.0))
    }

    fn state(&mut self) -> MutexGuard<'_, State<S>> {
        lock(&self.0)
    }
}

/// Flushes what was written to a [`Buffered`] connection.
#[derive(Debug)]
pub struct Flusher<S>(Arc<Mutex<State<S>>>);

/// Runs the future that reads and writes a connection, and after each poll flushes what the future has written.
pub async fn flushing<S, F>(flusher: Flusher<S>, future: F) -> F::Output
where
    S: AsyncWrite + Unpin,
    F: Future,
{
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        let mut state = lock(&flusher.0);
        if let Poll::Ready(Err(error)) = state.poll_flush(context) {
            state.failed = Some(error);
            state.to_send = Buffer::default();
            state.needs_flush = false;
            // The future gets the error from its next read.
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// The lock is never contended: both handles are used by one task.
fn lock<S>(state: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + Unpin> State<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.received.is_empty() {
            if buffer.remaining() >= BUFFER_BYTES {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            ready!(self.received.poll_fill(&mut self.stream, context))?;
        }
        self.received.read(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> State<S> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if len >= MIN_UNCOPIED_BYTES || self.to_send.is_full() {
            ready!(self.to_send.poll_drain(&mut self.stream, context))?;
            self.needs_flush = true;
            if len >= MIN_UNCOPIED_BYTES {
                return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
            }
        }
        Poll::Ready(Ok(self.to_send.write(slices)))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.to_send.is_empty() {
            self.needs_flush = true;
            ready!(self.to_send.poll_drain(&mut self.stream, context))?;
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.state().poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_write(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().poll_write(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: HTTP/2 would flush after each frame. [`flushing`] does it when all frames are written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state();
        ready!(state.poll_flush(context))?;
        Pin::new(&mut state.stream).poll_shutdown(context)
    }
}

/// Bytes that have been read or are to be written. Has memory only while there are some.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Box<[u8]>,
    filled: Range<usize>,
}

impl Buffer {
    const fn is_empty(&self) -> bool {
        self.filled.start == self.filled.end
    }

    const fn is_full(&self) -> bool {
        self.filled.end == BUFFER_BYTES
    }

    /// Reads from a stream into this buffer, which is empty.
    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.acquire();
        let mut space = ReadBuf::new(&mut self.bytes);
        let read = Pin::new(stream).poll_read(context, &mut space);
        self.filled = 0..space.filled().len();
        self.release_if_empty();
        read
    }

    /// Moves as much as fits.
    fn read(&mut self, into: &mut ReadBuf<'_>) {
        let count = self.filled.len().min(into.remaining());
        into.put_slice(&self.bytes[self.filled.start..][..count]);
        self.filled.start += count;
        self.release_if_empty();
    }

    /// Copies as much as fits, and returns how much that is.
    fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        self.acquire();
        let before = self.filled.end;
        for slice in slices {
            let space = &mut self.bytes[self.filled.end..];
            let count = slice.len().min(space.len());
            space[..count].copy_from_slice(&slice[..count]);
            self.filled.end += count;
        }
        self.filled.end - before
    }

    /// Writes everything to a stream.
    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let bytes = &self.bytes[self.filled.clone()];
            match ready!(Pin::new(&mut *stream).poll_write(context, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.filled.start += written,
            }
        }
        self.release_if_empty();
        Poll::Ready(Ok(()))
    }

    fn acquire(&mut self) {
        if self.bytes.is_empty() {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.bytes = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into());
        }
    }

    fn release_if_empty(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            self.filled = 0..0;
            let bytes = std::mem::take(&mut self.bytes);
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < MAX_SPARE_BUFFERS {
                    spare.push(bytes);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
