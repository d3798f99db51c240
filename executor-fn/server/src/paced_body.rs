//! The body of a request, which fails when the client sends it too slowly.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use crate::{
    activity::Activity,
    pace::{MinRate, PaceLimit},
};

/// The body of a request. Its error for a slow client is a [`std::io::Error`] of the kind `TimedOut`.
#[derive(Debug)]
pub struct PacedBody<B> {
    inner: B,
    /// `None` without a body or a rate.
    limit: Option<PaceLimit>,
    /// The HTTP/1 connection, to which an unread rest of the body is reported.
    connection: Option<Activity>,
    is_ended: bool,
}

impl<B: Body> PacedBody<B> {
    /// A body that must arrive at this rate.
    pub fn new(inner: B, rate: MinRate) -> Self {
        let is_ended = inner.is_end_stream();
        Self {
            inner,
            limit: PaceLimit::new(rate).filter(|_| !is_ended),
            connection: None,
            is_ended,
        }
    }

    /// Reports to this connection if the body is not read to its end.
    pub(crate) fn of_connection(self, connection: Activity) -> Self {
        let mut body = self;
        body.connection = Some(connection);
        body
    }
}

impl<B> Body for PacedBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(limit) = &mut this.limit {
                    limit.progress(frame.data_ref().map_or(0, Bytes::len));
                }
                this.is_ended = this.inner.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                this.is_ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => match &mut this.limit {
                Some(limit) => limit
                    .poll_slow(cx)
                    .map(|rate| Some(Err(rate.error().into()))),
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> Drop for PacedBody<B> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.as_ref().filter(|_| !self.is_ended) {
            connection.note_unread_body();
        }
    }
}
