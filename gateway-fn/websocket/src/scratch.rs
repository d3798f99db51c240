//! The buffer into which sockets read: one for each thread, so that an idle socket needs none.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// The size of the buffer. A larger one saves system calls for large messages, but leaves the processor's cache.
const BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BYTES].into_boxed_slice());
}

/// Reads once, and calls `read` with the bytes, of which there are none at the end of the stream. Fails if this is called
/// from within `read` of another socket, because the thread's buffer is in use.
pub(crate) fn poll_read<I: AsyncRead + Unpin, T>(
    io: &mut I,
    cx: &mut Context<'_>,
    read: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    SCRATCH.with(|scratch| {
        let Ok(mut scratch) = scratch.try_borrow_mut() else {
            return Poll::Ready(Err(io::ErrorKind::ResourceBusy.into()));
        };
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(read(buffer.filled())))
    })
}
