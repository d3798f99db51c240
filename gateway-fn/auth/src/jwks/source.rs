//! Loads a JSON Web Key Set from a file or a URL, with bounds on its size and the time.

use std::{error::Error, future::ready, path::Path, time::Duration};

use flowgate_config::JwksSource;
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
    #[error("cannot read the file")]
    File {
        /// Why not.
        source: std::io::Error,
    },
    /// The file is too large.
    #[error("the file is larger than {max_bytes} bytes")]
    LargeFile {
        /// The largest size allowed.
        max_bytes: usize,
    },
    /// The connection failed, is not trusted or broke off.
    #[error("cannot reach the issuer")]
    Request {
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The issuer did not answer in time.
    #[error("the issuer did not answer within {} seconds", TIMEOUT.as_secs())]
    TimedOut,
    /// The issuer answered with another status than 200.
    #[error("the issuer answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The content is not a key set, or none of its keys can verify a signature.
    #[error("expected a JSON Web Key Set with at least one public key for signatures")]
    InvalidKeySet,
}

/// Loads a key set.
pub(super) fn load(source: &JwksSource) -> BoxFuture<'static, Result<KeySet, JwksError>> {
    match source.clone() {
        JwksSource::Url(url) => Box::pin(async move { parse(&fetch(&url).await?) }),
        // The file is small: reading it takes less time than handing it to another thread.
        JwksSource::File(path) => Box::pin(ready(load_file(&path))),
    }
}

/// Loads a key set from a file.
pub(super) fn load_file(path: &Path) -> Result<KeySet, JwksError> {
    let bytes = fetch::read_file(path, MAX_BYTES as u64);
    let bytes = bytes.map_err(|source| JwksError::File { source })?;
    parse(&bytes.ok_or(JwksError::LargeFile {
        max_bytes: MAX_BYTES,
    })?)
}

fn parse(json: &[u8]) -> Result<KeySet, JwksError> {
    KeySet::parse(json).ok_or(JwksError::InvalidKeySet)
}

/// Fetches the content of a URL.
pub(super) async fn fetch(url: &Uri) -> Result<bytes::Bytes, JwksError> {
    match tokio::time::timeout(TIMEOUT, fetch::get(url, None, MAX_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(FetchError::Status(status))) => Err(JwksError::Status { status }),
        Ok(Err(error)) => Err(JwksError::Request {
            source: error.into(),
        }),
        Err(_) => Err(JwksError::TimedOut),
    }
}
