//! Serves HTTP/1 on one connection.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use flowgate_proto::with_causes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1::{Builder, UpgradeableConnection},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::{Activity, Evict, Reason},
    framing,
    pace::MinRate,
    paced_body::PacedBody,
    watched::Watched,
};

/// The body of an HTTP/1 request.
pub type RequestBody = PacedBody<Incoming>;

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves a connection to its end. Once `stopping` is cancelled, requests that the client has sent are finished.
pub(crate) async fn serve<I, S, F, B>(
    stream: I,
    peer: SocketAddr,
    activity: Activity,
    service: S,
    stopping: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let min_rate = activity.min_rate();
    let connection = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (connection, service) = (connection.clone(), service.clone());
        answer(request, connection, min_rate, service).map(Ok::<_, Infallible>)
    });
    let stream = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut builder = Builder::new();
    // hyper's timeout would also run between requests; `activity` has a deadline for each phase.
    builder.header_read_timeout(None);
    let connection = builder.serve_connection(stream, service).with_upgrades();
    let shut_down = UpgradeableConnection::graceful_shutdown;
    if let Err(error) = finish(connection, shut_down, &activity, stopping).await {
        tracing::debug!(%peer, error = %with_causes(&*error), "connection ended");
    }
    // An upgraded connection goes on without this task.
    activity.end_phases();
}

/// Waits until the connection has ended: by itself, by a stop, or because a deadline of its activity has passed.
async fn finish<C>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    activity: &Activity,
    stopping: CancellationToken,
) -> Result<(), BoxError>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let mut stop = pin!(stopping.cancelled().fuse());
    let usage = activity.usage();
    let mut evicted = pin!(usage.evicted().fuse());
    let mut timer = pin!(tokio::time::sleep(A_DAY));
    poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            activity.stop();
        }
        if evicted.as_mut().poll(cx).is_ready() {
            match activity.evict() {
                Evict::Later => {}
                Evict::Gracefully => shut_down(connection.as_mut()),
                Evict::Now => return Poll::Ready(Err(io::Error::from(Reason::Evicted).into())),
            }
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map_err(Into::into));
            }
            match ready!(poll_deadline(activity, timer.as_mut(), cx)) {
                Reason::Idle => {
                    activity.close_idle();
                    shut_down(connection.as_mut());
                }
                // The socket writes the answer itself ([`Watched`]).
                Reason::Head if activity.end_late_head() => {}
                reason => return Poll::Ready(Err(io::Error::from(reason).into())),
            }
        }
    })
    .await
}

/// Later than any deadline of an ordinary server.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Completes when a deadline has passed. A deadline that is moved to a later time does not reset the timer, because that
/// would cost more with each request than an early wake-up.
fn poll_deadline(
    activity: &Activity,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Reason> {
    while let Some((deadline, reason)) = activity.deadline() {
        if timer.is_elapsed() || deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        if deadline <= Instant::now() {
            return Poll::Ready(reason);
        }
    }
    Poll::Pending
}

/// Answers a request with the service, and reports the beginning and the end to the connection.
async fn answer<F, B>(
    request: Request<Incoming>,
    connection: Activity,
    min_rate: MinRate,
    service: impl FnOnce(Request<RequestBody>) -> F,
) -> Response<ResponseBody<B>>
where
    F: Future<Output = Response<B>>,
{
    let may_have_content_length = connection.begin_request();
    let is_ambiguous = framing::is_ambiguous(&request, may_have_content_length);
    let body_connection = connection.clone();
    let request = request.map(|body| {
        let body = PacedBody::new(body, min_rate);
        body.of_connection(body_connection)
    });
    let end = EndReport(connection);
    if is_ambiguous {
        let mut response = Response::new(ResponseBody {
            inner: None,
            _end: end,
        });
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    }
    let mut response = service(request).await;
    if end.0.is_stopping() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response.map(|body| ResponseBody {
        inner: Some(body),
        _end: end,
    })
}

/// The body of a response, whose end is reported to its connection.
#[derive(Debug)]
struct ResponseBody<B> {
    /// `None` is empty.
    inner: Option<B>,
    /// Reports when it is dropped.
    _end: EndReport,
}

#[derive(Debug)]
struct EndReport(Activity);

impl Drop for EndReport {
    fn drop(&mut self) {
        self.0.end_response();
    }
}

impl<B: Body + Unpin> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
