//! Makes HTTP/2 connections to an address. They are opened at the first call and reopened when they are lost.

use std::{path::PathBuf, time::Duration};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::GrpcAddress;

/// A replica that does not accept a connection within this time is treated as unreachable. It is far longer than a healthy
/// network needs, and short enough that attempts at other replicas still help the client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Jina's own keep-alive (Jina 3.13): its servers allow a ping every ten seconds.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Flow control windows, so that large documents do not wait for a round trip each.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The certificate authorities that are trusted for TLS addresses.
#[derive(Clone, Debug, Default)]
pub enum TlsRoots {
    /// The system's certificate store.
    #[default]
    System,
    /// A PEM file: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, as with Jina's own gRPC.
    File(PathBuf),
}

/// Why a connection cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The address is not a valid `host:port`.
    #[error("invalid address {authority}: expected host:port")]
    Address {
        /// The address to connect to.
        authority: String,
        /// The gRPC library's error.
        source: tonic::transport::Error,
    },
    /// TLS cannot be set up: the trusted roots are not valid certificates, or the system has none.
    #[error("cannot set up TLS to {authority}")]
    Tls {
        /// The address to connect to.
        authority: String,
        /// The gRPC library's error.
        source: tonic::transport::Error,
    },
    /// The file of trusted roots cannot be read.
    #[error("cannot read the trusted roots in {path}")]
    Roots {
        /// The path of the file.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// Makes a connection to an address that is opened at the first call.
pub(super) fn lazy(address: &GrpcAddress, roots: &TlsRoots) -> Result<Channel, ChannelError> {
    let scheme = if address.tls { "https" } else { "http" };
    let invalid = |source| ChannelError::Address {
        authority: address.authority.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", address.authority))
        .map_err(invalid)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    if address.tls {
        let authority = address.authority.clone();
        endpoint = endpoint
            .tls_config(tls(roots)?)
            .map_err(|source| ChannelError::Tls { authority, source })?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls(roots: &TlsRoots) -> Result<ClientTlsConfig, ChannelError> {
    match roots {
        TlsRoots::System => Ok(ClientTlsConfig::new().with_native_roots()),
        TlsRoots::File(path) => {
            let pem = std::fs::read(path).map_err(|source| ChannelError::Roots {
                path: path.display().to_string(),
                source,
            })?;
            Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        }
    }
}
