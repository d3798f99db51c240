//! A file or a URL -> the bytes of a JSON Web Key Set, bounded in size and time.

use std::{fs::File, io::Read as _, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::JwksError;

/// Bytes of a key set. Issuers with several keys and their certificates have some ten thousand.
const MOST_BYTES: usize = 256 << 10;

/// One answer of an issuer, with the connection to it. A request may be waiting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a file.
pub(super) fn file(path: &Path) -> Result<Bytes, JwksError> {
    let unreadable = |source| JwksError::File { source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MOST_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes.into())
}

/// Asks a URL. Redirects are not followed: they could lead away from TLS.
pub(super) async fn url(uri: Uri) -> Result<Bytes, JwksError> {
    tokio::time::timeout(TIMEOUT, get(uri))
        .await
        .unwrap_or(Err(JwksError::TimedOut))
}

/// On a connection of its own, minutes after the last one, which a frozen function could not have kept open.
async fn get(uri: Uri) -> Result<Bytes, JwksError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(Arc::new(rustls::crypto::ring::default_provider()))
        .map_err(|source| JwksError::File { source })?
        .https_or_http()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let answer = client.get(uri).await.map_err(|source| JwksError::Request {
        source: source.into(),
    })?;
    if answer.status() != StatusCode::OK {
        return Err(JwksError::Status {
            status: answer.status(),
        });
    }
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|source| JwksError::Request { source })?;
    Ok(body.to_bytes())
}
