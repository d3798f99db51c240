//! A bound port -> HTTP/1.1 connections, each a task of its own, as many at once as the options allow.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use flowgate_proto::with_causes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use super::{Local, StartError, answer::Answer};

/// How long a connection may stay without a request: a little longer than a function may run (900 s), because a
/// runtime's connection is silent for as long as its function works.
const IDLE_TIMEOUT: Duration = Duration::from_secs(960);

/// A body that takes longer comes from a client that has gone.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// When the process has no file descriptor left, taking connections again at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

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
        S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
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
        S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(most));
        let room = || stopping.run_until_cancelled(Arc::clone(&places).acquire_owned());
        while let Some(Ok(place)) = room().await {
            match stopping.run_until_cancelled(self.socket.accept()).await {
                None => return,
                Some(Ok((stream, peer))) => {
                    let (stopping, service) = (stopping.clone(), service.clone());
                    tokio::spawn(async move {
                        let connection = connection(stream, peer, service);
                        stopping.run_until_cancelled(connection).await;
                        drop(place);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(address = %self.address, %error, "no connection taken");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

async fn connection<S, F>(stream: TcpStream, peer: SocketAddr, service: S)
where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, error = %with_causes(&error), "no TCP_NODELAY");
    }
    let service = service_fn(move |request| {
        let answer = service(request, peer);
        async { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, error = %with_causes(&error), "a connection ended early");
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
