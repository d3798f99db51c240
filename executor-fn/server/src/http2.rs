//! Serves HTTP/2 on one connection, without a task or channel between a request and the connection.

use std::{
    error::Error,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use flowgate_proto::with_causes;
use futures_util::{
    FutureExt as _,
    future::{Fuse, FusedFuture as _},
};
use h2::{
    PingPong, Reason, RecvStream, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    buffered::{Buffered, flushing},
    open_connections::Usage,
    pace::{MinRate, Pace},
    ping::{Pinged, ping},
};

/// The settings of HTTP/2 connections.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// How often a connection is pinged.
    pub keep_alive_interval: Duration,
    /// How long the answer to a ping may take.
    pub keep_alive_timeout: Duration,
    /// The largest number of concurrent requests on one connection.
    pub max_concurrent_streams: u32,
    /// Flow control window of a request, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
    /// The largest frame that clients may send, in bytes.
    pub max_frame: u32,
    /// The largest headers of a request, in bytes.
    pub max_headers: u32,
    /// The requests of all connections, which are counted from their head to the end of their response.
    pub open_requests: &'static OpenRequests,
}

/// Counts the requests of all HTTP/2 connections, also those whose body never comes: each takes some tens of kilobytes, and
/// a thousand connections may have a thousand each.
#[derive(Debug)]
pub struct OpenRequests {
    limit: usize,
    open: AtomicUsize,
}

/// Twice as many as the Gateway handles at once by default, so that streams between two messages have a place too.
static OPEN_REQUESTS: OpenRequests = OpenRequests::new(20_000);

impl OpenRequests {
    /// Allows this many requests.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            open: AtomicUsize::new(0),
        }
    }

    /// Counts a request until the returned value is dropped; `None` if there are too many.
    fn begin(&'static self) -> Option<OpenRequest> {
        let request = OpenRequest(self);
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        (before < self.limit).then_some(request)
    }
}

/// A request that is counted.
struct OpenRequest(&'static OpenRequests);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Http2 {
    /// A client that has disconnected without a close is noticed within about a minute. 1000 requests of a connection are
    /// Jina's default `prefetch`. The windows bound what a client may send that is not read yet, which is memory: 4 MiB for
    /// each connection. They are enough for 1 GB/s over a round trip of 1 ms, as in most data centres, and for 80 MB/s over
    /// 50 ms. 16 KiB of headers are gRPC's default.
    fn default() -> Self {
        Self {
            keep_alive_interval: Duration::from_secs(45),
            keep_alive_timeout: Duration::from_secs(15),
            max_concurrent_streams: 1000,
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            max_frame: 256 << 10,
            max_headers: 16 << 10,
            open_requests: &OPEN_REQUESTS,
        }
    }
}

/// A request, and the way to answer it.
#[derive(Debug)]
pub struct Exchange {
    /// The request; its body arrives while it is read.
    pub request: Request<RecvStream>,
    /// Sends the response.
    pub respond: SendResponse<Bytes>,
}

impl Http2 {
    /// Serves a connection to its end, each request by `handler` in a task. Once `stopping` is cancelled, requests under way
    /// are finished and no new ones are accepted, and so once `usage` is evicted. A connection without a first request ends at
    /// `first_request_until`.
    pub(crate) async fn serve<I, H, F>(
        &self,
        stream: I,
        peer: SocketAddr,
        handler: H,
        (first_request_until, usage, stopping): (Option<Instant>, Usage, CancellationToken),
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        H: Fn(Exchange) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let stream = Buffered::new(stream);
        let flusher = stream.flusher();
        let serving = async {
            let handshake = self.builder().handshake::<_, Bytes>(stream);
            let connection = tokio::select! {
                connection = handshake => connection?,
                () = sleep_until(first_request_until) => return Ok(()),
            };
            let ends = (first_request_until, usage, stopping);
            self.accept(connection, handler, ends).await
        };
        let Err(error) = flushing(flusher, serving).await else {
            return;
        };
        let is_attack = error.is_library() && error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        if is_attack {
            tracing::warn!(%peer, error = %with_causes(&error), "client reset too many requests: connection closed");
        } else {
            tracing::debug!(%peer, error = %with_causes(&error), "connection ended");
        }
    }

