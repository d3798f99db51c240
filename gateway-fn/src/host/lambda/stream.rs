//! The routes' answer -> a streamed response of Lambda: head first, then the body as it comes.

use std::pin::Pin;

use axum::response::Response;
use bytes::Bytes;
use flowgate_proto::limits::STREAMED_RESPONSE_BYTES;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use lambda_runtime::{MetadataPrelude, StreamResponse};

use super::answer;

/// The chunks of a body.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, lambda_runtime::Error>> + Send>>;

/// A body of one piece is cut, so that a client that leaves is noticed before all of it is written.
const CHUNK_BYTES: usize = 64 << 10;

/// Streams an answer, and runs `after` when its last byte has been taken. A client that leaves drops the body, and with
/// it the work that makes it.
pub(super) fn response(
    answer: Response,
    after: impl Future<Output = ()> + Send + 'static,
) -> StreamResponse<Chunks> {
    let (head, body) = answer.into_parts();
    let prelude = MetadataPrelude {
        status_code: head.status,
        headers: joined(&head.headers),
        cookies: answer::cookies(&head.headers),
    };
    let chunks = body
        .into_data_stream()
        .flat_map(|piece| match piece {
            Ok(bytes) => stream::iter(cut(bytes).map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error.into())]),
        })
        .scan(Some(STREAMED_RESPONSE_BYTES), |left, piece| {
            std::future::ready(within(left, piece))
        });
    let last = stream::once(after).filter_map(|()| std::future::ready(None));
    StreamResponse {
        metadata_prelude: prelude,
        stream: Box::pin(chunks.chain(last)),
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

/// The piece, or the end of the stream with an error when it goes beyond what Lambda streams.
fn within(
    left: &mut Option<usize>,
    piece: Result<Bytes, lambda_runtime::Error>,
) -> Option<Result<Bytes, lambda_runtime::Error>> {
    let before = (*left)?;
    let Ok(bytes) = &piece else {
        *left = None;
        return Some(piece);
    };
    *left = before.checked_sub(bytes.len());
    match left {
        Some(_) => Some(piece),
        None => Some(Err(format!(
            "the answer has more than the {STREAMED_RESPONSE_BYTES} bytes that Lambda streams"
        )
        .into())),
    }
}

#[cfg(test)]
mod tests {
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
        let (done, after) = tokio::sync::oneshot::channel();
        let response = response(answer, async {
            let _ = done.send(());
        });
        assert_eq!(response.metadata_prelude.headers["x-a"], "1, 2");
        assert_eq!(response.metadata_prelude.cookies, ["c=1"]);
        let chunks: Vec<_> = response.stream.collect().await;
        let sizes: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.as_ref().map_or(0, Bytes::len))
            .collect();
        assert_eq!(sizes, [CHUNK_BYTES, CHUNK_BYTES, 1]);
        after.await.expect("what comes after the last byte");
    }

    #[test]
    fn more_than_lambda_streams_ends_with_an_error() {
        let mut left = Some(3);
        let piece = || Ok(Bytes::from_static(b"ab"));
        assert!(within(&mut left, piece()).is_some_and(|piece| piece.is_ok()));
        assert!(within(&mut left, piece()).is_some_and(|piece| piece.is_err()));
        assert!(within(&mut left, piece()).is_none());
    }
}
