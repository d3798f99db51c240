//! Tests of the buffered connection: which calls reach the stream below it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

/// Counts the calls, reads from a text, keeps what is written, and fails writes if it is broken.
#[derive(Debug, Default)]
struct Counting {
    reads: usize,
    writes: usize,
    text: Vec<u8>,
    written: Vec<u8>,
    is_broken: bool,
    /// The number of flushes that are not complete at once.
    slow_flushes: usize,
    is_flushed: bool,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.reads += 1;
        let count = self.text.len().min(buffer.remaining());
        buffer.put_slice(&self.text[..count]);
        self.text.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.writes += 1;
        self.is_flushed = false;
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(left) = self.slow_flushes.checked_sub(1) {
            self.slow_flushes = left;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn small_writes_leave_together_when_the_task_waits() {
    let mut stream = Buffered::new(Counting::default());
    let (flusher, look) = (stream.flusher(), stream.flusher());
    let frames = async {
        for _ in 0..10 {
            stream.write_all(b"frame").await.expect("room");
            stream.flush().await.expect("deferred");
        }
        assert_eq!(lock(&look.0).stream.writes, 0);
        tokio::task::yield_now().await;
        assert_eq!(lock(&look.0).stream.writes, 1);
        stream.write_all(b"last").await.expect("room");
    };
    flushing(flusher, frames).await;
    let state = lock(&look.0);
    assert_eq!(state.stream.writes, 2);
    assert_eq!(
        state.stream.written,
        [&b"frame".repeat(10)[..], b"last"].concat()
    );
    // An idle connection holds no buffer.
    assert!(state.to_send.bytes.is_empty());
}

#[tokio::test]
async fn one_read_serves_many() {
    let text: Vec<u8> = (0..=255).cycle().take(BUFFER_BYTES + 10).collect();
    let mut stream = Buffered::new(Counting {
        text: text.clone(),
        ..Counting::default()
    });
    let look = stream.flusher();
    let mut read = Vec::new();
    let mut piece = [0; 1000];
    while read.len() < BUFFER_BYTES {
        let count = stream.read(&mut piece).await.expect("bytes");
        read.extend_from_slice(&piece[..count]);
    }
    assert_eq!(lock(&look.0).stream.reads, 1);
    assert!(lock(&look.0).received.bytes.is_empty());
    stream.read_to_end(&mut read).await.expect("an end");
    assert_eq!(read, text);
}

#[tokio::test]
async fn large_and_small_writes_stay_in_order_for_a_slow_reader() {
    let (near, mut far) = duplex(1000);
    let mut stream = Buffered::new(near);
    let flusher = stream.flusher();
    let pieces: Vec<Vec<u8>> = [
        10,
        3,
        MIN_UNCOPIED_BYTES,
        5,
        2 * BUFFER_BYTES,
        7,
        20_000,
        20_000,
        20_000,
        20_000,
    ]
    .iter()
    .zip(0_u8..)
    .map(|(&len, byte)| vec![byte; len])
    .collect();
    let expected = pieces.concat();
    let write = async {
        for piece in &pieces {
            stream.write_all(piece).await.expect("read by the peer");
        }
        stream.shutdown().await.expect("flushed");
    };
    let read = async {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.expect("an end");
        all
    };
    let ((), all) = tokio::join!(flushing(flusher, write), read);
    assert!(all == expected, "{} of {} bytes", all.len(), expected.len());
}

#[tokio::test]
async fn a_failed_flush_fails_the_next_read() {
    let mut stream = Buffered::new(Counting {
        is_broken: true,
        ..Counting::default()
    });
    let flusher = stream.flusher();
    let failed = flushing(flusher, async {
        stream.write_all(b"frame").await.expect("room");
        tokio::task::yield_now().await;
        stream.read(&mut [0; 10]).await
    });
    let error = failed.await.expect_err("the stream is broken");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

/// As over TLS, whose stream holds what the socket does not take.
#[tokio::test]
async fn a_flush_that_takes_several_polls_is_finished() {
    for size in [5, MIN_UNCOPIED_BYTES] {
        let mut stream = Buffered::new(Counting {
            slow_flushes: 3,
            ..Counting::default()
        });
        let (flusher, look) = (stream.flusher(), stream.flusher());
        let work = async {
            stream.write_all(&vec![0; size]).await.expect("room");
            while !lock(&look.0).stream.is_flushed {
                tokio::task::yield_now().await;
            }
        };
        let flushed =
            tokio::time::timeout(std::time::Duration::from_secs(5), flushing(flusher, work));
        flushed.await.expect("all polls of the flush");
    }
}
