//! The echo Executor of the bench. It returns each request with its own route added and never decodes a document, so
//! that it takes as little as possible of the CPU that it shares with the Gateway.

mod answer;
mod services;

use std::{
    convert::Infallible,
    io,
    net::{TcpListener, TcpStream},
    thread,
};

use http_body_util::Either;
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{runtime, sync::mpsc};
use tonic::service::Routes;
use tower::ServiceExt as _;

use answer::Answer;

/// The method that carries the load. All others are answered by tonic.
const DATA_METHOD: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// The connections that a thread has not taken yet.
const MAX_WAITING_CONNECTIONS: usize = 128;

/// The same windows for all peers: large enough that flow control does not interrupt a message of the bench.
const WINDOW_BYTES: u32 = 16 << 20;

/// Serves until the process ends, on this number of threads. Each has a runtime and connections of its own.
///
/// # Errors
/// When a connection cannot be accepted, or a runtime cannot be started.
pub fn serve(listener: &TcpListener, threads: usize) -> io::Result<()> {
    let workers = (0..threads)
        .map(|_| start_worker())
        .collect::<io::Result<Vec<_>>>()?;
    for worker in workers.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        worker.blocking_send(stream).map_err(io::Error::other)?;
    }
    Ok(())
}

fn start_worker() -> io::Result<mpsc::Sender<TcpStream>> {
    let (sender, mut streams) = mpsc::channel(MAX_WAITING_CONNECTIONS);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async move {
            let routes = services::routes();
            while let Some(stream) = streams.recv().await {
                tokio::spawn(serve_connection(stream, routes.clone()));
            }
        });
    });
    Ok(sender)
}

async fn serve_connection(stream: TcpStream, routes: Routes) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else {
        return;
    };
    let service = service_fn(move |request| respond(request, routes.clone()));
    // A peer that disconnects ends its connection with an error, which is no fault of the bench.
    let _disconnected = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(1 << 20)
        .max_concurrent_streams(2000)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn respond(
    request: Request<Incoming>,
    routes: Routes,
) -> Result<Response<Either<Answer, tonic::body::Body>>, Infallible> {
    if request.uri().path() == DATA_METHOD {
        return Ok(answer::echo(request).await.map(Either::Left));
    }
    let response = routes.oneshot(request.map(tonic::body::Body::new)).await?;
    Ok(response.map(Either::Right))
}
