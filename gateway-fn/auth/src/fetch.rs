//! A URL -> the bounded body of the answer to a GET, over HTTP/1.1 and a connection of its own: for what is asked once
//! in a while.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL has no host, or one that no certificate can be for.
    #[error("the URL has no host that can be asked")]
    Host,
    /// Nobody is trusted.
    #[error("no trusted root certificate was found")]
    NoRoots,
    /// TLS cannot be had here.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// There is no connection, or none whose other end is trusted.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// What came back is no HTTP, or broke off.
    #[error("no answer")]
    Http(#[source] hyper::Error),
    /// The answer says no.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The answer broke off, or is larger than it may be.
    #[error("the answer cannot be read")]
    Body(#[source] Box<dyn Error + Send + Sync>),
}

/// Asks for `url`, for at most so many bytes. `roots` says who is trusted, and is asked for `https` only. Redirects are
/// not followed: they could lead away from TLS.
pub async fn get(
    url: &Uri,
    roots: impl FnOnce() -> RootCertStore,
    most: usize,
) -> Result<Bytes, FetchError> {
    let is_tls = url.scheme() == Some(&Scheme::HTTPS);
    let host = url.host().ok_or(FetchError::Host)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = connect(host, port).await.map_err(FetchError::Connect)?;
    if is_tls {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Host)?;
        let stream = connector(roots())?.connect(name, stream).await;
        over(stream.map_err(FetchError::Connect)?, url, most).await
    } else {
        over(stream, url, most).await
    }
}

/// One address after the other: a family of which nothing comes back must not use up all of the time.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host((host, port)).await? {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}

/// One address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Whom the system trusts.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, FetchError> {
    if roots.is_empty() {
        return Err(FetchError::NoRoots);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(FetchError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Uri,
    most: usize,
) -> Result<Bytes, FetchError> {
    let connected = http1::handshake(TokioIo::new(stream)).await;
    let (mut client, connection) = connected.map_err(FetchError::Http)?;
    // It ends with the answer, or with who asks.
    tokio::spawn(connection);
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    let request = Request::get(target).header(header::HOST, host);
    let request = request.body(Empty::<Bytes>::new());
    // Both are parts of a URL that holds.
    let request = request.map_err(|_| FetchError::Host)?;
    let answer = client.send_request(request).await;
    let answer = answer.map_err(FetchError::Http)?;
    if answer.status() != StatusCode::OK {
        return Err(FetchError::Status(answer.status()));
    }
    let body = Limited::new(answer.into_body(), most).collect().await;
    Ok(body.map_err(FetchError::Body)?.to_bytes())
}
