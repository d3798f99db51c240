//! The routes' answer -> a streamed response of Lambda: head first, then the body as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::HttpBody as _, response::Response};
use bytes::Bytes;
use flowgate_proto::{limits::STREAMED_RESPONSE_BYTES, with_causes};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use lambda_runtime::{MetadataPrelude, StreamResponse};
use tokio::time::Instant;

use super::answer;

/// The chunks of a body. None of them is an error: the runtime library would write its text into the body.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, lambda_runtime::Error>> + Send>>;

/// A body of one piece is cut, so that a client that leaves is noticed before all of it is written.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of an answer of which it is known before that they are more than Lambda streams.
pub(super) fn excess(answer: &Response) -> Option<usize> {
    let least = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
    (least > STREAMED_RESPONSE_BYTES).then_some(least)
}

/// What comes after a stream.
pub(super) struct After<S, T> {
    /// When it is cut.
    pub(super) last: Instant,
    /// Runs when its last byte has been taken. A client that leaves drops the body, and with it the work that makes it,
    /// and this.
    pub(super) settle: S,
    /// Runs in any case, and is told how many bytes were taken.
    pub(super) tell: T,
}

/// Streams an answer.
pub(super) fn response<S, T>(answer: Response, after: After<S, T>) -> StreamResponse<Chunks>
where
    S: Future<Output = ()> + Send + 'static,
    T: FnOnce(usize) + Send + 'static,
{
    let (head, body) = answer.into_parts();
    let prelude = MetadataPrelude {
        status_code: head.status,
        headers: joined(&head.headers),
        cookies: answer::cookies(&head.headers),
    };
    let After { last, settle, tell } = after;
    let chunks = body
        .into_data_stream()
        .take_until(late(last))
        .scan(STREAMED_RESPONSE_BYTES, |left, piece| {
            std::future::ready(within(left, piece))
        })
        .flat_map(|piece| stream::iter(cut(piece).map(Ok)));
    let settle = stream::once(settle).filter_map(|()| std::future::ready(None));
    let told = Told {
        chunks: Box::pin(chunks.chain(settle)),
        bytes: 0,
        tell: Some(Box::new(tell)),
    };
    StreamResponse {
        metadata_prelude: prelude,
        stream: Box::pin(told),
    }
}

async fn late(last: Instant) {
    tokio::time::sleep_until(last).await;
    tracing::warn!("an answer is cut: the time that its request may take is over");
}

/// Chunks that are counted; when they end, or nobody wants them any more, somebody is told.
struct Told {
    chunks: Chunks,
    bytes: usize,
    tell: Option<Box<dyn FnOnce(usize) + Send>>,
}

impl Told {
    fn tell(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.bytes);
        }
    }
}

impl Stream for Told {
    type Item = Result<Bytes, lambda_runtime::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(self.chunks.as_mut().poll_next(context));
        match &chunk {
            Some(Ok(bytes)) => self.bytes += bytes.len(),
            Some(Err(_)) => {}
            None => self.tell(),
        }
        Poll::Ready(chunk)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell();
    }
}

/// One value for each name, because the prelude has no other form.
fn joined(headers: &HeaderMap) -> HeaderMap {
    let joined = answer::joined(headers).into_iter();
    let pairs = joined.filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    pairs.collect()
}

fn cut(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = bytes.len().min(CHUNK_BYTES);
        (length > 0).then(|| bytes.split_to(length))
    })
}

/// The piece; `None` ends the body where it breaks or goes beyond what Lambda streams.
fn within(left: &mut usize, piece: Result<Bytes, axum::Error>) -> Option<Bytes> {
    let piece = piece.inspect_err(|error| {
        tracing::error!(error = %with_causes(error), "an answer broke while it was streamed");
    });
    let piece = piece.ok()?;
    match left.checked_sub(piece.len()) {
        Some(rest) => *left = rest,
        None => {
            let limit = STREAMED_RESPONSE_BYTES;
            tracing::error!(limit, "an answer is cut: Lambda streams no more bytes");
            return None;
        }
    }
    Some(piece)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{body::Body, response::IntoResponse as _};

    use super::*;

    #[tokio::test]
    async fn the_head_goes_first_and_the_body_in_chunks() {
        let headers = [("x-a", "1"), ("x-a", "2"), ("set-cookie", "c=1")];
        let mut answer = Body::from(vec![1; CHUNK_BYTES * 2 + 1]).into_response();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().append(name, value);
        }
        let (told, counted) = std::sync::mpsc::channel();
        let settled = told.clone();
        let response = response(
            answer,
            After {
                last: Instant::now() + Duration::from_secs(60),
                settle: async move { settled.send(0).expect("heard") },
                tell: move |bytes| told.send(bytes).expect("heard"),
            },
        );
        assert_eq!(response.metadata_prelude.headers["x-a"], "1, 2");
        assert_eq!(response.metadata_prelude.cookies, ["c=1"]);
        let chunks: Vec<_> = response.stream.collect().await;
        let sizes: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.as_ref().map_or(0, Bytes::len))
            .collect();
        assert_eq!(sizes, [CHUNK_BYTES, CHUNK_BYTES, 1]);
        let counted: Vec<_> = counted.iter().collect();
        assert_eq!(counted, [0, CHUNK_BYTES * 2 + 1]);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_counted_too() {
        let answer = Body::from(vec![1; CHUNK_BYTES * 2]).into_response();
        let (told, counted) = std::sync::mpsc::channel();
        let mut response = response(
            answer,
            After {
                last: Instant::now() + Duration::from_secs(60),
                settle: async {},
                tell: move |bytes| told.send(bytes).expect("heard"),
            },
        );
        assert!(response.stream.next().await.is_some());
        drop(response);
        assert_eq!(counted.recv(), Ok(CHUNK_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_cut_in_time() {
        let answer = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
        let mut response = response(
            answer.into_response(),
            After {
                last: Instant::now() + Duration::from_secs(60),
                settle: async {},
                tell: drop,
            },
        );
        assert!(response.stream.next().await.is_none());
    }

    #[test]
    fn more_than_lambda_streams_ends_the_body() {
        let mut left = 3;
        let piece = || Ok(Bytes::from_static(b"ab"));
        assert!(within(&mut left, piece()).is_some());
        assert!(within(&mut left, piece()).is_none());
        assert!(within(&mut left, Err(axum::Error::new(std::fmt::Error))).is_none());
        let large = Body::from(vec![0; STREAMED_RESPONSE_BYTES + 1]).into_response();
        assert_eq!(excess(&large), Some(STREAMED_RESPONSE_BYTES + 1));
        assert_eq!(excess(&Body::from("a").into_response()), None);
    }
}
