//! Serves HTTP on one connection until the client or the server ends it.

use std::{error::Error, future::Future, net::SocketAddr, time::Duration};

use http::{Request, Response};
use hyper::body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    activity::{Activity, Timeouts, wait_for_last_request},
    http1::{self, RequestBody},
    http2::{Exchange, Http2, sleep_until},
    open_connections::Usage,
    pace::MinRate,
    preface,
};

/// How HTTP is served on the connections of a server.
#[derive(Clone, Debug)]
pub struct Http {
    /// How long the head of an HTTP/1 request may take to arrive, from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may stay open before its first request; `None` is without limit.
    pub first_request_timeout: Option<Duration>,
    /// How long an HTTP/1 connection may stay open between two requests.
    pub idle_timeout: Duration,
    /// The least that a client must send of a body, or take of a response.
    pub min_rate: MinRate,
}

impl Http {
    /// Serves HTTP/1 or HTTP/2, whichever the client's first bytes belong to, on a connection to its end. Once `stopping`
    /// is cancelled, requests that the client has sent are finished; once `usage` is evicted too, of a connection that serves
    /// requests.
    pub async fn serve_any<I, S, F, B, H, G>(
        &self,
        stream: I,
        peer: SocketAddr,
        (http1_service, http2): (S, (&Http2, H)),
        (usage, stopping): (Usage, CancellationToken),
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
        H: Fn(Exchange) -> G,
        G: Future<Output = ()> + Send + 'static,
    {
        let timeout = self.first_request_timeout;
        let first_request_until = timeout.map(|timeout| Instant::now() + timeout);
        let detecting = async {
            tokio::select! {
                detected = preface::detect(stream) => detected.ok(),
                () = sleep_until(first_request_until) => None,
                () = wait_for_last_request(&stopping) => None,
            }
        };
        // Without a first byte there is nothing to serve.
        let Some((is_http2, stream)) = detecting.await else {
            return;
        };
        if is_http2 {
            let (settings, handler) = http2;
            let ends = (first_request_until, usage, stopping);
            let serving = settings.serve(stream, peer, handler, ends);
            return serving.await;
        }
        let activity = Activity::new(self.timeouts(), usage, true);
        http1::serve(stream, peer, activity, http1_service, stopping).await;
    }

    /// Serves HTTP/1 on a connection to its end. Once `stopping` is cancelled, requests that the client has sent are
    /// finished.
    pub async fn serve<I, S, F, B>(
        &self,
        stream: I,
        peer: SocketAddr,
        service: S,
        stopping: CancellationToken,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Fn(Request<RequestBody>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let activity = Activity::new(self.timeouts(), Usage::default(), false);
        http1::serve(stream, peer, activity, service, stopping).await;
    }

    const fn timeouts(&self) -> Timeouts {
        Timeouts {
            header: self.header_timeout,
            first_request: self.first_request_timeout,
            idle: self.idle_timeout,
            min_rate: self.min_rate,
        }
    }
}

#[cfg(test)]
mod tests;
