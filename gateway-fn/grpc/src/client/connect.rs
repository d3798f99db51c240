//! Opens TCP and TLS connections to an address, whose name is resolved anew for each.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::uri::Authority;
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;

/// A replica that does not accept a connection within this time is treated as unreachable. It is far longer than a healthy
/// network needs, and short enough that attempts at other replicas still help the client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may be silent before the kernel probes it, and how long sent bytes may stay unacknowledged. This
/// detects a peer that has disappeared without a close. It needs no HTTP/2 pings, of which gRPC servers accept few.
const KEEP_ALIVE_TIME: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a replica is.
#[derive(Clone)]
pub struct Address {
    authority: Authority,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The next one of the addresses to which the name resolves.
    turn: Arc<AtomicUsize>,
}

/// Why an address is invalid.
#[derive(Debug, thiserror::Error)]
#[error("expected host:port")]
pub struct AddressError;

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
    /// Returns the address `host:port`, with TLS if there is a configuration for it.
    ///
    /// # Errors
    /// When the text is not `host:port`.
    pub fn new(authority: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, AddressError> {
        let authority: Authority = authority.parse().map_err(|_| AddressError)?;
        let port = authority.port_u16().ok_or(AddressError)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let tls = match tls {
            None => None,
            Some(config) => Some((
                config,
                ServerName::try_from(host).map_err(|_| AddressError)?,
            )),
        };
        Ok(Self {
            authority,
            port,
            tls,
            turn: Arc::default(),
        })
    }

    /// The scheme of its URLs.
    pub(super) const fn scheme(&self) -> http::uri::Scheme {
        match self.tls {
            Some(_) => http::uri::Scheme::HTTPS,
            None => http::uri::Scheme::HTTP,
        }
    }

    /// `host:port`.
    pub(super) const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect_without_timeout());
        connecting.await.unwrap_or(Err(ConnectError::TimedOut))
    }

    async fn connect_without_timeout(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = self.connect_tcp().await?;
        let Some((config, name)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name.clone(), stream).await;
        Ok(Box::new(
            stream.map_err(|error| ConnectError::Tls(error.into()))?,
        ))
    }

    /// Connects to one of the addresses to which the name resolves. Each connection tries them in another order.
    async fn connect_tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = self.authority.host().trim_matches(['[', ']']);
        let resolve_error = |source: io::Error| ConnectError::Resolve {
            host: host.to_owned(),
            source: source.into(),
        };
        let addresses: Vec<SocketAddr> = lookup_host((host, self.port))
            .await
            .map_err(resolve_error)?
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut last = resolve_error(io::ErrorKind::NotFound.into());
        for step in 0..addresses.len() {
            let address = addresses[turn.wrapping_add(step) % addresses.len()];
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    set_options(&stream).map_err(|source| ConnectError::Tcp {
                        address,
                        source: source.into(),
                    })?;
                    return Ok(stream);
                }
                Err(source) => {
                    last = ConnectError::Tcp {
                        address,
                        source: source.into(),
                    }
                }
            }
        }
        Err(last)
    }
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
            .field("authority", &self.authority)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
