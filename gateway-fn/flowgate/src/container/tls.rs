//! Sets up TLS to clients, for every protocol of the Gateway, from `ssl_certfile` and `ssl_keyfile`.

use std::{path::Path, sync::Arc};

use flowgate_config::TlsFiles;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

/// Why TLS to clients cannot be set up. Messages name the files and never contain the key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read the PEM file {path}: {source}")]
    Pem {
        /// The path of the file.
        path: String,
        /// Why the file cannot be read.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate or its key is invalid, or they do not match.
    #[error("cannot use the certificate {certfile}: {source}")]
    Certificate {
        /// The path of the certificate's file.
        certfile: String,
        /// Why it cannot be used.
        source: rustls::Error,
    },
}

/// Builds the acceptor of TLS connections from these files.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let TlsFiles { certfile, keyfile } = files;
    let certificates: Vec<_> = CertificateDer::pem_file_iter(certfile)
        .and_then(Iterator::collect)
        .map_err(|source| pem_error(certfile, source))?;
    let key = PrivateKeyDer::from_pem_file(keyfile).map_err(|source| pem_error(keyfile, source))?;
    let certificate_error = |source| TlsError::Certificate {
        certfile: certfile.display().to_string(),
        source,
    };
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(certificate_error)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(certificate_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn pem_error(path: &Path, source: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem {
        path: path.display().to_string(),
        source,
    }
}
