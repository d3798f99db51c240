//! Loads a JSON Web Key Set from a file or a URL, with bounds on its size and the time.

use std::{error::Error, future::ready, path::Path, time::Duration};

use flowgate_config::JwksSource;
use flowgate_tls::TlsRoots;
use futures_util::future::BoxFuture;
use http::{StatusCode, Uri};

use super::key_set::KeySet;
use crate::fetch::{self, FetchError};

/// The largest key set. Those of issuers with several keys and their certificates have some ten thousand bytes.
const MAX_BYTES: usize = 256 << 10;

/// The time for one response of an issuer, including the connection. A caller may be waiting for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a key set cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("cannot read the file {path}")]
    File {
        /// The path of the file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the file {path} is larger than {max_bytes} bytes")]
    LargeFile {
        /// The path of the file.
        path: String,
        /// The largest size allowed.
        max_bytes: usize,
    },
    /// The connection failed, is not trusted or broke off.
    #[error("cannot fetch {url}")]
    Request {
        /// The URL of the key set, without credentials.
        url: String,
        /// The error of the request.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The issuer did not answer in time.
    #[error("{url} did not answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut {
        /// The URL of the key set, without credentials.
        url: String,
    },
    /// The issuer answered with another status than 200.
    #[error("{url} answered {status}")]
    Status {
        /// The URL of the key set, without credentials.
        url: String,
        /// The HTTP status of the answer.
        status: StatusCode,
    },
    /// The content is not a key set, or none of its keys can verify a signature.
    #[error(
        "invalid content of {location}: expected a JSON Web Key Set with at least one public key for signatures"
    )]
    InvalidKeySet {
        /// The path of the file, or the URL without credentials.
        location: String,
    },
}

/// Loads a key set. `roots` are trusted for a URL.
pub(super) fn load(
    source: &JwksSource,
    roots: &TlsRoots,
) -> BoxFuture<'static, Result<KeySet, JwksError>> {
    let roots = roots.clone();
    match source.clone() {
        JwksSource::Url(url) => Box::pin(async move {
            let json = fetch(&url, &roots).await?;
            parse(&json, || fetch::without_credentials(&url))
        }),
        // The file is small: reading it takes less time than handing it to another thread.
        JwksSource::File(path) => Box::pin(ready(load_file(&path))),
    }
}

/// Loads a key set from a file.
pub(super) fn load_file(path: &Path) -> Result<KeySet, JwksError> {
    let shown_path = || path.display().to_string();
    let bytes = fetch::read_file(path, MAX_BYTES as u64);
    let bytes = bytes.map_err(|source| JwksError::File {
        path: shown_path(),
        source,
    })?;
    let json = bytes.ok_or_else(|| JwksError::LargeFile {
        path: shown_path(),
        max_bytes: MAX_BYTES,
    })?;
    parse(&json, shown_path)
}

fn parse(json: &[u8], location: impl FnOnce() -> String) -> Result<KeySet, JwksError> {
    KeySet::parse(json).ok_or_else(|| JwksError::InvalidKeySet {
        location: location(),
    })
}

/// Fetches the content of a URL.
pub(super) async fn fetch(url: &Uri, roots: &TlsRoots) -> Result<bytes::Bytes, JwksError> {
    let result = tokio::time::timeout(TIMEOUT, fetch::get(url, roots, MAX_BYTES)).await;
    let shown_url = || fetch::without_credentials(url);
    match result {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(FetchError::Status(status))) => Err(JwksError::Status {
            url: shown_url(),
            status,
        }),
        Ok(Err(error)) => Err(JwksError::Request {
            url: shown_url(),
            source: error.into(),
        }),
        Err(_) => Err(JwksError::TimedOut { url: shown_url() }),
    }
}