    async fn accept<I, H, F>(
        &self,
        mut connection: Connection<I, Bytes>,
        handler: H,
        (first_request_until, usage, stopping): (Option<Instant>, Usage, CancellationToken),
    ) -> Result<(), h2::Error>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        H: Fn(Exchange) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut pinging = pin!(self.ping(connection.ping_pong()).fuse());
        let mut stop = pin!(stopping.cancelled().fuse());
        let mut first_request = pin!(sleep_until(first_request_until).fuse());
        let mut evicted = pin!(usage.evicted().fuse());
        // Begins with the GOAWAY.
        let mut goodbye = pin!(Fuse::terminated());
        let mut has_request = false;
        loop {
            tokio::select! {
                biased;
                accepted = connection.accept() => match accepted {
                    None => return Ok(()),
                    Some(accepted) => {
                        let (request, mut respond) = accepted?;
                        has_request = true;
                        let Some(open) = self.open_requests.begin() else {
                            // The client may repeat it elsewhere or later: nothing of it was handled (RFC 9113, section 8.7).
                            respond.send_reset(Reason::REFUSED_STREAM);
                            continue;
                        };
                        let (in_use, handled) = (usage.begin(), handler(Exchange { request, respond }));
                        tokio::spawn(async move {
                            handled.await;
                            drop((in_use, open));
                        });
                    }
                },
                () = &mut stop => {
                    connection.graceful_shutdown();
                    if goodbye.is_terminated() {
                        goodbye.set(goodbye_to(&usage, MAX_LAST_ANSWER).fuse());
                    }
                }
                () = &mut evicted => {
                    connection.graceful_shutdown();
                    goodbye.set(goodbye_to(&usage, MAX_GOODBYE).fuse());
                }
                () = &mut goodbye => return Ok(()),
                // The client does not answer pings: it would not receive a GOAWAY either.
                () = &mut pinging => return Ok(()),
                () = &mut first_request, if !has_request => return Ok(()),
            }
        }
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_frame_size(self.max_frame)
            .max_header_list_size(self.max_headers);
        builder
    }

    /// Pings until a ping is not answered in time.
    async fn ping(&self, pings: Option<PingPong>) {
        let Some(mut pings) = pings else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(self.keep_alive_interval).await;
            match ping(&mut pings, Some(self.keep_alive_timeout)).await {
                Pinged::Answered => {}
                Pinged::Unanswered => return,
                Pinged::Ended => return std::future::pending().await,
            }
        }
    }
}

/// How long a client may take to answer when its idle connection is closed for another client. Longer than the round trip of
/// most networks.
const MAX_GOODBYE: Duration = Duration::from_millis(500);

/// Waits as long as a connection may stay that is closed for another client: with requests in progress it ends after them, and
/// after the time in which the client may take the last answer.
async fn goodbye_to(usage: &Usage, mut time: Duration) {
    if !usage.is_known() {
        // Its requests are not counted: it ends with the last of them, when the client has answered the GOAWAY.
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(time).await;
        if !usage.is_in_use() {
            return;
        }
        usage.unused().await;
        time = MAX_LAST_ANSWER;
    }
}

/// How long a client may take to receive the end of the last answer and to answer the GOAWAY.
const MAX_LAST_ANSWER: Duration = Duration::from_secs(5);

/// Waits until a time; for ever without one.
pub(crate) async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The body of a request, for a service that reads HTTP bodies.
#[derive(Debug)]
pub struct RequestBody {
    stream: RecvStream,
    content_length: Option<u64>,
    has_data: bool,
}

