//! A bound port -> HTTP/1.1 connections, each a task of its own, as many at once as the options allow.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use bytes::Bytes;
use flowgate_server::{Connection, Http, Http2, Incoming, Versions};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Incoming as RequestBody};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Local, StartError, answer::Answer};

/// How long a connection may stay without a request: a little longer than a function may run (900 s), because a
/// runtime's connection is silent for as long as its function works.
const IDLE_TIMEOUT: Duration = Duration::from_secs(960);

/// How the emulator serves HTTP: as API Gateway, without HTTP/2 in plain text.
static HTTP: LazyLock<Http> = LazyLock::new(|| Http {
    header_timeout: IDLE_TIMEOUT,
    first_request_timeout: None,
    http2: Http2::default(),
});

/// A body that takes longer comes from a client that has gone.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A port that is bound and not yet served.
#[derive(Debug)]
pub(super) struct Server {
    socket: TcpListener,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) async fn bind(host: IpAddr, port: u16) -> Result<Self, StartError> {
        let address = SocketAddr::new(host, port);
        let failed = |source| StartError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// Answers every request by `service` until the whole stops.
    pub(super) fn serve<S, F>(
        self,
        most: usize,
        local: &Local,
        service: S,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        S: Fn(Request<RequestBody>, SocketAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        self.serve_until(most, local.stopping.clone(), service)
    }

    /// Answers every request by `service` until `stopping` comes true, which also cuts the connections off.
    pub(super) async fn serve_until<S, F>(
        self,
        most: usize,
        stopping: CancellationToken,
        service: S,
    ) where
        S: Fn(Request<RequestBody>, SocketAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let incoming = Incoming::new(self.socket, Incoming::limit(most));
        let stop = stopping.clone();
        let serve = move |connection: Connection| {
            let (peer, service) = (connection.peer(), service.clone());
            let (stopping, never) = (stopping.clone(), CancellationToken::new());
            async move {
                let service = move |request| service(request, peer);
                let connection = HTTP.serve(connection, peer, Versions::Http1, service, never);
                stopping.run_until_cancelled(connection).await;
            }
        };
        incoming.serve(stop, TaskTracker::new(), serve).await;
    }
}

/// Reads a body of at most so many bytes.
///
/// # Errors
///
/// The status to refuse it with: 413 for a longer one, 400 for one that breaks off, 408 for one that does not come.
pub(super) async fn body<B>(body: B, most: usize) -> Result<Bytes, StatusCode>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let whole = Limited::new(body, most).collect();
    match tokio::time::timeout(BODY_TIMEOUT, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}
