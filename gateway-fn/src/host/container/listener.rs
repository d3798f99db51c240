//! A bound port -> connections, each served by a task of its own.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection, dispatch::Dispatch};
use crate::config::{Limits, Protocol};

/// A TLS handshake that takes longer is a client that has gone or means harm.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// When the process has no file descriptor left, taking connections again at once would only spin.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// One port of the Gateway.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    protocols: Vec<Protocol>,
    dispatch: Dispatch,
    tls: Option<TlsAcceptor>,
    /// One permit for each open connection.
    connections: Arc<Semaphore>,
}

impl Listener {
    pub(super) async fn bind(
        host: &str,
        port: u16,
        dispatch: Dispatch,
        protocols: Vec<Protocol>,
        tls: Option<TlsAcceptor>,
        limits: &Limits,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind((host, port)).await?;
        let address = socket.local_addr()?;
        let connections = Arc::new(Semaphore::new(limits.max_connections));
        Ok(Self {
            socket,
            address,
            protocols,
            dispatch,
            tls,
            connections,
        })
    }

    pub(super) fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections until told to stop; each runs on as one of `tasks`.
    pub(super) async fn serve(self, stopping: CancellationToken, tasks: TaskTracker) {
        let this = Arc::new(self);
        while let Some(Ok(permit)) = stopping
            .run_until_cancelled(Arc::clone(&this.connections).acquire_owned())
            .await
        {
            match stopping.run_until_cancelled(this.socket.accept()).await {
                None => return,
                Some(Ok((stream, peer))) => {
                    let (this, stopping) = (Arc::clone(&this), stopping.clone());
                    tasks.spawn(async move {
                        this.connection(stream, peer, stopping).await;
                        drop(permit);
                    });
                }
                Some(Err(error)) => {
                    tracing::warn!(address = %this.address, error = &error as &dyn std::error::Error, "no connection taken");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, stopping: CancellationToken) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "no TCP_NODELAY");
        }
        let Some(tls) = &self.tls else {
            return connection::serve(stream, peer, self.dispatch.clone(), stopping).await;
        };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                connection::serve(stream, peer, self.dispatch.clone(), stopping).await
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
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
