//! A file or a URL -> the bytes of a JSON Web Key Set, bounded in size and time.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use bytes::Bytes;
use http::Uri;

use super::JwksError;
use crate::fetch::{self, FetchError};

/// Bytes of a key set. Issuers with several keys and their certificates have some ten thousand.
const MOST_BYTES: usize = 256 << 10;

/// One answer of an issuer, with the connection to it. A request may be waiting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a file.
pub(super) fn file(path: &Path) -> Result<Bytes, JwksError> {
    let unreadable = |source| JwksError::File { source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One more tells a file that is too large.
    file.take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > MOST_BYTES {
        return Err(JwksError::LargeFile { most: MOST_BYTES });
    }
    Ok(bytes.into())
}

/// Asks a URL, on a connection of its own: it is minutes after the last one, which a frozen function could not have kept
/// open.
pub(super) async fn url(url: &Uri) -> Result<Bytes, JwksError> {
    let answer = fetch::get(url, fetch::system_roots, MOST_BYTES);
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(FetchError::Status(status))) => Err(JwksError::Status { status }),
        Ok(Err(error)) => Err(JwksError::Request {
            source: error.into(),
        }),
        Err(_) => Err(JwksError::TimedOut),
    }
}
