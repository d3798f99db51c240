//! Opens TCP and TLS connections to an address of a host, whose name is resolved anew for each.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    host::{AddressError, Host},
    tls::ClientTls,
};

/// The share of the time to connect that the resolver gets if an address is known from before.
const MAX_RESOLVE_TIME: Duration = Duration::from_secs(2);

/// How long a connection may be silent before the kernel probes it, and how long sent bytes may stay unacknowledged. This
/// detects a peer that has disappeared without a close. It needs no HTTP/2 pings, of which gRPC servers accept few.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a replica is: at one of the addresses of its host. Clones share which one it is.
#[derive(Clone)]
pub struct Address {
    host: Arc<Host>,
    tls: Option<(ClientTls, ServerName<'static>)>,
    /// The address; `None` until a connection of the replica was open.
    pin: Arc<Mutex<Option<SocketAddr>>>,
    /// The next one of the addresses that is tried first, while there is no such address.
    turn: Arc<AtomicUsize>,
}

/// Why a connection cannot be made. Clones are for the calls that waited for the same one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name cannot be resolved.
    #[error("cannot resolve {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        source: Arc<io::Error>,
    },
    /// No address of the peer accepts connections.
    #[error("cannot connect to {address}: {source}")]
    Tcp {
        /// The address that was tried last.
        address: SocketAddr,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The peer speaks no TLS, or its certificate is not accepted.
    #[error("TLS failed: {0}")]
    Tls(Arc<io::Error>),
    /// The peer does not speak HTTP/2.
    #[error("the peer does not speak gRPC: {0}")]
    Http2(Arc<h2::Error>),
    /// The peer closed the connection before it answered.
    #[error("the peer closed the connection at once")]
    Closed,
    /// The peer allows no requests on its connection, for longer than it may.
    #[error("the peer accepts no requests: its HTTP/2 setting MAX_CONCURRENT_STREAMS is 0")]
    NoStreams,
    /// The peer took too long.
    #[error("the peer did not accept the connection in time")]
    TimedOut,
}

/// A plain or encrypted stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Address {
    /// Returns an address of a host, with or without TLS. Which one it is, if the host has several,
    /// is decided when a connection is opened.
    ///
    /// # Errors
    /// When the name of the host cannot be in a certificate, if there is TLS.
    pub fn new(host: Arc<Host>, tls: Option<ClientTls>) -> Result<Self, AddressError> {
        let tls = match tls {
            None => None,
            Some(tls) => {
                let name = ServerName::try_from(host.name().to_owned());
                Some((tls, name.map_err(|_| AddressError)?))
            }
        };
        let pin = host.literal();
        Ok(Self {
            host,
            tls,
            pin: Arc::new(Mutex::new(pin)),
            turn: Arc::default(),
        })
    }

    /// Returns another address of the same host: this one, or `None` for any.
    #[must_use]
    pub fn sibling(&self, address: Option<SocketAddr>) -> Self {
        Self {
            pin: Arc::new(Mutex::new(address)),
            turn: Arc::default(),
            ..self.clone()
        }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Which address of the host it is, if that is decided.
    #[must_use]
    pub fn pin(&self) -> Option<SocketAddr> {
        *self.pin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides which address it is, unless that is no longer what it was at the start of an attempt: another attempt has
    /// decided it meanwhile. Returns the one that it is now.
    pub(super) fn set_pin(&self, before: Option<SocketAddr>, opened: SocketAddr) -> SocketAddr {
        let mut pin = self.pin.lock().unwrap_or_else(PoisonError::into_inner);
        match *pin {
            Some(decided) if *pin != before => decided,
            _ => {
                if pin.replace(opened) != Some(opened) {
                    self.host.note_change();
                }
                opened
            }
        }
    }

    /// The scheme of its URLs.
    pub(super) const fn scheme(&self) -> http::uri::Scheme {
        match self.tls {
            Some(_) => http::uri::Scheme::HTTPS,
            None => http::uri::Scheme::HTTP,
        }
    }

    /// Resolves the host anew and returns the addresses to try: the one that it is (`pin`), while the host still has that
    /// one. If the resolver does not answer, the last address is as good as any.
    pub(super) async fn candidates(
        &self,
        pin: Option<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ConnectError> {
        let resolving = self.host.resolve();
        let addresses = match pin {
            None => resolving.await.map_err(|source| ConnectError::Resolve {
                host: self.host.name().to_owned(),
                source: source.into(),
            })?,
            Some(pin) => match tokio::time::timeout(MAX_RESOLVE_TIME, resolving).await {
                Ok(Ok(addresses)) if !addresses.contains(&pin) => addresses,
                _ => return Ok(vec![pin]),
            },
        };
        let mut addresses = addresses.to_vec();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1);
        addresses.rotate_left(turn);
        Ok(addresses)
    }

    /// Opens a connection to one address of the host.
    pub(super) async fn connect(
        &self,
        address: SocketAddr,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = connect_tcp(address).await;
        let stream = stream.map_err(|source| ConnectError::Tcp {
            address,
            source: source.into(),
        })?;
        let Some((tls, name)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let config = tls.config().map_err(|error| {
            let error = io::Error::other(error);
            ConnectError::Tls(error.into())
        })?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name.clone(), stream).await;
        Ok(Box::new(
            stream.map_err(|error| ConnectError::Tls(error.into()))?,
        ))
    }
}

async fn connect_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    set_options(&stream)?;
    Ok(stream)
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_TIME)
        .with_interval(KEEP_ALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Address")
            .field("authority", self.host.authority())
            .field("address", &self.pin())
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_notices_a_peer_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = connect_tcp(address).await.expect("a connection");
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().expect("an option"));
        assert!(socket.keepalive().expect("an option"));
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().ok(), Some(KEEP_ALIVE_TIME));
            let interval = socket.tcp_keepalive_interval().ok();
            assert_eq!(interval, Some(KEEP_ALIVE_INTERVAL));
            assert_eq!(socket.tcp_user_timeout().ok(), Some(Some(USER_TIMEOUT)));
        }
    }
}
