//! Serves HTTP on one connection until the client or the server ends it.

use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flowgate_proto::with_causes;
use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The versions of HTTP that a connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2, from the first byte on.
    Http2,
    /// Either, as the client's first bytes say.
    Any,
}

/// How HTTP is served on the connections of a server.
#[derive(Clone, Debug)]
pub struct Http {
    /// How long the head of an HTTP/1 request may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may stay open before its first request; `None` is without limit.
    pub first_request_timeout: Option<Duration>,
    /// The settings of HTTP/2 connections.
    pub http2: Http2,
}

/// The settings of HTTP/2 connections.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// How long a connection may be silent before it is pinged.
    pub keep_alive_interval: Duration,
    /// How long the answer to a ping may take.
    pub keep_alive_timeout: Duration,
    /// Requests of one connection at once.
    pub max_concurrent_streams: u32,
    /// Flow control window of a request, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
}

impl Default for Http2 {
    /// A client that is silently gone is noticed within about a minute. 1000 requests of a connection are as many as
    /// Jina's own default `prefetch`. The windows hold a few large documents, which would otherwise wait for a round trip
    /// each.
    fn default() -> Self {
        Self {
            keep_alive_interval: Duration::from_secs(45),
            keep_alive_timeout: Duration::from_secs(15),
            max_concurrent_streams: 1000,
            stream_window: 4 << 20,
            connection_window: 16 << 20,
        }
    }
}

impl Http {
    /// Serves a connection to its end. Once `stopping` is cancelled, requests under way are finished and no new ones are
    /// accepted.
    pub async fn serve<I, S, F, B>(
        &self,
        stream: I,
        peer: SocketAddr,
        versions: Versions,
        service: S,
        stopping: CancellationToken,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let has_request = Arc::new(AtomicBool::new(false));
        let first = Arc::clone(&has_request);
        let service = service_fn(move |request| {
            first.store(true, Ordering::Relaxed);
            service(request).map(Ok::<_, std::convert::Infallible>)
        });
        let builder = self.builder(versions);
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut stop = pin!(stopping.cancelled().fuse());
        let mut first_request = pin!(self.first_request_timeout().fuse());
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = &mut stop => connection.as_mut().graceful_shutdown(),
                () = &mut first_request => if !has_request.load(Ordering::Relaxed) {
                    return tracing::debug!(%peer, "closed a connection without a request");
                },
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = %with_causes(&*error), "connection ended");
        }
    }

    async fn first_request_timeout(&self) {
        match self.first_request_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    }

    fn builder(&self, versions: Versions) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout);
        let http2 = self.http2;
        builder
            .http2()
            .timer(TokioTimer::new())
            // A gRPC client would find it among the trailing metadata of every error.
            .auto_date_header(false)
            .keep_alive_interval(http2.keep_alive_interval)
            .keep_alive_timeout(http2.keep_alive_timeout)
            .max_concurrent_streams(http2.max_concurrent_streams)
            .initial_stream_window_size(http2.stream_window)
            .initial_connection_window_size(http2.connection_window);
        match versions {
            Versions::Http1 => builder.http1_only(),
            Versions::Http2 => builder.http2_only(),
            Versions::Any => builder,
        }
    }
}
