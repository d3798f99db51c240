//! Detects by the first bytes of a connection whether it is HTTP/2 or HTTP/1, and returns a stream from which they are read
//! again.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose first bytes have been read and are read again.
#[derive(Debug)]
pub(crate) struct Rewound<S> {
    first: [u8; PREFACE.len()],
    /// The part of `first` that has not been read again.
    unread: std::ops::Range<usize>,
    stream: S,
}

/// Reads until it is clear whether the client speaks HTTP/2.
///
/// # Errors
/// When the stream fails, or ends before its first byte.
pub(crate) async fn detect<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(bool, Rewound<S>)> {
    let mut first = [0; PREFACE.len()];
    let mut len = 0;
    while len < PREFACE.len() && first[..len] == PREFACE[..len] {
        match stream.read(&mut first[len..]).await? {
            0 if len == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            read => len += read,
        }
    }
    let rewound = Rewound {
        first,
        unread: 0..len,
        stream,
    };
    Ok((&first == PREFACE, rewound))
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        let start = self.unread.start;
        buffer.put_slice(&self.first[start..start + count]);
        self.unread.start += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_decide_and_are_not_lost() {
        for (sent, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest"[..], true),
            (b"PRI * HTTP/1.1\r\n\r\n", false),
            (b"GET / HTTP/1.1\r\n\r\n", false),
            (b"PRI", false),
        ] {
            // Small writes: the bytes may come one by one.
            let (mut client, server) = tokio::io::duplex(1);
            let write = async move {
                client.write_all(sent).await.expect("read by the server");
            };
            let read = async {
                let (is_http2, mut stream) = detect(server).await.expect("bytes");
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("an end");
                (is_http2, all)
            };
            let ((), (is_http2, all)) = tokio::join!(write, read);
            assert_eq!((is_http2, &all[..]), (expected, sent));
        }
        let error = detect(&b""[..]).await.expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
