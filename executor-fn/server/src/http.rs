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
use http::{HeaderValue, Request, Response, header};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::{
    http2::{Exchange, Http2},
    preface,
};

/// How HTTP is served on the connections of a server.
#[derive(Clone, Debug)]
pub struct Http {
    /// How long the head of an HTTP/1 request may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may stay open before its first request; `None` is without limit.
    pub first_request_timeout: Option<Duration>,
}

impl Http {
    /// Serves HTTP/1 or HTTP/2 on a connection to its end, as the client's first bytes say. Once `stopping` is cancelled,
    /// requests under way are finished and no new ones are accepted.
    pub async fn serve_any<I, S, F, B, H, G>(
        &self,
        stream: I,
        peer: SocketAddr,
        (http1_service, http2): (S, (&Http2, H)),
        stopping: CancellationToken,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        H: Fn(Exchange) -> G,
        G: Future<Output = ()> + Send + 'static,
    {
        let detecting = async {
            tokio::select! {
                detected = preface::detect(stream) => detected.ok(),
                () = self.first_request_timeout() => None,
                () = linger_after(&stopping) => None,
            }
        };
        // Without a first byte there is nothing to serve.
        let Some((is_http2, stream)) = detecting.await else {
            return;
        };
        if is_http2 {
            let (settings, handler) = http2;
            let timeout = self.first_request_timeout;
            let serving = settings.serve(stream, peer, handler, timeout, stopping);
            return serving.await;
        }
        self.serve(stream, peer, http1_service, stopping).await;
    }

    /// Serves HTTP/1 on a connection to its end. Once `stopping` is cancelled, requests under way are finished and no new ones
    /// are accepted.
    pub async fn serve<I, S, F, B>(
        &self,
        stream: I,
        peer: SocketAddr,
        service: S,
        stopping: CancellationToken,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let has_request = Arc::new(AtomicBool::new(false));
        let (first, is_stopping) = (Arc::clone(&has_request), stopping.clone());
        let service = service_fn(move |request| {
            first.store(true, Ordering::Relaxed);
            let is_stopping = is_stopping.clone();
            service(request).map(move |mut response| {
                if is_stopping.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            })
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut stop = pin!(linger_after(&stopping).fuse());
        let mut first_request = pin!(self.first_request_timeout().fuse());
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = &mut stop => connection.as_mut().graceful_shutdown(),
                () = &mut first_request => if !has_request.load(Ordering::Relaxed) {
                    return;
                },
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = %with_causes(&error), "connection ended");
        }
    }

    async fn first_request_timeout(&self) {
        match self.first_request_timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    }
}

/// How long an idle connection stays open after a stop. A request may be on its way, or in a socket that has not been read:
/// closing at once would lose it. Its response then says `connection: close`.
const LINGER: Duration = Duration::from_millis(500);

async fn linger_after(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(LINGER).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::http2;

    fn http(first_request_timeout: Option<Duration>) -> Http {
        Http {
            header_timeout: Duration::from_secs(30),
            first_request_timeout,
        }
    }

    /// Sends `request` on a connection and returns everything that comes back until the server closes it.
    async fn exchange(http: &Http, request: &[u8]) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(1 << 16);
        let peer = ([127, 0, 0, 1], 1).into();
        let http1 = |_| async { Response::new("served".to_owned()) };
        let http2 = |Exchange { request, respond }| async move {
            http2::respond(
                request.method(),
                Response::new("served".to_owned()),
                respond,
            )
            .await;
        };
        let settings = Http2::default();
        let services = (http1, (&settings, http2));
        let serving = http.serve_any(server, peer, services, CancellationToken::new());
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

    #[tokio::test(start_paused = true)]
    async fn requests_of_http1_are_answered() {
        let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let response = exchange(&http(None), request).await;
        assert!(response.ends_with(b"served"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed_after_the_timeout() {
        let timeout = Duration::from_secs(30);
        for sent in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let start = tokio::time::Instant::now();
            exchange(&http(Some(timeout)), sent).await;
            assert_eq!(start.elapsed(), timeout, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_request_must_come_in_time() {
        let http = http(None);
        let start = tokio::time::Instant::now();
        exchange(&http, b"GET / HT").await;
        assert_eq!(start.elapsed(), http.header_timeout);
    }
}
