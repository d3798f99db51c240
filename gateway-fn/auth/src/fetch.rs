//! Reads a whole HTTP response or a whole file, up to a number of bytes. Each HTTP request has its own connection: a
//! Lambda function that was frozen between two requests must not reuse one.

use std::{
    error::Error,
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{StatusCode, Uri, uri::Scheme};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::{
    client::legacy::{self, Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The time for connecting to the addresses of one family (IPv4 or IPv6), divided evenly among them: an address that
/// drops packets must not use up the caller's whole deadline. The other family is tried after 300 ms.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a URL could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The scheme is neither `http` nor `https`.
    #[error("expected an http or https URL, found {0}")]
    Url(String),
    /// The system's root certificates cannot be loaded.
    #[error("cannot load the system's root certificates")]
    Roots(#[source] io::Error),
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

/// Sends a GET over HTTP/1.1 and returns the body, of at most `max_bytes`. `roots` are the certificates trusted for
/// `https`; `None` stands for the system's. Redirects are not followed: they could lead away from TLS.
///
/// # Errors
/// When the request fails, or the status is not 200.
pub async fn get(
    url: &Uri,
    roots: Option<RootCertStore>,
    max_bytes: usize,
) -> Result<Bytes, FetchError> {
    let roots = match url.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => roots,
        // Plain HTTP needs no certificates: the system's are not loaded for it.
        Some(scheme) if *scheme == Scheme::HTTP => Some(RootCertStore::empty()),
        _ => return Err(FetchError::Url(without_credentials(url))),
    };
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build::<_, Empty<Bytes>>(connector(roots)?);
    let response = client.get(url.clone()).await.map_err(FetchError::Request)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), max_bytes);
    Ok(body.collect().await.map_err(FetchError::Body)?.to_bytes())
}

fn connector(roots: Option<RootCertStore>) -> Result<HttpsConnector<HttpConnector>, FetchError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(FetchError::Tls)?;
    let tls = match roots {
        Some(roots) => tls.with_root_certificates(roots),
        None => tls.with_native_roots().map_err(FetchError::Roots)?,
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    Ok(hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp))
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
