//! One connection, HTTP/1 or HTTP/2 as the client begins it -> requests for the dispatch.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use futures_util::FutureExt as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::dispatch::Dispatch;

/// A request's head comes in one go from any honest client, and the first one soon after the connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// An HTTP/2 connection whose client has silently gone is noticed within about a minute.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(45);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);

/// Requests of one connection at once: as many as Jina's own default `prefetch`.
const MAX_STREAMS: u32 = 1000;

/// Flow control windows: a few large documents in flight must not wait for a round trip each.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Serves a connection in plain text; which HTTP it speaks is told by how it begins.
pub(super) async fn serve_plain(
    stream: TcpStream,
    peer: SocketAddr,
    dispatch: Arc<Dispatch>,
    stopping: CancellationToken,
) {
    serve(builder(), stream, peer, dispatch, stopping).await;
}

/// Serves a connection over TLS, where the handshake has told which HTTP it speaks.
pub(super) async fn serve_tls(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    dispatch: Arc<Dispatch>,
    stopping: CancellationToken,
) {
    let builder = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => builder().http2_only(),
        _ => builder().http1_only(),
    };
    serve(builder, stream, peer, dispatch, stopping).await;
}

/// Serves a connection to its end. When told to stop, requests under way are finished and no new ones taken.
async fn serve(
    builder: Builder,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    dispatch: Arc<Dispatch>,
    stopping: CancellationToken,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let first = Arc::clone(&asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        first.store(true, Ordering::Relaxed);
        let dispatch = Arc::clone(&dispatch);
        async move { Ok::<_, Infallible>(dispatch.respond(request.map(Body::new)).await) }
    });
    let mut connection =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut stop = pin!(stopping.cancelled().fuse());
    let mut patience = pin!(tokio::time::sleep(HEADER_TIMEOUT).fuse());
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = &mut stop => connection.as_mut().graceful_shutdown(),
            () = &mut patience => if !asked.load(Ordering::Relaxed) {
                return tracing::debug!(%peer, "a connection asked for nothing");
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

type Builder = auto::Builder<TokioExecutor>;

fn builder() -> Builder {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        // A gRPC client would find it among the trailing metadata of every error.
        .auto_date_header(false)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
