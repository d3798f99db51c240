//! Sends a response of the routes as a streamed response of Lambda: the head first, then the body as it is produced.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::HttpBody as _, response::Response};
use bytes::Bytes;
use flowgate_proto::{limits::MAX_STREAMED_RESPONSE_BYTES, with_causes};
use futures_util::{Stream, StreamExt as _, stream};
use lambda_http::lambda_runtime::{MetadataPrelude, StreamResponse};
use tokio::time::Instant;

use super::response::{cookies, single_value_headers};

/// The chunks of a body. They never contain an error, because the runtime library would write its text into the body.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, lambda_http::Error>> + Send>>;

/// A complete body is sent in chunks of this size, so that a client that disconnects is noticed before all of it is
/// written.
const CHUNK_BYTES: usize = 64 << 10;

/// Returns the size of a response that is known beforehand to exceed what Lambda streams.
pub(super) fn known_excess(response: &Response) -> Option<usize> {
    let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
    (bytes > MAX_STREAMED_RESPONSE_BYTES).then_some(bytes)
}

/// What happens when a streamed body ends.
pub(super) struct OnEnd<S, R> {
    /// When the body is cut off.
    pub(super) deadline: Instant,
    /// Runs after the last byte. A client that disconnects drops the body, and with it the work that produces it and
    /// this future.
    pub(super) settle: S,
    /// Is called in any case, with the number of bytes that were sent.
    pub(super) report: R,
}

/// Streams a response.
pub(super) fn response<S, R>(response: Response, on_end: OnEnd<S, R>) -> StreamResponse<Chunks>
where
    S: Future<Output = ()> + Send + 'static,
    R: FnOnce(usize) + Send + 'static,
{
    let (head, body) = response.into_parts();
    let prelude = MetadataPrelude {
        status_code: head.status,
        // The prelude's JSON has one value for a name.
        headers: single_value_headers(&head.headers),
        cookies: cookies(&head.headers),
    };
    let OnEnd {
        deadline,
        settle,
        report,
    } = on_end;
    let chunks = body
        .into_data_stream()
        .take_until(wait_for_deadline(deadline))
        .scan(MAX_STREAMED_RESPONSE_BYTES, |remaining, data| {
            std::future::ready(take_within(remaining, data))
        })
        .flat_map(|data| stream::iter(split_into_chunks(data).map(Ok)));
    let settle = stream::once(settle).filter_map(|()| std::future::ready(None));
    let body = MeteredBody {
        chunks: Box::pin(chunks.chain(settle)),
        sent_bytes: 0,
        report: Some(Box::new(report)),
    };
    StreamResponse {
        metadata_prelude: prelude,
        stream: Box::pin(body),
    }
}

async fn wait_for_deadline(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
    tracing::warn!("streamed response cut off: the request's deadline has passed");
}

/// A body that counts its bytes and reports them when it ends or is dropped.
struct MeteredBody {
    chunks: Chunks,
    sent_bytes: usize,
    report: Option<Box<dyn FnOnce(usize) + Send>>,
}

impl MeteredBody {
    fn report(&mut self) {
        if let Some(report) = self.report.take() {
            report(self.sent_bytes);
        }
    }
}

impl Stream for MeteredBody {
    type Item = Result<Bytes, lambda_http::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(self.chunks.as_mut().poll_next(context));
        match &chunk {
            Some(Ok(bytes)) => self.sent_bytes += bytes.len(),
            Some(Err(_)) => {}
            None => self.report(),
        }
        Poll::Ready(chunk)
    }
}

impl Drop for MeteredBody {
    fn drop(&mut self) {
        self.report();
    }
}

fn split_into_chunks(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = bytes.len().min(CHUNK_BYTES);
        (length > 0).then(|| bytes.split_to(length))
    })
}

/// Returns the data, or `None`, which ends the body, where it fails or exceeds what Lambda streams.
fn take_within(remaining: &mut usize, data: Result<Bytes, axum::Error>) -> Option<Bytes> {
    let data = data.inspect_err(|error| {
        tracing::error!(error = %with_causes(error), "streamed response failed");
    });
    let data = data.ok()?;
    match remaining.checked_sub(data.len()) {
        Some(rest) => *remaining = rest,
        None => {
            let limit = MAX_STREAMED_RESPONSE_BYTES;
            tracing::error!(
                limit,
                "streamed response cut off: it exceeds Lambda's limit"
            );
            return None;
        }
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{body::Body, response::IntoResponse as _};
    use http::HeaderValue;

    use super::*;

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn the_head_goes_first_and_the_body_in_chunks() {
        let headers = [("x-a", "1"), ("x-a", "2"), ("set-cookie", "c=1")];
        let mut whole = Body::from(vec![1; CHUNK_BYTES * 2 + 1]).into_response();
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            whole.headers_mut().append(name, value);
        }
        let (reports, received) = std::sync::mpsc::channel();
        let settled = reports.clone();
        let on_end = OnEnd {
            deadline: in_a_minute(),
            settle: async move { settled.send(0).expect("received") },
            report: move |bytes| reports.send(bytes).expect("received"),
        };
        let response = response(whole, on_end);
        assert_eq!(response.metadata_prelude.headers["x-a"], "1, 2");
        assert_eq!(response.metadata_prelude.cookies, ["c=1"]);
        let chunks: Vec<_> = response.stream.collect().await;
        let sizes: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk.as_ref().map_or(0, Bytes::len))
            .collect();
        assert_eq!(sizes, [CHUNK_BYTES, CHUNK_BYTES, 1]);
        let received: Vec<_> = received.iter().collect();
        assert_eq!(received, [0, CHUNK_BYTES * 2 + 1]);
    }

    #[tokio::test]
    async fn a_client_that_disconnects_is_counted_too() {
        let whole = Body::from(vec![1; CHUNK_BYTES * 2]).into_response();
        let (reports, received) = std::sync::mpsc::channel();
        let on_end = OnEnd {
            deadline: in_a_minute(),
            settle: async {},
            report: move |bytes| reports.send(bytes).expect("received"),
        };
        let mut response = response(whole, on_end);
        assert!(response.stream.next().await.is_some());
        drop(response);
        assert_eq!(received.recv(), Ok(CHUNK_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_cut_off_at_the_deadline() {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
        let on_end = OnEnd {
            deadline: in_a_minute(),
            settle: async {},
            report: drop,
        };
        let mut response = response(endless.into_response(), on_end);
        assert!(response.stream.next().await.is_none());
    }

    #[test]
    fn a_body_that_exceeds_lambdas_limit_ends() {
        let mut remaining = 3;
        let data = || Ok(Bytes::from_static(b"ab"));
        assert!(take_within(&mut remaining, data()).is_some());
        assert!(take_within(&mut remaining, data()).is_none());
        assert!(take_within(&mut remaining, Err(axum::Error::new(std::fmt::Error))).is_none());
        let large = Body::from(vec![0; MAX_STREAMED_RESPONSE_BYTES + 1]).into_response();
        assert_eq!(known_excess(&large), Some(MAX_STREAMED_RESPONSE_BYTES + 1));
        assert_eq!(known_excess(&Body::from("a").into_response()), None);
    }
}
