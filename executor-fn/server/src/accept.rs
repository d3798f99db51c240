//! Accepts the connections of a listener, of which a limited number is open at once.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use flowgate_proto::with_causes;
use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::{
    open_connections::{OpenConnections, Registered, Usage},
    workers::Workers,
};

/// The pause after a failed `accept`. The usual cause is that the process has no file descriptor left, and trying again
/// at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How long a new connection waits for the end of others that are closed for it. Those of HTTP/1 end at once; a client of
/// HTTP/2 must answer first.
const MAX_EVICTION_WAIT: Duration = Duration::from_secs(1);

/// A listener together with the limit on its open connections.
#[derive(Debug)]
pub struct Incoming {
    socket: TcpListener,
    limit: Arc<Semaphore>,
    /// Permits of connections over the limit.
    reserve: Option<Arc<Semaphore>>,
    /// The connections that may be closed for others.
    open: Option<Arc<OpenConnections>>,
}

impl Incoming {
    /// Accepts from `socket`. Each connection holds one permit of `limit` while it is open; without a free permit, new
    /// connections wait in the system's queue. Listeners may share a limit.
    #[must_use]
    pub const fn new(socket: TcpListener, limit: Arc<Semaphore>) -> Self {
        Self {
            socket,
            limit,
            reserve: None,
            open: None,
        }
    }

    /// Also accepts connections over the limit, which hold a permit of `reserve` and are marked
    /// ([`Connection::is_over_limit`]), so that their clients get an error at once instead of waiting.
    #[must_use]
    pub fn with_reserve(self, reserve: Arc<Semaphore>) -> Self {
        Self {
            reserve: Some(reserve),
            ..self
        }
    }

    /// At the limit, closes idle and unfinished connections for new ones. `open` has those of all listeners that share the
    /// limit.
    #[must_use]
    pub fn with_eviction(self, open: Arc<OpenConnections>) -> Self {
        Self {
            open: Some(open),
            ..self
        }
    }

    /// Returns the limit for at most `max` connections, and at least one.
    #[must_use]
    pub fn limit(max: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS)))
    }

    /// Serves each connection by `serve`, as one of `tasks`, until `stopping` is cancelled. The socket closes then;
    /// connections that are open go on until their task ends.
    pub async fn serve<F>(
        self,
        stopping: CancellationToken,
        tasks: TaskTracker,
        mut serve: impl FnMut(Connection) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        while let Some(Some(connection)) = stopping.run_until_cancelled(self.accept()).await {
            tasks.spawn(serve(connection));
        }
    }

    /// Does the same as [`Incoming::serve`], but runs each connection on the worker with the fewest tasks.
    pub async fn serve_on<F>(
        self,
        workers: &Workers,
        stopping: CancellationToken,
        tasks: TaskTracker,
        serve: impl Fn(Connection) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let start = |moved: Moved| {
            let serve = serve.clone();
            workers.spawn(tasks.track_future(async move {
                if let Some(connection) = moved.join_runtime() {
                    serve(connection).await;
                }
            }));
        };
        while let Some(Some(connection)) = stopping.run_until_cancelled(self.accept()).await {
            connection.leave_runtime().into_iter().for_each(start);
        }
        self.take_waiting().into_iter().for_each(start);
    }

    /// Closes the socket, and returns the connections that wait in the system's queue: for their clients
    /// they are open, and closing the socket alone would reset them.
    fn take_waiting(self) -> Vec<Moved> {
        let Ok(socket) = self.socket.into_std() else {
            return Vec::new();
        };
        accept_all(|| {
            // Without a free permit the rest is reset, as it would be if the queue were full.
            let permit = Arc::clone(&self.limit).try_acquire_owned();
            let permit = permit.map_err(|_| io::ErrorKind::WouldBlock)?;
            let (stream, peer) = socket.accept()?;
            stream.set_nonblocking(true)?;
            Ok(Moved {
                stream,
                peer,
                is_over_limit: false,
                registered: None,
                permit,
            })
        })
    }

    /// Returns the connections as a stream that never ends by itself.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        stream::unfold(self, |incoming| async move {
            let connection = incoming.accept().await?;
            Some((Ok(connection), incoming))
        })
    }

    /// Waits until a permit is free, then for a connection. `None` when the limit is closed.
    async fn accept(&self) -> Option<Connection> {
        loop {
            // A listener without a client must not hold a permit, which the client of another could use.
            drop(self.permit().await?);
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let (permit, is_over_limit) = match self.make_room().await {
                        Some(permit) => (permit, false),
                        None => self.permit().await?,
                    };
                    let open = self.open.as_ref().filter(|_| !is_over_limit);
                    let connection = Connection::new(stream, peer, permit);
                    return Some(Connection {
                        is_over_limit,
                        registered: open.map(|open| open.register(peer)),
                        ..connection
                    });
                }
                Err(error) => {
                    let address = self.socket.local_addr().ok();
                    tracing::warn!(?address, error = %with_causes(&error), "cannot accept a connection");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    /// Takes a permit of the limit, for which it closes other connections if it must. `None` if no connection can be closed,
    /// or if none ends in time.
    async fn make_room(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.limit).try_acquire_owned() {
            return Some(permit);
        }
        self.open.as_ref().filter(|open| open.evict() > 0)?;
        let permit = Arc::clone(&self.limit).acquire_owned();
        tokio::time::timeout(MAX_EVICTION_WAIT, permit)
            .await
            .ok()?
            .ok()
    }

    /// Waits for a permit, and returns whether it is one of the reserve.
    async fn permit(&self) -> Option<(OwnedSemaphorePermit, bool)> {
        let limit = Arc::clone(&self.limit).acquire_owned();
        let Some(reserve) = &self.reserve else {
            return Some((limit.await.ok()?, false));
        };
        tokio::select! {
            biased;
            permit = limit => Some((permit.ok()?, false)),
            permit = Arc::clone(reserve).acquire_owned() => Some((permit.ok()?, true)),
        }
    }
}