impl RequestBody {
    /// Wraps the body of a request with these headers.
    #[must_use]
    pub fn new(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH);
        let content_length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            has_data: !stream.is_end_stream(),
            stream,
            content_length,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.has_data {
            match std::task::ready!(self.stream.poll_data(context)) {
                Some(Ok(data)) => {
                    let released = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(released.map(|()| Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.has_data = false,
            }
        }
        let trailers = std::task::ready!(self.stream.poll_trailers(context));
        Poll::Ready(
            trailers
                .transpose()
                .map(|trailers| trailers.map(Frame::trailers)),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.content_length {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::new(),
        }
    }
}

/// Sends the response of a service to a request of this method. Stops when the client disconnects, or takes the response
/// more slowly than at this rate.
pub async fn respond<B>(
    method: &Method,
    min_rate: MinRate,
    response: Response<B>,
    mut respond: SendResponse<Bytes>,
) where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (mut head, body) = response.into_parts();
    remove_connection_headers(&mut head.headers);
    let is_empty = body.is_end_stream() || method == Method::HEAD;
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        let length = length.into();
        head.headers.entry(header::CONTENT_LENGTH).or_insert(length);
    }
    let sent = respond.send_response(Response::from_parts(head, ()), is_empty);
    if let (Ok(stream), false) = (sent, is_empty) {
        send_body(stream, body, Pace::new(min_rate)).await;
    }
}

/// Headers of HTTP/1 that HTTP/2 does not have (RFC 9113, section 8.2.2).
fn remove_connection_headers(headers: &mut HeaderMap) {
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
}

async fn send_body<B>(mut stream: SendStream<Bytes>, body: B, mut pace: Pace)
where
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|context| {
            // A client that has reset the stream needs no more of the body.
            if stream.poll_reset(context).is_ready() {
                return Poll::Ready(Err(()));
            }
            body.as_mut().poll_frame(context).map(Ok)
        });
        let Ok(frame) = frame.await else { return };
        let sent = match frame {
            None => stream.send_data(Bytes::new(), true),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => {
                    let data = data.copy_to_bytes(data.remaining());
                    send_at_pace(&mut stream, data, false, &mut pace).await
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let _ = stream.send_trailers(trailers);
                    return;
                }
            },
            Some(Err(error)) => {
                let error: Box<dyn Error + Send + Sync> = error.into();
                tracing::debug!(error = %with_causes(&*error), "response cut off");
                return stream.send_reset(Reason::INTERNAL_ERROR);
            }
        };
        if sent.is_err() || end_stream_if_complete(&body, &mut stream) {
            return;
        }
    }
}

/// Ends the stream if the body is known to have ended, without another poll of the body. Returns whether it has ended.
fn end_stream_if_complete<B: Body>(body: &Pin<&mut B>, stream: &mut SendStream<Bytes>) -> bool {
    body.is_end_stream() && stream.send_data(Bytes::new(), true).is_ok()
}

/// Sends data as fast as the peer takes it, and ends the stream if `ends`.
///
/// # Errors
/// When the peer or the connection has ended the stream, or the peer takes nothing for a minute.
pub async fn send_data(
    stream: &mut SendStream<Bytes>,
    data: Bytes,
    ends: bool,
) -> Result<(), h2::Error> {
    send_at_pace(stream, data, ends, &mut Pace::new(MAX_STALL)).await
}

/// Sends pieces to a peer that must take them at this rate.
///
/// # Errors
/// When the peer or the connection has ended the stream, or the peer is slower.
pub async fn send_at_rate(
    stream: &mut SendStream<Bytes>,
    pieces: impl IntoIterator<Item = Bytes>,
    min_rate: MinRate,
) -> Result<(), h2::Error> {
    let mut pace = Pace::new(min_rate);
    for piece in pieces {
        send_at_pace(stream, piece, false, &mut pace).await?;
    }
    Ok(())
}

/// How long a peer may take nothing of what is sent before its stream is reset: longer than networks stall, and short enough
/// that peers which never read do not hold memory.
pub const MAX_STALL: MinRate = MinRate {
    bytes_per_second: 0,
    period: Duration::from_secs(60),
};

/// Does the same as [`send_data`] for a peer that must keep a pace.
async fn send_at_pace(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    ends: bool,
    pace: &mut Pace,
) -> Result<(), h2::Error> {
    while !data.is_empty() {
        let granted = capacity(stream, data.len(), pace).await?;
        let part = data.split_to(granted.min(data.len()));
        pace.progress(part.len());
        stream.send_data(part, ends && data.is_empty())?;
    }
    Ok(())
}

/// Waits until the peer takes at least one of `wanted` bytes, and returns how many it takes.
async fn capacity(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    pace: &mut Pace,
) -> Result<usize, h2::Error> {
    stream.reserve_capacity(wanted);
    if stream.capacity() > 0 {
        return Ok(stream.capacity());
    }
    pace.wait();
    let deadline = pace.deadline().unwrap_or_else(Instant::now);
    let granted = async {
        loop {
            match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(0)) => {}
                Some(granted) => return granted,
                None => return Err(Reason::CANCEL.into()),
            }
        }
    };
    let granted = tokio::time::timeout_at(deadline, granted).await;
    granted.unwrap_or_else(|_| {
        stream.send_reset(Reason::CANCEL);
        Err(Reason::CANCEL.into())
    })
}
