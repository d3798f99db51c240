//! A bound port -> connections, each served by a task of its own.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use flowgate_config::Protocol;
use flowgate_proto::with_causes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection, dispatch::Dispatch};

/// A TLS handshake that takes longer is a client that has gone or means harm.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// When the process has no file descriptor left, taking connections again at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// One port of the Gateway.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) protocols: Vec<Protocol>,
    pub(super) door: Door,
    /// One permit for each connection that may still be opened, on all ports together.
    pub(super) connections: Arc<Semaphore>,
}

/// What every connection of a port goes through. It does not hold the socket, which closes when no more connections
/// are taken, however long those that were taken go on.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Takes connections until told to stop; each runs on as one of `tasks`.
    pub(super) async fn serve(self, stopping: CancellationToken, tasks: TaskTracker) {
        let room = || stopping.run_until_cancelled(Arc::clone(&self.connections).acquire_owned());
        while let Some(Ok(permit)) = room().await {
            match stopping.run_until_cancelled(self.socket.accept()).await {
                None => return,
                Some(Ok((stream, peer))) => {
                    let (door, stopping) = (self.door.clone(), stopping.clone());
                    tasks.spawn(async move {
                        door.open(stream, peer, stopping).await;
                        drop(permit);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(address = %self.address, error = %with_causes(&error), "no connection taken");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

impl Door {
    async fn open(self, stream: TcpStream, peer: SocketAddr, stopping: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, error = %with_causes(&error), "no TCP_NODELAY");
        }
        let Self { dispatch, tls } = self;
        let Some(tls) = tls else {
            return connection::serve_plain(stream, peer, dispatch, stopping).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
        match stopping.run_until_cancelled(handshake).await {
            None => {}
            Some(Ok(Ok(stream))) => {
                connection::serve_tls(stream, peer, dispatch, stopping).await;
            }
            Some(Ok(Err(error))) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
    }
}

impl fmt::Debug for Listener {
    /// Without the TLS acceptor, which holds the private key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Listener")
            .field("address", &self.address)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}
