//! Serves HTTP on one connection until the client or the server ends it.

use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
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
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The versions of HTTP that a connection may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/1 or HTTP/2, as the client's first bytes say.
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
    /// The largest number of concurrent requests on one connection.
    pub max_concurrent_streams: u32,
    /// Flow control window of a request, in bytes.
    pub stream_window: u32,
    /// Flow control window of a connection, in bytes.
    pub connection_window: u32,
}

impl Default for Http2 {
    /// A client that has disconnected without a close is noticed within about a minute. 1000 requests of a connection are
    /// Jina's default `prefetch`. The windows have room for a few large documents, which would otherwise wait for a round
    /// trip each.
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
        let stream = TokioIo::new(stream);
        let ended = match versions {
            Versions::Http1 => {
                let connection = self.http1().serve_connection(stream, service);
                let connection = connection.with_upgrades();
                let ended = self.finish(
                    connection,
                    |connection| connection.graceful_shutdown(),
                    &has_request,
                    stopping,
                );
                ended.await.map_err(Into::into)
            }
            Versions::Any => {
                let builder = self.any();
                let connection = builder.serve_connection_with_upgrades(stream, service);
                let ended = self.finish(
                    connection,
                    |connection| connection.graceful_shutdown(),
                    &has_request,
                    stopping,
                );
                ended.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = %with_causes(&*error), "connection ended");
        }
    }

    /// Waits until the connection has ended: by itself, by a stop, or because no request came in time.
    async fn finish<C: Future<Output = Result<(), E>>, E>(
        &self,
        connection: C,
        shut_down: impl Fn(Pin<&mut C>),
        has_request: &AtomicBool,
        stopping: CancellationToken,
    ) -> Result<(), E> {
        let mut connection = pin!(connection);
        let mut stop = pin!(stopping.cancelled().fuse());
        let mut first_request = pin!(self.first_request_timeout().fuse());
        loop {
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = &mut stop => shut_down(connection.as_mut()),
                () = &mut first_request => if !has_request.load(Ordering::Relaxed) {
                    return Ok(());
                },
            }
        }
    }

    async fn first_request_timeout(&self) {
        match self.first_request_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout);
        builder
    }

    fn any(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout);
        let http2 = self.http2;
        builder
            .http2()
            .timer(TokioTimer::new())
            // A gRPC client would find the header `date` among the trailing metadata of every error.
            .auto_date_header(false)
            .keep_alive_interval(http2.keep_alive_interval)
            .keep_alive_timeout(http2.keep_alive_timeout)
            .max_concurrent_streams(http2.max_concurrent_streams)
            .initial_stream_window_size(http2.stream_window)
            .initial_connection_window_size(http2.connection_window);
        builder
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn http(first_request_timeout: Option<Duration>) -> Http {
        Http {
            header_timeout: Duration::from_secs(30),
            first_request_timeout,
            http2: Http2::default(),
        }
    }

    /// Sends `request` on a connection and returns everything that comes back until the server closes it.
    async fn exchange(http: &Http, versions: Versions, request: &[u8]) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let peer = ([127, 0, 0, 1], 1).into();
        let service = |_| async { Response::new("served".to_owned()) };
        let serving = http.serve(server, peer, versions, service, CancellationToken::new());
        let (mut response, (mut reader, mut writer)) = (Vec::new(), tokio::io::split(client));
        let client = async {
            writer.write_all(request).await.expect("the server reads");
            reader
                .read_to_end(&mut response)
                .await
                .expect("the server closes");
        };
        tokio::join!(serving, client);
        response
    }

    const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn http2_is_refused_where_only_http1_is_spoken() {
        let http = http(None);
        let response = exchange(&http, Versions::Http1, HTTP2_PREFACE).await;
        let response = String::from_utf8_lossy(&response);
        assert!(!response.contains("served"), "{response}");
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let response = exchange(&http, Versions::Http1, request).await;
        assert!(response.ends_with(b"served"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed_after_the_timeout() {
        let timeout = Duration::from_secs(30);
        for versions in [Versions::Http1, Versions::Any] {
            let start = tokio::time::Instant::now();
            exchange(&http(Some(timeout)), versions, b"").await;
            assert_eq!(start.elapsed(), timeout);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_request_must_come_in_time() {
        let http = http(None);
        let start = tokio::time::Instant::now();
        exchange(&http, Versions::Http1, b"GET / HT").await;
        assert_eq!(start.elapsed(), http.header_timeout);
    }
}
