//! Reads a whole HTTP response or a whole file, up to a number of bytes. Each HTTP request has its own connection: a
//! Lambda function that was frozen between two requests must not reuse one.

use std::{
    error::Error,
    fs::File,
    io::{self, Read as _},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use flowgate_tls::{ConnectorOptions, RootsError, TlsRoots, https_connector};
use http::{StatusCode, Uri, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{self, Client},
    rt::TokioExecutor,
};
use rustls::RootCertStore;

/// The time for connecting: an address that drops packets must not use up the caller's whole deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The scheme is neither `http` nor `https`.
    #[error("expected an http or https URL, found {0}")]
    Url(String),
    /// The trusted root certificates cannot be loaded.
    #[error("cannot load the trusted root certificates")]
    Roots(#[from] RootsError),
    /// TLS cannot be configured.
    #[error("cannot configure TLS")]
    Tls(#[source] rustls::Error),
    /// The connection failed, or the response was not HTTP.
    #[error("the HTTP request failed")]
    Request(#[source] legacy::Error),
    /// The response has another status than 200.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The body broke off, or is too large.
    #[error("cannot read the response body")]
    Body(#[source] Box<dyn Error + Send + Sync>),
}

/// Sends a GET over HTTP/1.1 and returns the body, of at most `max_bytes`. `roots` are trusted for `https`. Redirects
/// are not followed: they could lead away from TLS.
///
/// # Errors
/// When the request fails, or the status is not 200.
pub async fn get(url: &Uri, roots: &TlsRoots, max_bytes: usize) -> Result<Bytes, FetchError> {
    let roots = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => roots.store()?,
        // Plain HTTP needs no certificates: they are not loaded for it.
        Some(scheme) if *scheme == Scheme::HTTP => RootCertStore::empty(),
        _ => return Err(FetchError::Url(without_credentials(url))),
    };
    let options = ConnectorOptions {
        connect_timeout: CONNECT_TIMEOUT,
        keep_alive: None,
    };
    let connector = https_connector(roots, options).map_err(FetchError::Tls)?;
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, Empty<Bytes>>(connector);
    let response = client.get(url.clone()).await.map_err(FetchError::Request)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), max_bytes);
    Ok(body.collect().await.map_err(FetchError::Body)?.to_bytes())
}

/// Formats a URL for an error, without user, password and query, which may be secret.
pub(crate) fn without_credentials(url: &Uri) -> String {
    let scheme = url.scheme_str().map(|scheme| format!("{scheme}://"));
    let port = url.port_u16().map(|port| format!(":{port}"));
    format!(
        "{}{}{}{}",
        scheme.unwrap_or_default(),
        url.host().unwrap_or_default(),
        port.unwrap_or_default(),
        url.path()
    )
}

/// Reads a file. Returns `None` if it has more than `max_bytes`.
pub(crate) fn read_file(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that the file is too large.
    let limit = max_bytes + 1;
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max_bytes).then_some(bytes))
}