/// The failures of `accept` after which the queue of a closing socket is given up: a failure may concern one connection of
/// it, such as one whose client has disconnected, or all of them.
const MAX_FAILED_ACCEPTS: usize = 128;

/// Accepts until nothing is waiting.
fn accept_all<T>(mut accept: impl FnMut() -> io::Result<T>) -> Vec<T> {
    let (mut accepted, mut failed) = (Vec::new(), 0);
    while failed < MAX_FAILED_ACCEPTS {
        match accept() {
            Ok(connection) => accepted.push(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => failed += 1,
        }
    }
    accepted
}

/// An accepted connection, which is open until it is dropped: also after a WebSocket has taken it over from HTTP.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    is_over_limit: bool,
    registered: Option<Registered>,
    /// Held while the connection is open.
    permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, error = %with_causes(&error), "cannot set TCP_NODELAY");
        }
        Self {
            stream,
            peer,
            is_over_limit: false,
            registered: None,
            permit,
        }
    }

    /// Where to note what the connection is used for.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let registered = self.registered.as_ref();
        registered.map(Registered::usage).unwrap_or_default()
    }

    /// Whether more connections are open than the limit allows.
    #[must_use]
    pub const fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }

    /// The address of the client.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Connection {
    /// Takes the connection out of the runtime that has accepted it. `None` if the operating system refuses, with the
    /// reason in the log.
    fn leave_runtime(self) -> Option<Moved> {
        Some(Moved {
            stream: log_error(self.stream.into_std(), self.peer)?,
            peer: self.peer,
            is_over_limit: self.is_over_limit,
            registered: self.registered,
            permit: self.permit,
        })
    }
}

/// A connection on its way from one runtime to another.
struct Moved {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    is_over_limit: bool,
    registered: Option<Registered>,
    permit: OwnedSemaphorePermit,
}

impl Moved {
    /// Puts the connection into the runtime in which this is called.
    fn join_runtime(self) -> Option<Connection> {
        Some(Connection {
            stream: log_error(TcpStream::from_std(self.stream), self.peer)?,
            peer: self.peer,
            is_over_limit: self.is_over_limit,
            registered: self.registered,
            permit: self.permit,
        })
    }
}

fn log_error<T>(result: io::Result<T>, peer: SocketAddr) -> Option<T> {
    let log = |error: &io::Error| tracing::warn!(%peer, error = %with_causes(error), "cannot serve a connection");
    result.inspect_err(log).ok()
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        (socket, address)
    }

    #[tokio::test]
    async fn connections_over_the_limit_wait_until_one_closes() {
        let (socket, address) = listener().await;
        let incoming = Incoming::new(socket, Incoming::limit(1));
        let _clients = (
            TcpStream::connect(address).await.expect("queued"),
            TcpStream::connect(address).await.expect("queued"),
        );
        let first = incoming.accept().await.expect("an open limit");
        let mut second = std::pin::pin!(incoming.accept());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        second.await.expect("an open limit");
    }

    #[tokio::test]
    async fn an_idle_listener_leaves_the_limit_to_the_others() {
        let (limit, reserve) = (Incoming::limit(1), Incoming::limit(1));
        let incoming =
            |socket| Incoming::new(socket, Arc::clone(&limit)).with_reserve(Arc::clone(&reserve));
        let ((idle, _), (busy, address)) = (listener().await, listener().await);
        let (idle, busy) = (incoming(idle), incoming(busy));
        let mut waiting = std::pin::pin!(idle.accept());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let mut clients = Vec::new();
        let mut connections = Vec::new();
        for is_over_limit in [false, true] {
            clients.push(TcpStream::connect(address).await.expect("queued"));
            let connection = busy.accept().await.expect("an open limit");
            assert_eq!(connection.is_over_limit(), is_over_limit);
            connections.push(connection);
        }
    }

    #[test]
    fn a_failed_accept_does_not_end_the_queue() {
        let aborted = || Err(io::ErrorKind::ConnectionAborted.into());
        let mut queue = vec![
            Ok(1),
            aborted(),
            Ok(2),
            Err(io::ErrorKind::WouldBlock.into()),
        ];
        queue.reverse();
        let next = || queue.pop().expect("not called after the end");
        assert_eq!(accept_all(next), [1, 2]);
        let for_ever = || Err::<(), _>(io::ErrorKind::OutOfMemory.into());
        assert!(accept_all(for_ever).is_empty());
    }

    #[tokio::test]
    async fn a_stop_closes_the_socket_and_leaves_open_connections_to_end() {
        let (socket, address) = listener().await;
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let finish = CancellationToken::new();
        let incoming = Incoming::new(socket, Incoming::limit(8));
        let (accepted, mut connections) = tokio::sync::mpsc::channel(1);
        let serving = tokio::spawn(incoming.serve(stopping.clone(), tasks.clone(), {
            let finish = finish.clone();
            move |connection| {
                let (accepted, finish) = (accepted.clone(), finish.clone());
                async move {
                    let _ = accepted.send(()).await;
                    finish.cancelled().await;
                    drop(connection);
                }
            }
        }));
        let _client = TcpStream::connect(address).await.expect("listening");
        connections.recv().await.expect("accepted");
        stopping.cancel();
        serving.await.expect("no panic");
        TcpStream::connect(address).await.expect_err("closed");
        assert_eq!(tasks.len(), 1);
        finish.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
