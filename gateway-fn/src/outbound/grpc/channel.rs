//! An address -> HTTP/2 connections to it, opened when first used and opened anew when lost.

use std::{path::PathBuf, time::Duration};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::GrpcAddress;

/// A replica that does not take a connection in this time counts as unreachable: far longer than a healthy network
/// needs, short enough that the tries on the other replicas still help the client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Jina's own keep-alive (facts of Jina 3.13): its servers allow a ping every ten seconds.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Flow control windows: a few large documents in flight must not wait for a round trip each.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Whom to trust behind TLS addresses.
#[derive(Clone, Debug, Default)]
pub enum TlsRoots {
    /// The system's certificate store.
    #[default]
    System,
    /// A PEM file: `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`, as with Jina's own gRPC.
    File(PathBuf),
}

/// Why a connection cannot even be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The address is no `host:port`.
    #[error("{authority} is no address")]
    Address {
        /// What was given.
        authority: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// TLS cannot be set up: roots that are no certificates, or a system without any.
    #[error("TLS to {authority} cannot be set up")]
    Tls {
        /// The address.
        authority: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// The file of trusted roots cannot be read.
    #[error("the trusted roots in {path} cannot be read")]
    Roots {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// One connection to an address, lazily made.
pub(super) fn lazy(address: &GrpcAddress, roots: &TlsRoots) -> Result<Channel, ChannelError> {
    let scheme = if address.tls { "https" } else { "http" };
    let named = |source| ChannelError::Address {
        authority: address.authority.clone(),
        source,
    };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", address.authority))
        .map_err(named)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
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
