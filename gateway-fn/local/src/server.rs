//! Serves HTTP/1.1 on a bound port, and reads the bodies of requests and responses.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use bytes::Bytes;
use flowgate_server::{Connection, Http, Incoming, MinRate, http1::RequestBody};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{options::StartError, response::Response};

/// How long a connection may stay open without a request: a little longer than a function may run (900 s), because a
/// runtime's connection is silent while its function works.
const IDLE_TIMEOUT: Duration = Duration::from_secs(960);

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

static HTTP: LazyLock<Http> = LazyLock::new(|| Http {
    header_timeout: IDLE_TIMEOUT,
    first_request_timeout: None,
    idle_timeout: IDLE_TIMEOUT,
    min_rate: MinRate {
        bytes_per_second: 0,
        period: BODY_TIMEOUT,
    },
});

/// A bound port that is not served yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn bind(host: IpAddr, port: u16) -> Result<Self, StartError> {
        let address = SocketAddr::new(host, port);
        let bind_error = |source| StartError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Self { listener, address })
    }

    /// Handles every request with `handler` until `stopping` is cancelled, which also drops the open connections. An
    /// open WebSocket counts as a connection.
    pub(crate) async fn serve<S, F>(
        self,
        max_connections: usize,
        stopping: CancellationToken,
        handler: S,
    ) where
        S: Fn(Request<RequestBody>, SocketAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let incoming = Incoming::new(self.listener, Incoming::limit(max_connections));
        let stop_accepting = stopping.clone();
        let serve_connection = move |connection: Connection| {
            let (client, handler) = (connection.peer(), handler.clone());
            let (stopping, never) = (stopping.clone(), CancellationToken::new());
            async move {
                let handler = move |request| handler(request, client);
                let serving = HTTP.serve(connection, client, handler, never);
                stopping.run_until_cancelled(serving).await;
            }
        };
        let tasks = TaskTracker::new();
        incoming
            .serve(stop_accepting, tasks, serve_connection)
            .await;
    }
}

/// Reads a body of up to `max_bytes`.
///
/// # Errors
///
/// The status of the error response: 413 if the body is too large, 400 if it is truncated, 408 if it is too slow.
pub(crate) async fn read_body<B>(body: B, max_bytes: usize) -> Result<Bytes, StatusCode>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let collected = Limited::new(body, max_bytes).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
